"""The trials of a membership audit as a chain of specs: each shadow model's whole pipeline is built from its half.

    audit = shadow_models(of=train, size=2000, make=pipeline, models=16, canaries=100)
    study = Study(name="audit", trials=audit.trials, audits=audit.audits)

where ``pipeline(real, index)`` returns the trial whose generator, critic and model have seen ``real`` and no other of
these images. Nothing but specs; what attacks reach is in ``privacy``. Standard library only.
"""

from collections.abc import Callable
from dataclasses import dataclass

from realfake.spec import Audit, Dataset, Subset, Trial, address
from realfake.values import SpecError


@dataclass(frozen=True)
class Shadows:
    """The trials of an audit, and an audit of each."""

    trials: tuple[Trial, ...]
    audits: tuple[Audit, ...]


def shadow_models(
    *,
    of: Dataset,
    size: int,
    make: Callable[[Subset, int], Trial],
    models: int = 16,
    canaries: int = 0,
    baseline: bool = True,
    seed: int = 0,
) -> Shadows:
    """Return M = ``models`` shadow trials on halves of the first ``size`` images, and their audits on all of those.

    Halves 2j and 2j + 1 are complements, so that every image is in exactly M / 2 of them. ``canaries`` of the images
    carry a wrong label wherever they are trained on. ``baseline`` adds the arm that is trained on the half itself, with
    test set, recipe and seed of the trial that ``make`` returns. Use 16 models, 2,000 images and 100 canaries or more
    for numbers to report.
    Raises SpecError for fewer than 4 models, an odd number of models or images, and for a pipeline that has seen
    another image of the audited ones than its half: a latent prior, a critic or a caption of those would make the
    models' non-members members.
    """
    if models < 4 or models % 2:
        raise SpecError(f"shadow_models(models={models}): halves come in pairs, two at least; give an even number, 16")
    if size < 2 or size % 2:
        raise SpecError(f"shadow_models(size={size}): it is halved; give an even number of images")
    everyone = Subset(of=of, size=size, seed=seed, canaries=canaries)
    trials: list[Trial] = []
    for index in range(models):
        half = Subset(of=of, size=size // 2, seed=seed, half=index, canaries=canaries)
        trial = make(half, index)
        if not isinstance(trial, Trial):
            raise SpecError(f"shadow_models(make=…) returned a {type(trial).__name__}; return a Trial")
        if Audit(of=trial, on=everyone).half != half:
            raise SpecError(f"shadow_models(make=…) built trial {index} from another half; build it from real={half}")
        trials.append(trial)
        if baseline:
            trials.append(Trial(real=half, test=trial.test, recipe=trial.recipe, seed=trial.seed))
    distinct = {address(trial): trial for trial in trials}
    return Shadows(tuple(distinct.values()), tuple(Audit(of=trial, on=everyone) for trial in distinct.values()))
