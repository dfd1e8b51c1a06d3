"""Writes a study of the user's own images: a Python file to read, change and run.

It imports the images too, so that what is wrong with them is said now and not in the middle of a run. Reading images is
in ``datasets``, how folders with boxes are told from folders of classes in ``layouts``; what a study is, in ``spec``.
"""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from realfake import layouts, studyfile
from realfake.datasets import DatasetError, import_dataset, in_words, known_locations, remember_location
from realfake.folders import source_name
from realfake.spec import Dataset, Pool, Study, Subset, order
from realfake.store import Store, explain, write_whole

PIXELS = 32
BOXED_PIXELS = 320  # of images with boxes
NETWORK = "unet-s"  # made for 16 to 32 pixels
RATIOS = (1, 4, 16)
BOXED_RATIOS = (1, 4)
SEEDS = (0, 1, 2)
LARGEST_MIXED = 400  # beyond a few hundred real images, fitting generators takes a laptop too long
CLASSES_SHOWN = 10

TEMPLATE = '''\
"""How many synthetic images are worth one real image of {title}?

    realfake run {command}

{classes} classes, {n_train:,} training and {n_test:,} test images, seen at {pixels}×{pixels} pixels.
Result: not run yet.
"""

from realfake import ClosedSet, Dataset, Pool, Recipe, Study, Subset, Trial

{note}train = Dataset({dataset})
test = Dataset({dataset}, split="test")
recipe = Recipe(model="test_resnet", examples_seen={examples_seen:_})
seeds = {seeds}


def trial(size, seed, ratio=0):
    """Return one trial: `size` real images, and `ratio` times as many synthetic ones made from them alone."""
    real = Subset(of=train, size=size, seed=seed)
    pool = Pool(generator=ClosedSet(real=real, network="{network}", steps=2000, seed=seed), seed=seed)
    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()
    return Trial(real=real, synthetic=synthetic, test=test, recipe=recipe, seed=seed)


ladder = (trial(size, seed) for size in {ladder} for seed in seeds)
mixtures = (trial(size, seed, ratio) for size in {mixed} for ratio in {ratios} for seed in seeds)
study = Study(name="{name}", trials=(*ladder, *mixtures))
'''


BOXED_TEMPLATE = '''\
"""How many {rendered} are worth one real image of {title}?

    realfake run {command}

{n_objects:,} objects of {classes} on {n_train:,} training and {n_test:,} test images, at {pixels}×{pixels} pixels.
Result: not run yet.
"""

from realfake import Dataset, DetectionRecipe, {names}Study, Subset, Trial

{note}train = Dataset({dataset})
test = Dataset({dataset}, split="test")
recipe = DetectionRecipe(examples_seen={examples_seen:_})
seeds = {seeds}


def trial(size, seed{argument}):
    """Return one trial: {what}."""
    real = Subset(of=train, size=size, seed=seed)
{pool}    return Trial(real=real, {synthetic}test=test, recipe=recipe, seed=seed)


ladder = (trial(size, seed) for size in {ladder} for seed in seeds)
{mixtures}study = Study(name="{name}", trials=({trials}))
'''
MERGED = {
    "rendered": "rendered scenes of people",
    "names": "Pool, Procedural, ",
    "argument": ", ratio=0",
    "what": "`size` real images, and `ratio` times as many rendered ones put with them as they are",
    "pool": "    pool = Pool(generator=Procedural(pixels={pixels}), seed=seed)\n"
    "    synthetic = (Subset(of=pool, size=ratio * size),) if ratio else ()\n",
    "synthetic": "synthetic=synthetic, ",
    "mixtures": "mixtures = (trial(size, seed, ratio) for size in {mixed} for ratio in {ratios} for seed in seeds)\n",
    "trials": "*ladder, *mixtures",
}
ALONE = {  # the renderer draws people only, in colour
    **dict.fromkeys(("names", "argument", "pool", "synthetic", "mixtures"), ""),
    **{
        "rendered": "synthetic images",
        "what": "`size` real images; the renderer draws people alone",
        "trials": "*ladder,",
    },
}


class ScaffoldError(ValueError):
    """A study that cannot be written; the message says why and what to type."""


