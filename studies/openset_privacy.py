"""Do synthetic images give away which real images they were made from, less than a model of the real images does?

    realfake run studies/openset_privacy.py

Membership inference on the whole pipeline (LiRA, arXiv 2112.03570), as arXiv 2310.10402 asks: 16 shadow models, each
on one half of 2,000 MNIST digits, 100 of which carry a wrong label. Attacked is a classifier that was trained on the
half itself; on images of a closed-set generator that was fitted to the half; on images of a pretrained pipeline that
was aligned to it. No generator sees an image of the other half. The pair is that of `openset_tiny` turned around, for
a pipeline must not have seen what is audited, and scikit-learn's digits, 1,297 to train on, are too few to audit: here
they pretrain. The paper's code has ten halves and no canaries; whether its images came from the half was not found.

The report tells by how much the AUC of online LiRA with fixed variance differs for each synthetic arm from that on the
real half, with an interval over models and examples, on ordinary examples and on mislabelled ones. The claim of the
paper, "membership inference falls", is supported where both intervals lie below 0 by 0.02 or more; no `Claim` can be
declared of an audit, so it stands here. An attack that reaches little leaves open what another one reaches.

1 pretraining, 16 adapters, 16 closed-set generators, 32,768 images, 48 trials, 48 audits: 42 minutes on one core.
Declared 2026-11-21, with what it claims, before any run. Result 2026-11-21, AUC of online LiRA with fixed variance:

| trained on | error, % | ordinary examples | mislabelled ones | TPR at 1 % FPR, ordinary |
|---|---|---|---|---|
| the real half | 11.8 | 0.792 [0.780, 0.805] | 0.99997 [0.99986, 1.00000] | 0.111 [0.089, 0.135] |
| closed-set images of it | 21.7 | 0.512 [0.498, 0.527] | 0.490 [0.429, 0.547] | 0.0124 [0.0092, 0.0161] |
| the aligned pipeline's images | 82.4 | 0.495 [0.482, 0.508] | 0.491 [0.435, 0.539] | 0.0110 [0.0077, 0.0150] |

Both arms lie below the real half by more than 0.25 on ordinary examples and 0.45 on mislabelled ones: the claim is
supported, for this attack on the classifier. It says less than it seems: the aligned pipeline of 200 steps makes images
that hardly teach digits, and what teaches nothing gives nothing away; 1,024 closed-set images teach, at 21.7 % error.
Nobody attacked the generators themselves, or the images, some of which may be copies.
"""

from realfake import (
    ClosedSet,
    Dataset,
    Lora,
    OpenSet,
    Pool,
    Pretrained,
    Prompts,
    Recipe,
    Study,
    Subset,
    Trial,
    shadow_models,
)

AUDITED, VOLUME, MODELS, CANARIES = 2000, 1024, 16, 100
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

train, test = Dataset(name="mnist5k", pixels=16), Dataset(name="mnist5k", split="test", pixels=16)
prompts = Prompts(templates=("a handwritten {}", "the digit {}", "a {} in ink"), names=WORDS)
base = Pretrained(
    real=Subset(of=Dataset(name="digits", pixels=16), size=1297),
    without=(train, test),
    prompts=prompts,
    network="sd-mini",
    autoencoder_steps=300,
    text_steps=250,
    steps=1000,
    batch_size=32,
    learning_rate=2e-3,
)
recipe = Recipe(model="test_resnet", examples_seen=20_000, augment="none")


def closed_set(real, seed):
    """Return the trial on images of a diffusion model of the half alone."""
    return synthetic_only(Pool(generator=ClosedSet(real=real, steps=800, seed=seed), sampling_steps=12, seed=seed))


def open_set(real, seed):
    """Return the trial on images of the pretrained pipeline, aligned to the half by an adapter."""
    lora = Lora(base=base, real=real, prompts=prompts, steps=200, batch_size=16, learning_rate=1e-3, seed=seed)
    aligned = OpenSet(base=base, prompts=prompts, lora=lora)
    return synthetic_only(Pool(generator=aligned, guidance=2.0, sampling_steps=12, solver="dpm++", seed=seed))


def synthetic_only(pool):
    """Return the trial on a pool of as many images as the half has, and few more: whole files."""
    return Trial(synthetic=(Subset(of=pool, size=VOLUME),), test=test, recipe=recipe, seed=pool.seed)


audited = {"of": train, "size": AUDITED, "models": MODELS, "canaries": CANARIES}
audits = (
    shadow_models(**audited, make=closed_set),  # with the arm on the half itself
    shadow_models(**audited, make=open_set, baseline=False),
)
study = Study(
    name="openset_privacy",
    trials=tuple(trial for one in audits for trial in one.trials),
    audits=tuple(audit for one in audits for audit in one.audits),
)
