"""What a lane says in its log: when a thing begins and ends, and whose a warning or an error is."""

import subprocess
import sys

from realfake import logs
from realfake.sweep import outcome_of

CODE = """
import logging, warnings
from realfake import logs
from realfake.sweep import outcome_of

def fails(spec):
    raise ValueError("no such image")

for _ in range(2):
    logs.open_log()
for name in ("trial-0", "trial-1"):
    with logs.making(name):
        warnings.warn(f"the loss of {name[-1]} is odd", stacklevel=1)
        logging.getLogger("a.library").warning("slow")
        logging.getLogger("a.library").info("chatter")
        print(outcome_of(fails, None)["error"])
"""


def test_every_line_of_a_lane_bears_the_address_of_what_it_makes():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ValueError: no such image"] * 2
    for name in ("trial-0", "trial-1"):
        own = [line.split(" ", 2)[2] for line in done.stderr.splitlines() if f" {name} " in line]
        told = [line.split(" ", 1)[1] for line in own]
        assert told[0] == "INFO realfake.made: begins"
        assert told[1].endswith(f"UserWarning: the loss of {name[-1]} is odd")
        assert told[2:] == [
            *("WARNING a.library: slow", "INFO realfake.made: meets an error", "INFO realfake.made: ends")
        ]
    assert done.stderr.count("in fails") == 2  # the traceback


def test_without_a_log_of_its_own_a_process_says_nothing(capsys):
    with logs.making("trial-0"):
        assert "no" in outcome_of(_fails, None)["error"]
    told = capsys.readouterr()
    assert told.out + told.err == ""


def _fails(spec):
    raise ValueError("no")
