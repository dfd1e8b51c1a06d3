"""How many real scenes are rendered people worth to a detector, and does progressive transformation add to that?

    realfake run studies/ptl_aerial.py

A stand-in for arXiv 2408.14559: all scenes are rendered, so nothing here is a result about photographs. Real-like
scenes of one domain (it plays VisDrone) are trained on, with rendered people of another look beside them; detectors
are tried on that domain, on a near one (it plays Okutama-Action) and on a far one (it plays SARD). Rendered people
differ from real-like ones by a gap: 0 is one drawing routine for both, 1 mannequins, 2 more so. They are used as they
are (naive merge), first and real ones after them (pretrain, then finetune), with real people's colours at random, and
by rounds of progressive transformation learning (PTL: nearest to the training distribution first; the last round, and
the best by validation). Priced in scenes of the trained domain, and in labelled scenes of the near domain. What is
claimed is declared below, before any run.

70 translations, 20,992 images, 145 trials, 61,440 distances, 320 evaluations; about 30 minutes on two cores. Every
trial sees 3,600 examples whatever the mixture, so more images are more variety, not more training.

Result 2026-11-21 (stand-in, five replicates): on the trained domain, beside 20 scenes, 40 images of PTL's first round
were worth 5.5 [2.3, 9.8] more scenes, 120 of three rounds -4.3 [< -10, 0.3], 120 by naive merge -5.0 [< -10, 0.3],
120 trained on first 5.8 [-0.2, 13.1]; beside 80 every use of 120 did harm (PTL -42 [-48, -35]). On the far domain,
where more scenes of the trained one do not help, 120 merged beside 80 were worth more than the ladder holds (> 240).
Of 16 claims one is decided, against the paper: medium-confidence detections do not change more than low ones. LOG.md
has the rest.
"""

from realfake import (
    Choice,
    Claim,
    Dataset,
    DetectionRecipe,
    Effect,
    Evaluation,
    Pool,
    Procedural,
    Study,
    Subset,
    Term,
    Translation,
    Trial,
    change,
    ptl,
)

SEEDS, ROUNDS, NEW = range(5), 3, 40
SMALL, LARGE, VOLUME = 20, 80, 120
size = {"pixels": 96, "zoom": 3.0}  # people of about 15 × 30 pixels
train, test = Dataset(name="aerial-urban", **size), Dataset(name="aerial-urban", split="test", **size)
near, far = Dataset(name="aerial-park", split="test", **size), Dataset(name="aerial-quarry", split="test", **size)
validation = Dataset(name="aerial-urban", split="validation", **size)
near_train = Dataset(name="aerial-park", **size)
recipe = DetectionRecipe(width=24, learning_rate=5e-3, examples_seen=3_600)
finetune = DetectionRecipe(width=24, learning_rate=5e-3, examples_seen=3_600, mixing="synthetic_then_real")


def virtual(gap):
    """Return the rendered images that are chosen from: people of a look that differs by `gap`."""
    return Subset(of=Pool(generator=Procedural(gap=gap, **size)), size=1024)


def merged(gap, seed):
    """Return rendered images to be used as they are: others in each replicate."""
    return (Subset(of=Pool(generator=Procedural(gap=gap, **size), seed=seed), size=VOLUME),)


def trial(n, seed, of=recipe, **given):
    """Return one trial: `n` scenes of the trained domain, and what else is given."""
    return Trial(real=Subset(of=train, size=n, seed=seed), test=test, recipe=of, seed=seed, **given)


def rounds(n, gap, seed):
    """Return the trials of progressive transformation learning beside `n` scenes, these alone first."""
    real = Subset(of=train, size=n, seed=seed)
    chain = {"test": test, "recipe": recipe, "iterations": ROUNDS, "per_iteration": NEW, "seed": seed}
    return ptl(real=real, virtual=virtual(gap), **chain)


def trials(seed):
    """Yield everything of one replicate."""
    for n in (10, SMALL, 40, LARGE, 160, 320):
        yield trial(n, seed)
    for k in (10, 40, 160):
        yield trial(SMALL, seed, added=Subset(of=near_train, size=k, seed=seed))
    for n in (SMALL, LARGE):
        coloured = Translation(real=Subset(of=train, size=n, seed=seed), virtual=virtual(1.0), seed=seed)
        yield trial(n, seed, synthetic=merged(1.0, seed))
        yield trial(n, seed, finetune, synthetic=merged(1.0, seed))
        yield trial(n, seed, synthetic=(Subset(of=Pool(generator=coloured, seed=seed), size=VOLUME),))
        yield from rounds(n, 1.0, seed)
    for gap in (0.0, 2.0):
        yield trial(SMALL, seed, synthetic=merged(gap, seed))
        yield from rounds(SMALL, gap, seed)


