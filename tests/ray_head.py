"""A real Ray head with a token, on ports and in a folder of its own: what tests of submission submit to."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

TOKEN = "a-token-that-only-these-tests-know-0123456789"
STARTED = "This command will now block"
ATTEMPTS = 3  # Ray gives a node 30 s to come up, which a busy machine may miss
LACKING = importlib.util.find_spec("aiohttp_cors") is None  # of ray[default], without which a head has no job server


@dataclass
class Head:
    """A head: where its job server answers and nodes join, its processes, and the environment of who may talk to it."""

    url: str
    address: str
    process: subprocess.Popen
    folder: Path
    environment: dict[str, str]

    def drivers(self):
        """Return the processes of the jobs that run: shells and Pythons alike."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in found if "realfake.arrival" in " ".join(_command(p))]

    def kill_drivers(self):
        """Kill what runs without grace; return how many processes that were."""
        drivers = self.drivers()
        for process in drivers:
            process.kill()
        return len(drivers)

    def realfake(self, *arguments, folder, token=TOKEN, **options):
        """Start the command in a folder; RAY_AUTH_MODE is unset, so that the token alone decides."""
        environment = {**self.environment, "RAY_AUTH_TOKEN": token}
        environment.pop("RAY_AUTH_MODE")
        return subprocess.Popen(
            [sys.executable, "-m", "realfake", *arguments],
            **{"cwd": folder, "env": environment, "text": True, **options},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments, folder, expect=0, seconds=600, **given):
        """Run the command to its end; return what it printed on stdout and on stderr."""
        process = self.realfake(*arguments, folder=folder, **given)
        out, err = process.communicate(timeout=seconds)
        assert process.returncode == expect, (process.returncode, err[-3000:], out[-1000:])
        return out, err

    def end(self):
        """End the head and all that it started."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=15)
        for process in alive:
            process.kill()


def start(folder, cpus=2, *more):
    """Start a head; ``more`` are further options of ``ray start``."""
    environment = _environment(folder)
    for attempt in range(ATTEMPTS):
        ports = _free_ports(4)
        named = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
        options = [f"--{name}={port}" for name, port in zip(named, ports, strict=True)]
        options += ["--head", "--dashboard-host=127.0.0.1", f"--temp-dir={folder}/ray", f"--num-cpus={cpus}", *more]
        if process := _started(options, Path(folder) / f"head-{attempt}.log", environment):
            address = f"127.0.0.1:{ports[0]}"
            return Head(f"http://127.0.0.1:{ports[1]}", address, process, Path(folder), environment)
    raise RuntimeError((Path(folder) / f"head-{attempt}.log").read_text()[-3000:])


def join(head, name, cpus=2):
    """Start a node that joins a head, and return its process: the parent of all that runs on it."""
    for attempt in range(ATTEMPTS):
        log = head.folder / f"{name}-{attempt}.log"
        options = [f"--address={head.address}", f"--num-cpus={cpus}", f"--temp-dir={head.folder}/{name}"]  # a disk each
        if process := _started(options, log, head.environment):
            return process
    raise RuntimeError(log.read_text()[-3000:])


def _started(options, log, environment):
    """Start a node and return its process; None if it did not come up."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--object-store-memory=100000000"]
    with open(log, "w") as out:
        process = subprocess.Popen([*command, *options], env=environment, stdout=out, stderr=out)
    while process.poll() is None and STARTED not in log.read_text():
        time.sleep(0.3)
    return process if process.poll() is None else None


def _environment(folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONDONTWRITEBYTECODE")}
    return {
        **kept,
        **{"PATH": path, "HOME": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN},
        **{"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "OMP_NUM_THREADS": "1"},
    }


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _command(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []
