"""``python -m realfake`` is the command ``realfake``."""

from realfake.cli import main

if __name__ == "__main__":
    main()
