"""What the trials of a study say of each pool and each class, beside what was measured of their images.

Here: which trial drew on which pool, which arms are controls, and the two put together. Not here: the numbers
(`pool_worths`, `by_class`, `class_slopes` in `statistics`), what is measured of images (``fidelity``).
"""

from typing import Any

from realfake import records
from realfake.spec import Pool, Relabel, Repeat, Study, address
from realfake.store import Store

Row = dict[str, Any]
MOST_CLASSES = 30  # whose own numbers are tabled


def by_pool(study: Study, table: Any, fidelities: list[Row]) -> dict[str, list[Row]]:
    """Return the worths of pools, their classification accuracy scores, and how measures rank with worths.

    ``fidelities`` are the facts of ``pictured.fidelities``. Empty where neither they nor synthetic-only trials exist.
    """
    from realfake.statistics.pool_worths import accuracy_scores, as_measures, pool_worths, worth_correlations

    pools = _pools(study)
    scores = accuracy_scores(table, pools)
    if not (fidelities or scores):
        return {}
    worths, measured = pool_worths(table, pools), [*fidelities, *as_measures(scores)]
    return {
        "worths": worths,
        "scores": scores,
        "correlations": worth_correlations(worths, measured, controls(study)),
    }


def by_class(study: Study, table: Any, images: Any, store: Store, fidelities: list[Row]) -> dict[str, Any]:
    """Return what each class gained as "by_class", and how its synthetic images alone scale as "class_slopes".

    Nothing where trials have several test sets, or the classes are too many to print.
    """
    from realfake.statistics.by_class import by_class as gained

    tests = {trial.test for trial in study.trials}
    own = {address(trial) for trial in study.trials}  # evaluations have other images
    images = {name: values for name, values in images.items() if name in own}
    classes = (store.record(next(iter(tests))) or {"result": {}})["result"].get("classes", ())
    if len(tests) > 1 or not images or len(classes) > MOST_CLASSES:
        return {"by_class": [], "class_slopes": {}}
    given = records.test_labels(next(iter(images)), store), [str(name) for name in classes]
    return {"by_class": gained(table, images, *given), "class_slopes": _scaling(table, images, *given, fidelities)}


def _scaling(table: Any, images: Any, labels: Any, classes: list[str], fidelities: list[Row]) -> dict[str, list[Row]]:
    """The scaling slopes of classes, the measures of each, and how they rank together; empty without slopes."""
    from realfake.statistics.class_slopes import class_correlations, class_slopes, measured_by_class

    slopes = class_slopes(table, images, labels, classes)
    if not slopes:
        return {}
    measured = measured_by_class(fidelities)
    return {"slopes": slopes, "measures": measured, "correlations": class_correlations(slopes, measured)}


def _pools(study: Study) -> dict[str, str]:
    """The pool of every trial that draws on one, and of every evaluation of such a trial, by addresses."""
    tried = [*((address(t), t) for t in study.trials), *((address(e), e.of) for e in study.evaluations)]
    return {name: address(pools[0]) for name, trial in tried if len(pools := records.pools_of(trial)) == 1}


def controls(study: Study) -> list[str]:
    """The arms whose images are no generator's own: real images again, or under permuted labels."""
    names = records.arms(study.trials)
    drawn = [(names[address(trial)], part.of) for trial in study.trials for part in trial.synthetic]
    of = [name for name, pool in drawn if isinstance(pool, Pool) and isinstance(pool.generator, Relabel | Repeat)]
    return list(dict.fromkeys(of))
