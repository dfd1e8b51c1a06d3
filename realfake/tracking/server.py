"""Reaching MLflow: its client, a new sqlite file, and one sentence for whatever goes wrong.

MLflow takes seconds to import, so that is done inside functions.
"""

import contextlib
import logging
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # by default MLflow retries for minutes before it says that nobody is there
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
}
PASSWORD = re.compile(r"//[^/@]*:[^/]*@")  # and the user: of a database's address what may be told is where it is


class TrackingError(RuntimeError):
    """MLflow is out of reach or lacks what was asked; the message says which, and what to type."""


def client_of(uri: str, *, create: bool) -> Any:
    """A client; ``create`` makes a sqlite file that is not there yet, otherwise its absence is an error."""
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if file and not file.is_file():
        if not create:
            raise TrackingError(f"there is no MLflow file {file}; run `realfake run STUDY` or give --uri")
        _create_sqlite(file)
    return MlflowClient(uri)


def sqlite_file(uri: str) -> Path | None:
    """The file behind a sqlite URI, None behind any other."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _create_sqlite(file: Path) -> None:
    """Make the file aside and link it into place: its migrations take 10 s, in which a process may be killed or another
    may start the same, and MLflow survives neither. Whoever comes second throws its own away."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f"{file.name}.{os.getpid()}.{uuid.uuid4().hex[:6]}.tmp")
    try:
        SqlAlchemyStore(f"sqlite:///{scratch}", str(file.parent / "mlartifacts")).engine.dispose()
        os.link(scratch, file)
    except FileExistsError:
        pass  # another process came first
    finally:
        scratch.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(uri: str, study: str) -> Iterator[None]:
    """Turn whatever MLflow raises into one sentence."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow.store.db.utils", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:  # ImportError: no driver for a database
        cause: BaseException = error
        while below := cause.__cause__ or cause.__context__:
            cause = below
        what = "cannot be reached" if isinstance(cause, OSError) else "does not do as asked"
        reason = str(cause).strip().splitlines()[0][:200] if str(cause).strip() else type(cause).__name__
        raise TrackingError(
            f"MLflow at {PASSWORD.sub('//', uri)} {what} ({reason}); records are safe in the store; "
            f"run `realfake track {study}` later"
        ) from error
