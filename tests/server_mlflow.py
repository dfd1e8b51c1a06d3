"""A real MLflow server, a process of its own with Postgres behind it, on loopback, in a folder of their own."""

import contextlib
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import psutil

PASSWORD = "a-password-that-only-these-tests-know"
OTHERS = ("postgres", "nobody")  # Postgres refuses to run as root
UP_SECONDS = 240


def lacking():
    """Say why Postgres cannot run here; nothing where it can."""
    if not shutil.which("initdb"):
        return "there is no initdb; install PostgreSQL (Debian: apt install postgresql) and put initdb on the PATH"
    if os.geteuid() == 0 and not _account():
        return f"Postgres refuses to run as root, and there is no user {' or '.join(OTHERS)} to run it as"
    return ""


@dataclass
class Postgres:
    """A cluster of databases with a password, without a socket file: where it is, and its process."""

    folder: Path
    port: int
    process: subprocess.Popen

    @property
    def uri(self):
        """The database of MLflow, with the password in it. The driver is named: SQLAlchemy 2.1 takes another one."""
        return f"postgresql+psycopg2://mlflow:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def asked(self, query):
        """Return the rows of a query."""
        import psycopg2

        where = self.uri.replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(where)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def end(self):
        """Shut it down, fast: what is connected is cut off."""
        _end(self.process)

    def again(self):
        """Start it once more over the same files, on the same port."""
        self.process = _serve(self.folder, self.port)


@dataclass
class Server:
    """An MLflow server: where it answers, and its process."""

    uri: str
    process: subprocess.Popen

    def end(self):
        """End the server and its workers."""
        _end(self.process)


def start_postgres(folder):
    """Make a cluster of databases in a folder, and start it."""
    who = _who()
    if who:
        os.chown(folder, who["user"], who["group"])
    secret, data, port = Path(folder) / "password", Path(folder) / "data", free_port()
    secret.write_text(PASSWORD)
    how = ("--username=mlflow", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync")
    made = subprocess.run(["initdb", "--pgdata", data, *how], capture_output=True, text=True, cwd=folder, **who)
    assert made.returncode == 0, made.stderr
    return Postgres(Path(folder), port, _serve(folder, port))


def start_mlflow(folder, backend, port=0):
    """Start an MLflow server over a database, with its files in a folder; it is told the database by environment."""
    port = port or free_port()
    log, files = Path(folder) / f"mlflow-{port}.log", Path(folder) / "artifacts"
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": backend, "MLFLOW_ARTIFACTS_DESTINATION": str(files)}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    with open(log, "a") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=folder)
    uri = f"http://127.0.0.1:{port}"
    _wait(lambda: _healthy(uri), process, log)
    return Server(uri, process)


@contextlib.contextmanager
def servers():
    """Yield Postgres and an MLflow server over it; both are ended, and their folder removed."""
    with tempfile.TemporaryDirectory(prefix="rf-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        beside = tempfile.mkdtemp(dir=folder)
        os.chmod(folder, 0o711)  # whoever runs Postgres must pass through
        with contextlib.ExitStack() as ending:
            postgres = start_postgres(beside)
            ending.callback(postgres.end)
            server = start_mlflow(folder, postgres.uri)
            ending.callback(server.end)
            yield postgres, server


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _serve(folder, port):
    """Start Postgres over the files that are there."""
    data, log = Path(folder) / "data", Path(folder) / "postgres.log"
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    postgres = shutil.which("postgres") or Path(shutil.which("initdb")).resolve().with_name("postgres")
    command = [postgres, "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
    with open(log, "a") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, **_who())
    _wait(lambda: _listens(port), process, log)
    return process


def _who():
    """Return how to run as another user where this one is root, as options of subprocess."""
    owner = _account() if os.geteuid() == 0 else None
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}


def _account():
    known = [name for name in OTHERS if name != getpass.getuser()]
    for name in known:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _healthy(uri):
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _wait(up, process, log):
    until = time.monotonic() + UP_SECONDS
    while not up():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, f"it took too long to start: {log.read_text()[-3000:]}"
        time.sleep(0.1)


def _end(process):
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(2)  # to Postgres a fast shutdown, to MLflow Ctrl-C
    _, alive = psutil.wait_procs(family, timeout=10)
    for one in alive:
        one.kill()
    process.wait(timeout=10)
