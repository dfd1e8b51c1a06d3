"""What a report says of the detectors of a study, gathered from the store: looks, detections, rounds, pictures.

Nothing is measured anew: a record and its detections.parquet say what a detector found. Here: reading and choosing.
Not here: what is computed of it (`report.detection_tables`), and how it is shown (`report.detectors`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from realfake import generators, naming, records
from realfake.generators import translation
from realfake.measures import COUNTS, KINDS, SCORES, SURE
from realfake.report import detection_tables as tables
from realfake.report.figures import Frame
from realfake.report.looks import (
    CELL,
    DetectionFacts,
    Objects,
    OfTest,
    People,
    Picture,
    Round,
    Seen,
    against,
    leading,
    over_seeds,
    summarised,
)
from realfake.report.scenes import person_crop
from realfake.samples import Samples, load, load_dataset, shard_name
from realfake.spec import (
    Dataset,
    DetectionRecipe,
    Pool,
    Procedural,
    Study,
    Subset,
    Translation,
    Trial,
    address,
    order,
)
from realfake.store import Store
from realfake.tasks.detection_measures import ground_truth

DETECTIONS = "detections.parquet"
KEPT = (  # of the record of a look
    *("average_precision", "average_precision_50", "n_test", "n_objects", "n_detections", "n_missed"),
    *("distance_status", "n_population", "dimension", "distance_expected", "distance_missed", "distribution_gap"),
    "distance_objects",
    *(f"{name}_{least}" for name in ("distance_true", "distance_false", "rho") for least in SCORES),
    *(f"distance_{kind}_{least}_relative" for kind in KINDS for least in SCORES),
    *(f"distance_{kind}_{SURE}_at_{n}" for kind in KINDS for n in COUNTS),
    *(f"{name}_{least}" for name in ("ap_t2t", "ap_t2t_of_true") for least in SCORES),
)
CLOSENESS = [*CELL, "normalisation", "threshold", "ap_t2t", "image_low", "image_high"]
MOST_PAIRS, MOST_PEOPLE, MOST_SHEETS = 6, 8, 3
LEAST_SCORE = 0.3
STAND_IN = "aerial-"  # how the names of rendered data sets begin


def gather(study: Study, store: Store) -> DetectionFacts | None:
    """Return what is known of a study's detectors; None for a study without any that is made."""
    looks = pd.DataFrame(_looks(study, store))
    if not len(looks):
        return None
    cells = leading(looks)
    tested = {naming.test_name(on): on for on in _test_sets(study)}
    found = [_of_test(name, on, cells[cells["test"] == name], store) for name, on in tested.items()]
    rounds = list(_translations(study, store))
    return DetectionFacts(
        looks,
        tuple(one for one in found if one is not None),
        tuple(round_ for round_, spec, _ in rounds if spec.distances),
        tuple(_people(rounds, store)),
        stand_in(study),
        LEAST_SCORE,
    )


def stand_in(study: Study) -> str:
    """Say that data sets of a study are rendered, and how far its virtual people are from theirs; "" if none is."""
    held = order([study])
    if not any(isinstance(spec, Dataset) and spec.name.startswith(STAND_IN) for spec in held):
        return ""
    gaps = sorted({spec.gap for spec in held if isinstance(spec, Procedural)})
    told = f", gap = {', '.join(f'{gap:g}' for gap in gaps)}" if gaps else ""
    return f"stand-in (rendered){told}"


# --------------------------------------------------------------------------------------------------------------- looks


def _looks(study: Study, store: Store) -> Iterator[dict[str, Any]]:
    """A row for every detector and test set that was made, in the order of the study."""
    names, recipe = _arms(study), naming.recipes(study.trials)
    specs = [(trial, trial.test, trial) for trial in study.trials]
    specs += [(evaluation.of, evaluation.on, evaluation) for evaluation in records.tried_on(study)]
    for trial, on, spec in specs:
        record = store.record(spec) if isinstance(trial.recipe, DetectionRecipe) else None
        if record is not None:
            result = record["result"]
            added = trial.added.size if trial.added else 0
            sizes = {"n_real": trial.n_real, "n_added": added, "n_synthetic": trial.n_synthetic}
            of = {"test": naming.test_name(on), "arm": names[address(trial)], **sizes}
            of |= {"seed": trial.seed, "recipe": recipe[address(trial)]}
            whose = {"trial": address(trial), "address": address(spec), "status": result["status"]}
            yield {**of, **whose, **{name: result.get(name) for name in KEPT}}


