"""What the processes of a cluster say in their logs (Ray keeps one for each), under the address of what they make.

A line when something begins and when it ends; in between, every warning and every line of a library bears its address.
An error is told with its traceback here; what the driver hears of it is a sentence. Not here: what a user is shown
(``progress``).
"""

import contextlib
import logging
from collections.abc import Iterator

LOG = logging.getLogger("realfake.made")
FORMAT = "%(asctime)s %(making)s %(levelname)s %(name)s: %(message)s"
_making = ["nothing"]  # a process makes one thing at a time


def open_log() -> None:
    """Let this process, a lane or an actor, write such a log to its stderr; for processes that are ours alone."""
    root = logging.getLogger()
    if not any(isinstance(handler, _Handler) for handler in root.handlers):
        root.addHandler(_Handler())
        logging.captureWarnings(True)
        LOG.setLevel(logging.INFO)


@contextlib.contextmanager
def making(name: str) -> Iterator[None]:
    """Say in the log that something begins and ends, and whose all that is said between is."""
    _making[0] = name
    LOG.info("begins")
    try:
        yield
    finally:
        LOG.info("ends")
        _making[0] = "nothing"


def told(error: BaseException) -> None:
    """Write an error that is about to become a sentence into the log, with its traceback."""
    LOG.info("meets an error", exc_info=error)


class _Handler(logging.StreamHandler):
    """Writes to stderr, with the address of what is being made."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        record.making = _making[0]
        super().emit(record)
