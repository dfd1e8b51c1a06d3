"""The README does not lie: its code runs, its commands and files exist, and CI runs its test command to the letter."""

import re
from pathlib import Path

import pytest

from realfake import cli
from realfake.spec import Study

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *(ROOT / page for page in ("cluster/README.md", "studies/README.md", "studies/LOG.md"))]


def test_the_code_in_the_readme_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict = {}
    for code in blocks:
        exec(code, names)
    assert isinstance(names["study"], Study)
    assert names["study"].claims == (names["claim"],)


def test_every_command_in_the_readme_exists_with_its_options():
    lines = [a or b for a, b in re.findall(r"`(realfake [^`\n]+)`|^    (realfake .+)$", TEXT, re.M)]
    assert len(lines) >= 8
    for line in lines:
        verb = line.split()[1]
        if verb == "--help":
            continue
        assert verb in cli.main.commands, line
        options = {option for parameter in cli.main.commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_two_commands_are_the_ones_that_ci_runs():
    assert "    pip install uv && uv run realfake run studies/quickstart.py\n" in TEXT
    assert "    pip install uv && uv run pytest\n" in TEXT
    assert "\npip install uv && uv run pytest\n" in (ROOT / ".ci/run").read_text()


def test_every_word_of_the_vocabulary_is_explained():
    words = ("dataset", "subset", "generator", "pool", "volume", "trial", "study", "law", "address")
    assert all(f"| {word} |" in TEXT for word in words)


def test_the_studies_say_question_command_and_result():
    for path in sorted((ROOT / "studies").glob("*.py")):
        docstring = path.read_text().split('"""')[1]
        assert f"realfake run studies/{path.name}" in docstring, path
        assert re.search(r"20\d\d-\d\d-\d\d", docstring), f"{path} has no dated result"
