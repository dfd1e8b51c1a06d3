"""``python -m realfake`` is the command ``realfake``."""

from realfake.cli import main

main()
