"""Progressive transformation learning as a chain of specs (arXiv 2211.01778): train, rank, translate, train again.

    trials = ptl(real=real, virtual=Subset(of=pool, size=17_280), test=test, recipe=recipe, iterations=5, seed=0)

Nothing but specs: each round's trial is the critic of the next. How a round chooses and translates is said by
``Translation``, and done in ``generators.translation``. Standard library only.
"""

from typing import Any

from realfake.recipes import DetectionRecipe
from realfake.spec import Dataset, Distances, Pool, Subset, Translation, Trial
from realfake.values import SpecError


def ptl(
    *,
    real: Subset,
    virtual: Subset,
    test: Dataset,
    recipe: DetectionRecipe,
    iterations: int = 5,
    per_iteration: int = 100,
    scales: tuple[int, ...] = (),
    seed: int = 0,
    **translation: Any,
) -> tuple[Trial, ...]:
    """Return the trials of all rounds, the real-only one first: ``iterations`` + 1.

    In every round the virtual images that lie near to what the trial before was trained on are drawn, ``per_iteration``
    of them, made to look like it, and added. ``translation`` are fields of ``Translation`` (translator, strength, …).
    Raises SpecError when more images are wanted than there are virtual ones.
    """
    if not isinstance(virtual.of, Pool):
        raise SpecError("ptl(virtual=…): these images are to become real; give Subset(of=Pool(…), size=…)")
    if taken := {"real", "virtual", "distances", "candidates", "seed", "critic"} & set(translation):
        raise SpecError(f"ptl({min(taken)}=…): each round has its own; leave it out (candidates are per_iteration)")
    if iterations < 1 or per_iteration < 1 or iterations * per_iteration > virtual.size:
        raise SpecError(
            f"ptl(iterations={iterations}, per_iteration={per_iteration}): that many images are to be taken from "
            f"{virtual.size} virtual ones, once each; give 1 or more of both and a larger virtual subset"
        )
    trials = [Trial(real=real, test=test, recipe=recipe, seed=seed)]
    for _ in range(iterations):
        distances = Subset(of=Distances(of=virtual.of, critic=trials[-1], scales=scales), size=virtual.size)
        chosen = {"candidates": per_iteration, "seed": seed, **translation}
        round_ = Translation(real=real, virtual=virtual, distances=distances, **chosen)
        new = Subset(of=Pool(generator=round_, seed=seed), size=per_iteration)
        synthetic = (*trials[-1].synthetic, new)
        trials.append(Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed))
    return tuple(trials)
