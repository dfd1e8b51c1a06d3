"""How busy the lanes and actors of a run were, and whether one idled while something was ready to be made.

From the timeline of a study (``timelines``), in which each machine tells its own time, and what each thing stands on
(``needs``). Not here: how it is drawn (``report.timeline``).
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

from realfake.needs import foundations
from realfake.spec import Distances, Pool, Spec, Subset, address, order
from realfake.timelines import MADE, OF_ACTORS, Bar, Run, Span, common, length, outside, runs, union

MOST_RUNS = 3  # those that took the most work: a study that is resumed often has many
FINEST = 1500  # parts of a run that a drawing can tell apart
MOST_BARS = 2000  # that are drawn one by one; of more, those of a kind that nearly touch are drawn as one
Facts = dict[str, Any]


def account(wanted: Iterable[Spec], folder: Path) -> list[Facts]:
    """Return what the report says of the largest runs of a study, in the order of time, as plain data."""
    found = runs(folder)
    largest = sorted(found, key=lambda run: run.busy)[-MOST_RUNS:]
    specs = {address(spec): spec for spec in order(wanted)} if found else {}
    return [_run(run, specs) for run in found if run in largest]


def _run(run: Run, specs: dict[str, Spec]) -> Facts:
    ready = _ready(run, specs)
    return {
        "run": run.name,
        "started": run.started,
        "begun": [begun - run.started for begun in run.begun],
        "seconds": run.ended - run.started,
        "complete": run.complete,
        "lanes": _processes(run, ready),
        "stages": _stages(run.bars),
        "generators": _generators(run.bars, specs),
        "overlap": _overlap(run, specs, ready),
    }


# ---------------------------------------------------------------------------------------------------------- processes


def _processes(run: Run, ready: dict[Bar, float]) -> list[Facts]:
    """Return a row for each process, those of the lanes first, in the order in which they began."""
    by: dict[str, list[Bar]] = {}
    for bar in sorted(run.bars, key=lambda bar: bar.started):
        by.setdefault(bar.lane, []).append(bar)
    waited = {actor: _waits(ready, actor) for actor in (False, True)}
    rows = sorted(
        (_process(run, name, own, waited) for name, own in by.items()), key=lambda row: row["what"] == "actor"
    )
    numbers = dict.fromkeys(("lane", "actor", "driver"), 0)
    for row in rows:
        numbers[row["what"]] += 1
        row["name"] = f"{row['what']} {numbers[row['what']]}"
    return rows


def _process(run: Run, name: str, own: list[Bar], waited: dict[bool, list[Span]]) -> Facts:
    """How busy one process was: of the whole run, of its life (its first thing to its last), and idle in vain."""
    busy = union((bar.started, bar.ended) for bar in own)
    made = {bar.kind in OF_ACTORS for bar in own}
    what = "driver" if len(made) == 2 else "actor" if made == {True} else "lane"
    waiting = union(span for actor in made for span in waited[actor])
    idle = outside(busy, run.begun[0], run.ended)
    return {
        "what": what,
        "process": name,
        "things": len(own),
        "busy": length(busy),
        "of_run": length(busy) / max(run.ended - run.started, 1e-9),
        "of_life": length(busy) / max(busy[-1][1] - busy[0][0], 1e-9) if busy else 0.0,
        "idle_in_vain": length(common(idle, waiting)),
        "first": busy[0][0] - run.started if busy else 0.0,
        "bars": _drawn(run, own),
    }


def _drawn(run: Run, own: list[Bar]) -> list[list[Any]]:
    """Return [kind, from, to] in seconds since the run started; of many, what a drawing cannot tell apart is one."""
    near, found = (run.ended - run.started) / FINEST, []
    near = near if len(run.bars) > MOST_BARS else -math.inf
    for bar in own:
        start, end = bar.started - run.started, bar.ended - run.started
        if found and found[-1][0] == bar.kind and start - found[-1][2] < near:
            found[-1][2] = max(end, found[-1][2])
        else:
            found.append([bar.kind, start, end])
    return [[kind, round(start, 3), round(end, 3)] for kind, start, end in found]


# -------------------------------------------------------------------------------------------------------- when ready


class _Ends:
    """When the things of a run were made: a thing with a record, or all shards of a prefix."""

    def __init__(self, bars: Iterable[Bar]) -> None:
        self.firsts: dict[str, list[int]] = {}
        self.latest: dict[str, list[float]] = {}  # when the shards up to here were all made
        for bar in sorted(bars, key=lambda bar: (bar.address, bar.first or 0)):
            self.firsts.setdefault(bar.address, []).append(bar.first or 0)
            self.latest.setdefault(bar.address, []).append(bar.ended)
        self.latest = {name: list(accumulate(ended, max)) for name, ended in self.latest.items()}

    def of(self, part: Spec) -> float:
        """Return when a thing, or the volume that a subset is, was made; 0 if that was not in this run."""
        name, size = (address(part.of), part.size) if isinstance(part, Subset) else (address(part), 1)
        made = bisect_left(self.firsts.get(name, []), size)
        return self.latest[name][made - 1] if made else 0.0


def _ready(run: Run, specs: dict[str, Spec]) -> dict[Bar, float]:
    """Return when each thing could have been begun: when lanes could be asked, and all that it stands on was there."""
    ends, found = _Ends(run.bars), {}
    for bar in run.bars:
        asked = max((begun for begun in run.begun if begun <= bar.started), default=run.begun[0])
        found[bar] = max([asked, *map(ends.of, _below(specs.get(bar.address), bar))])
    return found


def _below(spec: Spec | None, bar: Bar) -> tuple[Spec, ...]:
    """Return what a thing, or a shard, stands on; of one that the study no longer holds nothing is known.

    Distances stand on their own images; here on those before, too, which is what there is a time of.
    """
    if spec is None:
        return ()
    images = (Subset(of=spec.of, size=(bar.first or 0) + 1),) if isinstance(spec, Distances) else ()
    return (*images, *foundations(spec))


def _waits(ready: dict[Bar, float], actor: bool) -> list[Span]:
    """Return when something was ready and not begun: for the lanes, or for the actors."""
    return union((at, bar.started) for bar, at in ready.items() if (bar.kind in OF_ACTORS) == actor)


def _overlap(run: Run, specs: dict[str, Spec], ready: dict[Bar, float]) -> Facts | None:
    """Return when the first trial on images of this run began, when its last image was made, and how long such trials
    waited once their own volume was there; None where no trial stood on images that were made in this run.
    """
    images = [bar for bar in run.bars if bar.kind == "images"]
    ends = _Ends(images)
    trials = [bar for bar in run.bars if bar.kind == "trial"]
    mixed = [bar for bar in trials if any(map(ends.of, _below(specs.get(bar.address), bar)))]
    if not mixed:
        return None
    last = max(bar.ended for bar in images)
    return {
        "trials": len(mixed),
        "before_last_image": sum(bar.started < last for bar in mixed),
        "first_trial": min(bar.started for bar in mixed) - run.started,
        "last_image": last - run.started,
        "waited": median(bar.started - ready[bar] for bar in mixed),
        "too_early": sum(bar.started < ready[bar] - 1.0 for bar in mixed),
    }


# ------------------------------------------------------------------------------------------------------------- stages


def _stages(bars: Iterable[Bar]) -> list[Facts]:
    """Return for each kind how many were made, from the first to the last, and the seconds of all processes."""
    found = []
    for kind in MADE:
        own = [bar for bar in bars if bar.kind == kind]
        if own:
            wall = max(bar.ended for bar in own) - min(bar.started for bar in own)
            summed = sum(bar.ended - bar.started for bar in own)
            found.append({"stage": kind, "things": len(own), "wall": wall, "seconds": summed})
    return found


def _generators(bars: Iterable[Bar], specs: dict[str, Spec]) -> list[Facts]:
    """Return for each generator its images and the seconds of the actors that made them, those with most first."""
    found: dict[str, Facts] = {}
    for bar in bars:
        if bar.kind == "images":
            pool = specs.get(bar.address)
            name = address(pool.generator) if isinstance(pool, Pool) else bar.address
            row = found.setdefault(name, {"generator": name, "images": 0, "seconds": 0.0})
            row["images"] += bar.rows
            row["seconds"] += bar.ended - bar.started
    return sorted(found.values(), key=lambda row: -row["images"])