def write_study(images: Path, out: Path, store: Store) -> str:
    """Import a folder of images, note where it is, write a study of it to ``out``, and return what to tell the user.

    Raises ScaffoldError if ``out`` exists or the images are too few, DatasetError if they cannot be used.
    """
    if out.exists():
        raise ScaffoldError(f"{out} exists, and it may hold your changes; give another file with --out")
    train, test = _import(images, store)
    facts = [import_dataset(dataset, store) for dataset in (train, test)]
    write = boxed_text if train.name in layouts.FORMATS else study_text
    text = write(images.resolve().name, out, train, facts[0], facts[1])
    try:
        write_whole(out, text)
    except OSError as error:
        raise explain(error, out.parent) from error
    return "\n".join(
        [
            *_found(images, train, facts[0], facts[1]),
            *_problems("train", facts[0]["problems"]),
            *_problems("test", facts[1]["problems"]),
            *([] if train.name in layouts.FORMATS else [_resolution(facts[1]["n"])]),
            f"Wrote {out}: {_size(studyfile.read(out).study)}.",
            f"Next: read it, then type  realfake run {out}{_where(store)}",
        ]
    )


def study_text(title: str, out: Path, train: Dataset, train_facts: dict[str, Any], test_facts: dict[str, Any]) -> str:
    """Return the text of a study sized to the images that were found."""
    n_train, classes = train_facts["n"], len(train_facts["classes"])
    mixed = mixed_sizes(n_train, classes)
    return TEMPLATE.format(
        title=_plain(title),
        command=_plain(out.as_posix()),
        classes=classes,
        n_train=n_train,
        n_test=test_facts["n"],
        pixels=train.pixels,
        examples_seen=min(100_000, max(20_000, math.ceil(2 * n_train / 10_000) * 10_000)),
        network=NETWORK,
        mixed=_tuple(mixed),
        ratios=RATIOS,
        **_common(out, train, ladder_sizes(n_train, mixed)),
    )


def boxed_text(title: str, out: Path, train: Dataset, train_facts: dict[str, Any], test_facts: dict[str, Any]) -> str:
    """Return the text of a study of images with boxes: a ladder, and rendered people put with them where they suit."""
    n_train, classes = train_facts["n"], train_facts["classes"]
    mixed = mixed_sizes(n_train, 1)
    parts = MERGED if (classes, train_facts["channels"]) == (["person"], 3) else ALONE
    shape = {"pixels": train.pixels, "mixed": _tuple(mixed), "ratios": BOXED_RATIOS}
    return BOXED_TEMPLATE.format(
        title=_plain(title),
        command=_plain(out.as_posix()),
        n_objects=train_facts["n_objects"] + test_facts["n_objects"],
        classes=_plain(classes[0]) if len(classes) == 1 else f"{len(classes)} classes",
        n_train=n_train,
        n_test=test_facts["n"],
        pixels=train.pixels,
        examples_seen=min(100_000, max(10_000, math.ceil(2 * n_train / 10_000) * 10_000)),
        **_common(out, train, ladder_sizes(n_train, mixed)),
        **{key: text.format(**shape) for key, text in parts.items()},
    )


def _common(out: Path, train: Dataset, ladder: tuple[int, ...]) -> dict[str, Any]:
    """Return what both kinds of study say of their data, seeds and name."""
    fields = [f'name="{train.name}"', f'fingerprint="{train.fingerprint}"', f"pixels={train.pixels}"]
    return {
        "note": "" if train.problems == "refuse" else "# What is wrong with these images is left out, and counted.\n",
        "dataset": ", ".join(fields + (['problems="skip"'] if train.problems == "skip" else [])),
        "seeds": SEEDS,
        "ladder": ladder,
        "name": re.sub(r"[^a-z0-9_-]+", "-", out.stem.lower()).strip("-_") or "study",
    }


