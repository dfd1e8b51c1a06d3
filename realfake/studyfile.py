"""Reads a study file: Python that leaves one ``Study`` behind. A study file is code: run only those that you trust.

Errors in the file become one sentence with its line; whether the study makes sense is checked by the specs themselves.
"""

import runpy
import traceback
from dataclasses import dataclass
from pathlib import Path

from realfake.spec import Study
from realfake.values import SpecError, nearest


class StudyError(ValueError):
    """A study file that cannot be read; the message says where and what to type."""


@dataclass(frozen=True)
class StudyFile:
    """A study, the file that it came from, and the docstring of that file (its question, command and result)."""

    study: Study
    path: Path
    docstring: str

    @property
    def question(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join(self.docstring.strip().split("\n\n")[0].split())


def read(path: str | Path) -> StudyFile:
    """Run a study file and return its study. Raises StudyError with one sentence."""
    path = Path(path)
    if not path.is_file():
        raise StudyError(_unknown(path))
    try:
        names = runpy.run_path(str(path))
    except SpecError as error:
        raise StudyError(f"{path}:{_line(error, path)}: {error}") from error
    except Exception as error:
        raise StudyError(f"{path}:{_line(error, path)}: the study raises {type(error).__name__}: {error}") from error
    return StudyFile(_the_study(path, names), path, names.get("__doc__") or "")


def _the_study(path: Path, names: dict[str, object]) -> Study:
    studies = {id(value): value for value in names.values() if isinstance(value, Study)}
    named = [study.name for study in studies.values()]
    if len(studies) != 1:
        what = f"{len(studies)} studies ({', '.join(named)})" if studies else "no study"
        twice = " and a name twice" if len(set(named)) < len(named) else ""
        raise StudyError(f"{path} defines {what}{twice}; a study file leaves exactly one Study(name=…, trials=…)")
    return next(iter(studies.values()))


def _unknown(path: Path) -> str:
    near = sorted(str(p) for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
    if not near:
        near = sorted(str(p) for p in Path("studies").glob("*.py"))
    return f"there is no study file {path}; {nearest(str(path), near)}"


def _line(error: BaseException, path: Path) -> int:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
    if frames:
        return frames[-1].lineno or 0
    return (error.lineno or 0) if isinstance(error, SyntaxError) else 0
