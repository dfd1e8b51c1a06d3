"""How do guidance and prompts bend the law by which synthetic images alone teach a classifier?

    realfake run studies/prompt_sweep.py

Fan et al. (arXiv 2312.04567) on the small pair of `openset_tiny`: a pipeline that was pretrained on MNIST is asked for
digits under six settings, a classifier is trained on 128 to 1,024 of its images and on nothing else, and tested on
scikit-learn's digits, no image of which any of them has seen. Guidance is 1, 2, 4 and 7.5 with one prompt; at 2 the
prompt is also the bare name of the class, or one of nine sentences in turn. Real images alone are the other line.

Their law is straight in logarithms, L ∝ D^−k; k is the slope of log cross_entropy over log n_synthetic in the rows of
trials.csv with n_real 0, arm by arm. `realfake.fit(table, law="power_ratio", arm=…).parameters["growth"]` is such a
k over that of real images, with a floor under both lines. Claims can be made of cells only: of the last volume, and of
the fall from the first one to it. It departs: one miniature instead of Stable Diffusion, Imagen and Muse; a
test_resnet that sees as many examples at every volume instead of a ViT; digits from elsewhere than the pipeline's; and
volumes that are a thousandth of theirs.

1 pretraining, 18,432 images, 90 trials. Declared 2026-11-21, with its claims, before any run; it has not been run yet,
so there is no result.
"""

from realfake import Claim, Dataset, OpenSet, Pool, Pretrained, Prompts, Recipe, Study, Subset, Trial

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTENCES = (
    *("a handwritten {}", "the digit {}", "a {} in ink", "a drawing of a {}", "a black and white photo of a {}"),
    *("a blurry {}", "a thick {}", "a thin and slanted {}", "somebody wrote a {}"),
)
VOLUMES, SEEDS = (128, 256, 512, 1024), (0, 1, 2)

train, test = Dataset(name="digits", pixels=16), Dataset(name="digits", split="test", pixels=16)
base = Pretrained(
    real=Subset(of=Dataset(name="mnist5k", pixels=16), size=3500),
    without=(train, test),
    prompts=Prompts(templates=("a handwritten {}", "the digit {}", "a {} in ink"), names=WORDS),
    network="sd-mini",
    autoencoder_steps=300,
    text_steps=250,
    steps=1000,
    batch_size=32,
    learning_rate=2e-3,
)
one, name, many = (Prompts(templates=templates, names=WORDS) for templates in (SENTENCES[:1], ("{}",), SENTENCES))
SETTINGS = ((1.0, one), (2.0, one), (4.0, one), (7.5, one), (2.0, name), (2.0, many))
recipe = Recipe(model="test_resnet", examples_seen=10_000, augment="none")


def trials(seed):
    """Yield the ladder of one draw of the real images, and that of each setting's images."""
    for size in (25, 50, 100, 200, 400, 800):
        yield Trial(real=Subset(of=train, size=size, seed=seed), test=test, recipe=recipe, seed=seed)
    for guidance, prompts in SETTINGS:
        generator = OpenSet(base=base, prompts=prompts, like=train)
        pool = Pool(generator=generator, guidance=guidance, sampling_steps=12, solver="dpm++", seed=seed)
        for volume in VOLUMES:
            yield Trial(synthetic=(Subset(of=pool, size=volume),), test=test, recipe=recipe, seed=seed)


# -------------------------------------------------------------------------------------------------- what is claimed


def arm(guidance, prompts):
    """Return what the arm of a setting is called."""
    return f"open-set prompts=templates={prompts.templates} names={WORDS} guidance={guidance}"


first, last = ((0, VOLUMES[0]),), ((0, VOLUMES[-1]),)
error = {"quantity": "error", "at": last, "arm": arm(2.0, one), "below": 0.0, "smallest_effect": 0.02}
claims = (
    Claim(name="guidance 2 beats 7.5", minus_arm=arm(7.5, one), **error),
    Claim(name="guidance 2 beats none", minus_arm=arm(1.0, one), **error),
    Claim(name="nine sentences beat one", **{**error, "arm": arm(2.0, many)}, minus_arm=arm(2.0, one)),
    Claim(name="a sentence beats the bare name", minus_arm=arm(2.0, name), **error),
    Claim(name="eight times the images teach more", minus=first, **error),
)
study = Study(name="prompt_sweep", trials=tuple(t for seed in SEEDS for t in trials(seed)), claims=claims)