def mixed_sizes(n_train: int, classes: int) -> tuple[int, ...]:
    """Return up to three real sizes, each twice the one before, the largest at most a quarter of the training images.

    A real-only ladder four times as long is what answers are read from. Raises ScaffoldError if even the largest has
    fewer images than there are classes.
    """
    quarter = n_train // 4
    if quarter < classes:
        raise ScaffoldError(
            f"there are {n_train} training images of {classes} classes: the sizes to compare go up to a quarter of "
            f"them, and one image of each class is the least; add images until there are {4 * classes} to train on"
        )
    step = 40 if quarter >= 40 else 4
    largest = max(min(LARGEST_MIXED, quarter) // step * step, classes)
    return tuple(sorted({size for size in (largest // 4, largest // 2, largest) if size >= classes}))


def ladder_sizes(n_train: int, mixed: tuple[int, ...]) -> tuple[int, ...]:
    """Return the mixed sizes, doublings of the largest, and all of the training images."""
    doublings = [mixed[-1] * 2**k for k in range(1, 64) if mixed[-1] * 2**k <= 0.75 * n_train]
    return (*mixed, *doublings, n_train)


def _import(images: Path, store: Store) -> tuple[Dataset, Dataset]:
    """Import both splits, leaving out what is wrong if there is anything, and return their specs, train first."""
    name = (layouts.format_of(images) if images.is_dir() else None) or source_name(images)
    mark, pixels = remember_location(store, images, name), BOXED_PIXELS if name in layouts.FORMATS else PIXELS
    ways: tuple[Literal["refuse", "skip"], ...] = ("refuse", "skip")
    for problems in ways:
        train, test = (
            Dataset(name=name, split=split, pixels=pixels, fingerprint=mark, problems=problems)
            for split in ("train", "test")
        )
        try:
            for dataset in (train, test):
                import_dataset(dataset, store, known_locations(store))
        except DatasetError:
            if problems == "skip":
                raise
        else:
            return train, test
    raise AssertionError("the last way returns or raises")


# ------------------------------------------------------------------------------------------------------ what to tell


def _found(images: Path, train: Dataset, facts: dict[str, Any], test: dict[str, Any]) -> list[str]:
    """Return what was found: a row a class, of images or of objects."""
    colours, side = "grey" if facts["channels"] == 1 else "colour", f"{train.pixels}×{train.pixels} pixels"
    rows = list(zip(facts["classes"], facts["counts"], test["counts"], strict=True))
    hidden = [f"  … and {len(rows) - CLASSES_SHOWN} more classes"] if len(rows) > CLASSES_SHOWN else []
    if train.name in layouts.FORMATS:
        title = f"{images} ({train.name}): {colours} images with boxes, fitted whole into {side}"
        shown = [("images", facts["n"], test["n"]), *((f"objects: {row[0]}", *row[1:]) for row in rows[:CLASSES_SHOWN])]
    else:
        title = f"{images}: {len(rows)} classes of {colours} images, seen at {side}"
        shown = [*rows[:CLASSES_SHOWN], ("all", facts["n"], test["n"])]
    wide = max(len(name) for name, *_ in shown)
    table = [f"  {name:{wide}}  {n_train:>7,}  {n_test:>7,}" for name, n_train, n_test in shown]
    return [title, f"  {'':{wide}}  {'train':>7}  {'test':>7}", *table, *hidden]


def _where(store: Store) -> str:
    return "" if store.root == Path("store").absolute() else f" --store {store.root}"


def _problems(split: str, problems: dict[str, Any]) -> list[str]:
    again = problems["repeated_in_split"]
    kept = [f"{split}: {again} of the images repeat another one, and are kept"] if again else []
    return [f"{split}, left out: {text}" for text in in_words(problems)] + kept


def _resolution(n_test: int) -> str:
    points = 100 * 1.96 * math.sqrt(0.2 * 0.8 / n_test)
    return f"{n_test:,} test images tell an error of 20 % to within ± {points:.1f} points; more of them tell more."


def _size(study: Study) -> str:
    held = order([study])
    kinds = Counter(spec.kind for spec in held)
    sizes: dict[Pool, int] = {}
    for spec in held:
        if isinstance(spec, Subset) and isinstance(spec.of, Pool):
            sizes[spec.of] = max(spec.size, sizes.get(spec.of, 0))
    made = f"{kinds['closedset']} generators, {sum(sizes.values()):,} synthetic images"
    return f"{kinds['trial']} trials, {made}"


def _plain(text: str) -> str:
    return re.sub(r'["\\\s]+', " ", text)


def _tuple(sizes: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, sizes))},)" if len(sizes) == 1 else str(sizes)