def _arms(study: Study) -> dict[str, str]:
    """The arm of every trial, with the domain of added real images, and the recipe where there are several."""
    arm, recipe = naming.arms(study.trials), naming.recipes(study.trials)
    several = len(set(recipe.values())) > 1
    found = {}
    for trial in study.trials:
        name = address(trial)
        added = f" + {trial.added.of.name}" if trial.added and isinstance(trial.added.of, Dataset) else ""
        found[name] = arm[name] + added + (f", {recipe[name]}" if several else "")
    return found


def _test_sets(study: Study) -> list[Dataset]:
    return list(dict.fromkeys([*(t.test for t in study.trials), *(e.on for e in records.tried_on(study))]))


def read_detections(store: Store, name: str) -> Seen:
    """Return the detections of a made look, matched at the lowest IoU threshold, which is 0.5."""
    table = pq.read_table(store.file(name, DETECTIONS))

    def first(column: str, kind: Any, nothing: Any) -> np.ndarray:
        values = table[column].combine_chunks()
        whole = values.flatten().to_numpy(zero_copy_only=False)[:: values.type.list_size]
        return np.where(pd.isna(whole), nothing, whole).astype(kind)

    plain = {key: table[key].to_numpy() for key in ("image", "category", "score", "rank")}
    box = table["box"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    matched, ignored = first("matched", bool, False), first("ignored", bool, False)
    distance = table["distance"].to_numpy(zero_copy_only=False).astype(float)
    return Seen(**plain, box=box, matched=matched, ignored=ignored, truth=first("truth", int, -1), distance=distance)


def objects_of(test: Samples) -> Objects:
    """Return what there is to find in a test set; rows are those that ``truth`` of its detections names."""
    truth = ground_truth(test)
    return Objects(test.ids, truth.image, truth.category, truth.box, ~truth.crowd)


# ------------------------------------------------------------------------------------------------------- one test set


def _of_test(name: str, on: Dataset, cells: Frame, store: Store) -> OfTest | None:
    """The tables and pictures of the leading cells on a test set; None where there are none."""
    if not len(cells) or not store.has(on):
        return None
    test = load_dataset(store, on)
    there = objects_of(test)
    seeds = cells.groupby(["arm", "n_real"])["address"].transform("size")
    precision, closeness = [], []
    for (_, look), n_seeds in zip(cells.iterrows(), seeds, strict=True):
        seen, cell = read_detections(store, look["address"]), {key: look[key] for key in CELL}
        curve = zip(tables.RECALLS, tables.precision_at_recalls(seen, there), strict=True)
        precision += [{**cell, "recall": recall, "precision": value} for recall, value in curve]
        draws = tables.DRAWS if n_seeds == 1 else 0
        closeness += [{**cell, **row} for row in tables.closeness_rows(seen, there, draws)]
    return OfTest(
        name,
        over_seeds(pd.DataFrame(precision), ["recall"], "precision"),
        _distances(cells, store),
        over_seeds(pd.DataFrame(closeness, columns=CLOSENESS), CLOSENESS[5:7], "ap_t2t"),
        *_pairs(cells, test, there, store),
    )


def _distances(cells: Frame, store: Store) -> Frame:
    """Distances of right and wrong detections of the arms to compare, at each real size, seeds together."""
    chosen = {
        (n_real, arm): cells[(cells["n_real"] == n_real) & (cells["arm"] == arm)]
        for n_real, arms in against(cells).items()
        for arm in arms
    }
    seen = {key: [read_detections(store, name) for name in own["address"]] for key, own in chosen.items()}
    grid = tables.grid_of(one for looks in seen.values() for one in looks)
    rows: list[dict[str, Any]] = []
    for key, own in chosen.items():
        cell = {name: own[name].iloc[0] for name in CELL} | {"seeds": len(own)}
        rows += [{**cell, **row} for row in tables.distance_rows(seen[key], grid)]
        expected = summarised(own, "distance_expected")[0]
        rows += [{**cell, "kind": "expected", "distance": expected}] if np.isfinite(expected) else []
    return pd.DataFrame(rows)


def _pairs(
    cells: Frame, test: Samples, there: Objects, store: Store
) -> tuple[tuple[tuple[Picture, Picture], ...], tuple[str, str]]:
    """The same test images as real images alone and the largest synthetic volume see them, and how these are called.

    Of equal volumes that beside the fewest real images; of every cell the first seed.
    """
    both = {n: arms for n, arms in against(cells).items() if len(arms) == 2}
    if not both:
        return (), ("", "")
    sides = [(n, [cells[(cells["n_real"] == n) & (cells["arm"] == arm)].iloc[0] for arm in a]) for n, a in both.items()]
    n_real, (alone, beside) = max(sides, key=lambda side: (side[1][1]["n_synthetic"], -side[0]))
    seen = [read_detections(store, look["address"]) for look in (alone, beside)]
    pairs = []
    for row in _evenly(np.flatnonzero(np.isin(test.ids, there.image[there.counted])), MOST_PAIRS):
        image, id_ = test.images[row], int(test.ids[row])
        pairs.append(tuple(tables.picture(one, there, image, id_, LEAST_SCORE) for one in seen))
    names = f"{n_real:,} real", f"{n_real:,} real + {int(beside['n_synthetic']):,} {beside['arm']}"
    return tuple(pairs), names


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


# -------------------------------------------------------------------------------------------------------- translations


def _translations(study: Study, store: Store) -> Iterator[tuple[Round, Translation, Trial]]:
    """Every made translation as a round, with the first trial that uses it."""
    names, told = _arms(study), set()
    for trial in study.trials:
        for pool in naming.pools_of(trial):
            spec = pool.generator
            if isinstance(spec, Translation) and address(spec) not in told and store.has(spec):
                told.add(address(spec))
                yield _round(spec, pool, names[address(trial)], trial, store), spec, trial


def _round(spec: Translation, pool: Pool, arm: str, trial: Trial, store: Store) -> Round:
    selection = pq.read_table(store.file(spec, translation.SELECTION))
    record = store.record(spec) or {"result": {}}
    taken = next(part.size for part in trial.synthetic if part.of == pool)
    height = record["result"].get("candidate_height_median")
    return Round(arm, trial.n_real, iteration(spec), selection["distance"].to_numpy(), taken, height)


def iteration(spec: Translation) -> int:
    """Return which round a translation is, from 1: one more than those that its critic was trained on."""
    parts = spec.critic.synthetic if spec.critic else ()
    before = [part.of.generator for part in parts if isinstance(part.of, Pool)]
    return 1 + sum(isinstance(g, Translation) and g.virtual.of == spec.virtual.of for g in before)


def _people(rounds: list[tuple[Round, Translation, Trial]], store: Store) -> Iterator[People]:
    """The last round of each arm, beside the most real images, as pictures of people; where its images are there."""
    last: dict[str, tuple[Round, Translation, Trial]] = {}
    for one in rounds:
        before = last.get(one[0].arm)
        if before is None or (one[0].iteration, one[0].n_real) > (before[0].iteration, before[0].n_real):
            last[one[0].arm] = one
    for round_, spec, trial in list(last.values())[:MOST_SHEETS]:
        pool = next(pool for pool in naming.pools_of(trial) if pool.generator == spec)
        if store.file(pool, shard_name(0)).is_file() and store.has(spec.real.of):
            yield _sheet(round_, spec, pool, next(p.size for p in trial.synthetic if p.of == pool), store)


def _sheet(round_: Round, spec: Translation, pool: Pool, size: int, store: Store) -> People:
    ids = pq.read_table(store.file(spec, translation.SELECTION))["id"].to_numpy()[: min(size, MOST_PEOPLE)]
    virtual = spec.virtual.of
    assert isinstance(virtual, Pool)
    before = translation.drawn(virtual, generators.load_generator(virtual.generator, store), ids)
    after, real = load(store, Subset(of=pool, size=len(ids))), load(store, spec.real)
    rows = _evenly(np.flatnonzero(np.diff(real.objects.start)), MOST_PEOPLE) if real.objects else []
    crops = [_crops(images, of) for images, of in ((before.images, before.objects), (after.images, after.objects))]
    of_real = real.take(np.asarray(rows, int))
    numbers = {"arm": round_.arm, "n_real": round_.n_real, "iteration": round_.iteration}
    return People(
        **numbers, ids=ids, virtual=crops[0], translated=crops[1], real=_crops(of_real.images, of_real.objects)
    )


def _crops(images: np.ndarray, objects: Any) -> np.ndarray:
    """The tallest person of every image (n, p, p, c); images without any are left out."""
    found = []
    for row, image in enumerate(images):
        boxes = objects.box[objects.of_image(row)]
        found += [person_crop(image, boxes[boxes[:, 3].argmax()])] if len(boxes) else []
    return np.stack(found) if found else np.empty((0, 0, 0, images.shape[3]), np.uint8)
