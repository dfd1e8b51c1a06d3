"""A forecast in words, and as plain data: what ``realfake run STUDY --dry-run`` prints. It is made in ``forecast``."""

import dataclasses
from typing import Any

from realfake.forecast import Forecast
from realfake.packing import Sort
from realfake.progress import clock
from realfake.resources import Where, names
from realfake.samples import SHARD_ROWS
from realfake.spec import Study

ONES = {"fits": "fit", "images": "shard", "distances": "shard", "trials": "trial", "evaluations": "evaluation"}


def in_words(study: Study, where: Where, told: Forecast) -> str:
    """Return what would be made, where, for how long, and at what price."""
    lines = [what(study, told)]
    if not any(told.to_make.values()):
        return lines[0]
    lines += [place(where, told), *_table(told), *_time(told), *_advice(told), *_missing(told)]
    return "\n".join(lines)


def what(study: Study, told: Forecast) -> str:
    """Return what a run would make, in one line."""
    make, adaptive = told.to_make, study.adaptive
    rounds = max(0, adaptive.trials - len(study.trials)) if adaptive else 0
    return (
        f"{study.name}: {make['fits']} generators to fit, {make['images']:,} images to make, "
        f"{make['trials']} trials to train"
        + (f", {make['distances']:,} distances to measure" if make["distances"] else "")
        + (f", {make['evaluations']} evaluations to make" if make["evaluations"] else "")
        + (f"; then up to {rounds} more trials, chosen in rounds of {adaptive.batch}" if adaptive and rounds else "")
    )


def place(where: Where, told: Forecast) -> str:
    """Return where a run would make it, in one line."""
    address = where.cluster.address
    if address == "none":
        return "where: in one process, one thing after another, without Ray"
    if not told.share:
        return (
            f"where: on the cluster at {address!r}; write in [cluster] of the --on file how many cpus and gpus it has, "
            "and its times can be told"
        )
    train, make = told.share.sorts()
    there = f"the cluster at {address!r} ({names(told.nodes)} in all)" if address else f"here ({names(told.nodes)})"
    workers = f"{told.share.workers} workers of " if told.share.workers > 1 else ""
    return (
        f"where: {there}: {_count(told.share.lanes, 'lane')} of {workers}{_asked(train)} for fits and trials, "
        f"{_count(make.count, 'actor')} of {_asked(make)} for images"
        + ("; started in an unlucky order some find no room until others end" if told.waits else "")
    )


def _asked(sort: Sort) -> str:
    return f"{sort} where {' and '.join(sort.labels)}" if sort.labels else str(sort)


def _count(count: float, what: str) -> str:
    return f"{count:,.0f} {what}" + ("s" if count != 1 else "")


def _table(told: Forecast) -> list[str]:
    """Return a line for each kind: how many, seconds of one, seconds of all, from when to when."""
    if not told.stages:
        return []
    rows: list[tuple[str, ...]] = [("", "number", "seconds each", "work", "from", "to")]
    for stage in told.stages:
        each = f"{stage.work / stage.count:.2f} a {ONES[stage.kind]}" if stage.work else "not measured"
        times = [clock(seconds) if stage.work else "–" for seconds in (stage.work, stage.began, stage.ended)]
        rows.append((stage.kind, f"{stage.count * _unit(stage.kind):,}", each, *times))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


def _unit(kind: str) -> int:
    return SHARD_ROWS if kind in ("images", "distances") else 1


def _time(told: Forecast) -> list[str]:
    if told.seconds is None:
        return []
    if not sum(stage.work for stage in told.stages):
        return ["wall time: not known before something alike is made; a smaller study of the same kinds measures it"]
    sure = "at least" if told.unmeasured else "about"
    start = told.overhead
    beside = f", {clock(start.lane_start + start.end)} of it to start and to end" if start.runs else ""
    unknown = " (the start of Ray and its processes is not measured yet)" if told.share and not start.runs else ""
    busy = ", ".join(f"{who} {share:.0%} busy" for who, share in (told.busy or {}).items())
    longest = f"; the longest chain takes {clock(told.longest_seconds)}: {' > '.join(told.longest)}"
    cost = f", and would cost {sure} {told.cost:,.2f}" if told.cost is not None else ""
    return [f"wall time: {sure} {clock(told.seconds)}{beside}{unknown}{cost}", f"{busy}{longest}"]


def _advice(told: Forecast) -> list[str]:
    if not told.better or told.seconds is None:
        return []
    better = told.better
    return [
        f"lanes = {better['lanes']:.0f} and actors = {better['actors']:.0f}, as many processes in all, would take "
        f"{clock(better['seconds'])}"
    ]


def _missing(told: Forecast) -> list[str]:
    if not told.unmeasured:
        return []
    counts = ", ".join(f"{count:,} of {kind}" for kind, count in told.unmeasured.items())
    return [f"not measured yet: {counts}: the store has nothing that differs from them in seeds and sizes alone"]


def to_json(study: Study, where: Where, told: Forecast) -> dict[str, Any]:
    """Return a forecast as plain data; ``lower_bound`` says that something is not measured yet."""
    plain = {f.name: getattr(told, f.name) for f in dataclasses.fields(told)}
    share = told.share and {f.name: getattr(told.share, f.name) for f in dataclasses.fields(told.share)}
    nodes = [{"cpus": node.cpus, "gpus": node.gpus} for node in told.nodes]
    stages = [dataclasses.asdict(stage) for stage in told.stages]
    made = {"nodes": nodes, "share": share, "stages": stages, "overhead": dataclasses.asdict(told.overhead)}
    head = {"study": study.name, "address": where.cluster.address, "lower_bound": bool(told.unmeasured)}
    return {**head, **plain, **made}
