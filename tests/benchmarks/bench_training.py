"""How much slower is our training loop than one written by hand? Examples a second, ours ÷ bare, in the same process.

    OMP_NUM_THREADS=1 uv run python -m tests.benchmarks.bench_training

Both train the same network on the same images in the same batches with the same optimizer, turn by turn; the best of
three turns counts, so that another process on the machine does not. Evaluation and start-up are outside both.
"""

import tempfile
import time

import torch
from torch.nn import functional

from realfake import samples, training
from realfake.spec import Recipe
from tests import tiny

TURNS = 3


def ours(store, recipe, turn):
    """Return examples a second of a trial made by realfake."""
    trial = tiny.trial(real=tiny.real(300), recipe=recipe, seed=turn)
    return training.make(trial, store, lambda event: None, tiny.CPU)["examples_per_second"]


def bare(store, recipe):
    """Return examples a second of the loop that one would write by hand."""
    import timm

    data = samples.load(store, tiny.real(300))
    model = timm.create_model(recipe.model, num_classes=10, in_chans=1)
    images, labels = torch.from_numpy(data.images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(data.labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.05, fused=True)
    steps = recipe.examples_seen // recipe.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    started = time.perf_counter()
    rows = torch.cat([torch.randperm(len(labels)) for _ in range(recipe.examples_seen // len(labels) + 1)])
    for chosen in rows[: recipe.examples_seen].split(recipe.batch_size):
        loss = functional.cross_entropy(model((images[chosen].float() / 255 - 0.5) / 0.5), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return recipe.examples_seen / (time.perf_counter() - started)


def main():
    """Print one line a network and batch size."""
    torch.set_num_threads(1)
    for model, batch_size in (("test_resnet", 64), ("test_resnet", 256), ("resnet10t", 64)):
        examples = 64 * 16 if model == "resnet10t" else 64 * 128
        plain, shifted = (
            Recipe(model=model, examples_seen=examples, batch_size=batch_size, augment=augment)
            for augment in ("none", "shift")
        )
        with tempfile.TemporaryDirectory() as folder:
            store = tiny.import_digits(folder)
            rates = [(ours(store, plain, i), bare(store, plain), ours(store, shifted, i)) for i in range(TURNS)]
        best, by_hand, with_shifts = (max(of_kind) for of_kind in zip(*rates, strict=True))
        print(
            f"{model}, 8 px, batches of {batch_size}: ours {best:.0f} examples/s ÷ bare {by_hand:.0f} = "
            f"{best / by_hand:.2f} (with random shifts {with_shifts / by_hand:.2f})"
        )


if __name__ == "__main__":
    main()