# ------------------------------------------------------------------ the claims of the paper, as contrasts (C1 to C6)

AP, HOME, NEAR, FAR = "average_precision_50", "aerial-urban", "aerial-park", "aerial-quarry"
PTL = "PTL colour virtual gap=1.0"
SLOPE = ((LARGE, 1.0), (SMALL, -1.0))


def less(terms):
    """Return the terms with the other sign."""
    return tuple(Term(**{**vars(term), "weight": -term.weight}) for term in terms)


def gain(measure, n=SMALL, test=NEAR, arm=PTL, sign=1.0):
    """Return what the images of an arm change in a measure."""
    return change(measure, arm, n, VOLUME, test, sign)


def effects():
    """Yield the claims about what is measured of detections; each smallest effect is in the measure's own unit."""
    points = {"above": 0.0, "smallest_effect": 0.05}
    yield Effect(name="C1 the gain shrinks with N", terms=(*gain(AP), *gain(AP, LARGE, sign=-1.0)), **points)
    yield Effect(name="C1 the gain is larger off-domain", terms=(*gain(AP), *gain(AP, test=HOME, sign=-1.0)), **points)
    middle, low, high = (f"ap_t2t_{band}" for band in ("0.1_to_0.5", "0.01_to_0.1", "0.5_to_1"))
    yield Effect(name="C2 medium changes more than low", terms=(*gain(middle), *gain(low, sign=-1.0)), **points)
    yield Effect(name="C2 medium changes more than high", terms=(*gain(middle), *gain(high, sign=-1.0)), **points)
    sure = "ap_t2t_0.1"
    with_n = [Term(measure=sure, n_real=n, n_synthetic=VOLUME, arm=PTL, test=NEAR, weight=w) for n, w in SLOPE]
    without = [Term(measure=sure, n_real=n, test=NEAR, weight=w) for n, w in SLOPE]
    yield Effect(name="C3 AP_t2t grows with N beside synthetic", terms=tuple(with_n), **points)
    yield Effect(name="C3 more than without", terms=(*with_n, *less(without)), **points)
    for where in (HOME, NEAR, FAR):
        ratio = {"below": 0.0, "smallest_effect": 0.1}
        yield Effect(name=f"C4 true ones come nearer on {where}", terms=gain("rho_0.1", LARGE, where), **ratio)
    squared = {"below": 0.0, "smallest_effect": 2.0}
    yield Effect(name="C4 false ones come nearer", terms=gain("distance_false_0.1", LARGE), **squared)
    last, first = (Term(measure="ranked_median", n_real=LARGE, n_synthetic=m, arm=PTL, test=HOME) for m in (120, 40))
    yield Effect(name="C6 the pool comes nearer by round", terms=(last, *less((first,))), **squared)
    last, first = (Term(measure=AP, n_real=SMALL, n_synthetic=m, arm=PTL, test=NEAR) for m in (120, 40))
    yield Effect(name="C6 later rounds find more", terms=(last, *less((first,))), **points)
    for gap in (0.0, 1.0, 2.0):
        more = gain(AP, arm=f"PTL colour virtual gap={gap}")[0], gain(AP, arm=f"rendered gap={gap} mixing=pool")[0]
        better = {"name": f"C6 PTL beats naive merge, stand-in, gap = {gap:g}", "terms": (more[0], *less(more[1:]))}
        yield Effect(**better, **points)


replacing = Claim(
    name="C5 more real images, more replaced",
    quantity="added equivalent",
    at=((LARGE, VOLUME),),
    minus=((SMALL, VOLUME),),
    arm=PTL,
    recipe=f"fpn-tiny on {NEAR}",
    above=0.0,
    smallest_effect=10.0,
)
found = tuple(trial for seed in SEEDS for trial in trials(seed))
study = Study(
    name="ptl_aerial",
    trials=found,
    evaluations=tuple(Evaluation(of=trial, on=other) for trial in found for other in (near, far)),
    choices=tuple(Choice(candidates=rounds(n, 1.0, seed)[1:], on=validation) for n in (SMALL, LARGE) for seed in SEEDS),
    claims=(replacing,),
    effects=tuple(effects()),
)
