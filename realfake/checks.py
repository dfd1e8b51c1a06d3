"""Checks of specs that hold several others: one clear sentence where they make no sense together.

They read the attributes of what they are given, so that ``spec`` can ask them; standard library only.
"""

from typing import Any

from realfake.graph import address
from realfake.values import SpecError


def check_translation(spec: Any, rendered: bool) -> None:
    """Refuse a ``Translation`` whose parts do not fit; ``rendered``: whether its virtual images are."""
    if not rendered:
        raise SpecError(
            "Translation.virtual: people are cut out of these images by their masks, which rendered ones have; give "
            "Subset(of=Pool(generator=Procedural(…)), size=…)"
        )
    held = spec.distances
    if held is not None and (getattr(held.of, "critic", None) is None or not _same(held, spec.virtual)):
        raise SpecError(
            "Translation.distances are of other images, or of another number, than Translation.virtual; give "
            "Subset(of=Distances(of=virtual.of, critic=…), size=virtual.size)"
        )
    if spec.critic and (spec.critic.real != spec.real or spec.critic.added):
        raise SpecError("Translation.real is not what its critic was trained on; give both the same real=…")
    if spec.warm_start and spec.critic is None:
        raise SpecError("Translation.warm_start: without distances there is no round before; leave it out")
    if (spec.translator == "sd-img2img") != (spec.weights is not None):
        raise SpecError('Translation: weights=External(name=…) and translator="sd-img2img" go together; give both')


def check_choice(spec: Any, boxes: set[bool]) -> None:
    """Refuse a ``Choice`` among too few, or by what its candidates do not measure; ``boxes``: which are detectors."""
    if len({address(trial) for trial in spec.candidates}) < 2:
        raise SpecError("Choice: one candidate leaves nothing to choose; give candidates=(Trial(…), Trial(…), …)")
    if boxes != {spec.by.startswith("ap")}:
        raise SpecError(f"Choice.by is {spec.by!r}: detectors have ap50_error and ap_error, classifiers the others")


def check_choices(study: Any) -> None:
    """Refuse a study that chooses on what it tests on, or twice among the same trials."""
    tests = {trial.test for trial in study.trials} | {evaluation.on for evaluation in study.evaluations}
    if bad := [choice.on for choice in study.choices if choice.on in tests]:
        raise SpecError(
            f"Study {study.name!r} chooses on its test set {bad[0].name!r}, where the chosen would be flattered; take "
            "split='validation'"
        )
    if len({frozenset(choice.candidates) for choice in study.choices}) < len(study.choices):
        raise SpecError(f"Study {study.name!r} chooses twice among the same trials; give one Choice")


def check_tried(study: Any) -> None:
    """Refuse evaluations of what is no trial of the study."""
    known = {address(trial) for trial in study.trials}
    if lost := [address(e.of) for e in study.evaluations if address(e.of) not in known]:
        raise SpecError(f"Study {study.name!r} evaluates {lost[0]}, which is none of its trials; add that trial too")


def _same(distances: Any, virtual: Any) -> bool:
    return (distances.of.of, distances.size) == (virtual.of, virtual.size)
