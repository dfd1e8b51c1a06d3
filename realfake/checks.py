"""Checks of specs that hold several others: one clear sentence where they make no sense together.

They read the attributes of what they are given, so that ``spec`` can ask them; standard library only.
"""

import dataclasses
from typing import Any

from realfake.graph import address
from realfake.outside import Dataset
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


def check_token(lora: Any) -> None:
    """Refuse a ``Lora`` whose learned word is no word, is not asked for, or leaves other switches without effect."""
    if not lora.token:
        return
    if lora.token.split() != [lora.token] or any(sign in lora.token for sign in "{},"):
        raise SpecError(f'Lora.token: {lora.token!r} is not one word; choose one such as "<style>"')
    if lora.text_encoder and not lora.rank:
        raise SpecError("Lora.text_encoder: with rank=0 there is no adapter for it; leave it out, or give a rank")
    _holds("Lora", lora.prompts, lora.token)


def _holds(kind: str, prompts: Any, token: str) -> None:
    if lost := [text for text in prompts.templates if token not in text.split()]:
        raise SpecError(
            f"{kind}.prompts: the template {lost[0]!r} does not hold the learned word {token!r}, which has no effect "
            'there; write it as a word of its own, such as "a photo of a {} in ' + token + '"'
        )


def check_open_set(spec: Any) -> None:
    """Refuse an ``OpenSet`` whose parts do not fit together."""
    if spec.lora is not None and spec.lora.base != spec.base:
        raise SpecError("OpenSet.lora was fitted to another base; give OpenSet and Lora the same base=…")
    if spec.lora is not None and spec.lora.token:
        _holds("OpenSet", spec.prompts, spec.lora.token)
    uses = bool(spec.visual or spec.prior or spec.prompts.captions)
    if uses and spec.real is None:
        raise SpecError("OpenSet: visual guidance, a latent prior and captions are of real images; give real=Subset(…)")
    if spec.real is not None and not uses:
        raise SpecError(
            "OpenSet.real: no part of it uses these images (visual=…, prior=… and captions do), so they would be real "
            "budget for nothing; leave real out, and without lora=… give like=Dataset(…) for the classes"
        )
    if (spec.like is None) == (spec.real is None and spec.lora is None):
        raise SpecError(
            "OpenSet.like names the data set whose classes and size are wanted where neither real=… nor lora=… does; "
            "give it there, and there only"
        )


def check_canaries(subset: Any, real: bool) -> None:
    """Refuse wrong labels on images that are not real, or on more of them than there are; ``real``: of a data set."""
    audited = subset.size if subset.half is None else 2 * subset.size
    if subset.canaries and (not real or subset.canaries > audited):
        raise SpecError(
            f"Subset.canaries={subset.canaries}: wrong labels are put on real images, at most on all {audited} of "
            "them; give fewer, on a subset of a Dataset"
        )


def check_audit(audit: Any, seen: tuple[Any, ...], boxes: bool) -> None:
    """Refuse an audit of images of which its trial did not see one half and no more; ``seen``: all that it saw,
    ``boxes``: whether it is a detector."""
    on = audit.on
    if not isinstance(on.of, Dataset) or on.half is not None or on.size % 2:
        raise SpecError("Audit.on: give both halves, Subset(of=Dataset(…), size=2·n) without half=…, an even number")
    if boxes:
        raise SpecError("Audit.of: the attack asks for probabilities of classes; give a trial with recipe=Recipe(…)")
    same = [s for s in seen if (s.of.name, s.of.fingerprint, s.of.split) == _content(on)]
    halves = [s for s in same if _is_half_of(s, on)]
    if not halves:
        raise SpecError(
            f"Audit: {address(audit.of)} saw no half of these images; give its pipeline real=Subset(of=…, "
            f"size={on.size // 2}, seed={on.seed}, canaries={on.canaries}, half=k)"
        )
    if lost := [s for s in same if s != halves[0]]:
        raise SpecError(
            f"Audit: {address(audit.of)} saw its half and also {lost[0]}, through a generator, critic or pretrained "
            "weights; build all of it from the half, or those outside count as members too"
        )


def _content(on: Any) -> tuple[str, str, str]:
    return (on.of.name, on.of.fingerprint, on.of.split)


def _is_half_of(seen: Any, on: Any) -> bool:
    return seen.half is not None and dataclasses.replace(seen, size=2 * seen.size, half=None) == on


def check_fidelity(fits: bool, boxes: bool) -> None:
    """Refuse to compare what is no pool with what is no real data (``fits``), or by a detector (``boxes``)."""
    if not fits:
        raise SpecError(
            "Fidelity compares synthetic with real images; give of=Subset(of=Pool(…)), real=Subset(of=Dataset(…))"
        )
    if boxes:
        raise SpecError("Fidelity.space and classifier: a detector tells no classes; give trials with recipe=Recipe(…)")


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
    if lost := [address(a.of) for a in study.audits if address(a.of) not in known]:
        raise SpecError(f"Study {study.name!r} audits {lost[0]}, which is none of its trials; add that trial too")
    pools = {part.of for trial in study.trials for part in trial.synthetic}
    if lost := [address(f.of.of) for f in study.fidelities if f.of.of not in pools]:
        raise SpecError(f"Study {study.name!r} measures {lost[0]}, which none of its trials uses; leave that out")
    if lost := [address(e.of) for e in study.evaluations if address(e.of) not in known]:
        raise SpecError(f"Study {study.name!r} evaluates {lost[0]}, which is none of its trials; add that trial too")


def _same(distances: Any, virtual: Any) -> bool:
    return (distances.of.of, distances.size) == (virtual.of, virtual.size)
