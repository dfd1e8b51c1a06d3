"""Study files: what is read, and one clear sentence with a line for what cannot be."""

import pytest

from realfake.studyfile import StudyError, read

GOOD = '''"""How many?

    realfake run x.py
"""
from realfake import Dataset, Recipe, Study, Subset, Trial
train, test = Dataset(name="digits"), Dataset(name="digits", split="test")
real = Subset(of=train, size=50)
study = Study(name="good", trials=(Trial(real=real, test=test, recipe=Recipe(examples_seen=100)),))
'''


def written(tmp_path, text):
    path = tmp_path / "x.py"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path):
    file = read(written(tmp_path, GOOD))
    assert file.study.name == "good"
    assert file.question == "How many?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n1 / 0", r"x\.py:2: the study raises ZeroDivisionError: division by zero"),
        ("def f(:", r"x\.py:1: the study raises SyntaxError"),
        ("import nonsense", r"x\.py:1: the study raises ModuleNotFoundError"),
        (GOOD.replace("size=50", "sise=50"), r"x\.py:7: Subset has no field 'sise'; did you mean 'size'\?"),
        (GOOD.replace("study = ", "study = [") + "]", r"defines no study"),
        (GOOD + "other = Study(name='other', trials=study.trials)", r"2 studies \(good, other\)"),
        (GOOD + "other = Study(name='good', trials=study.trials)", r"2 studies \(good, good\) and a name twice"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_its_line(tmp_path, text, message):
    with pytest.raises(StudyError, match=message):
        read(written(tmp_path, text))


def test_an_unknown_file_names_the_nearest(tmp_path):
    written(tmp_path, GOOD).rename(tmp_path / "quickstart.py")
    with pytest.raises(StudyError, match=r"did you mean '.*quickstart\.py'\?"):
        read(tmp_path / "quikstart.py")
