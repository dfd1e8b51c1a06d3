"""Low-rank adapters that align a pretrained pipeline to one real subset (Hu et al. 2021): fit, files, attach.

The door to ``adapters`` (files in diffusers' format, and how a pipeline draws with them), ``alignment_material`` (what
a step draws) and ``alignment_loop`` (the steps). With ``scope="class"`` there is an adapter for each class, in a folder
of its own; the steps are shared out among them, so that one adapter and many cost the same.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import accelerate
import numpy as np

from realfake.generators.adapters import WEIGHTS, initialise, needs_peft, new_student, write
from realfake.generators.adapters import attach as attach
from realfake.generators.adapters import part_folder as part_folder
from realfake.generators.alignment_loop import Run, align
from realfake.generators.alignment_material import Part, gather, rows_of
from realfake.generators.fitting import Progress, check_accelerator, final_loss, read_state, write_history
from realfake.generators.noising import prediction_of
from realfake.generators.pipelines import load_pipeline, memory_explained
from realfake.generators.pseudoword import FILE as WORD
from realfake.generators.visual import PROJECTION
from realfake.kinds import Lora
from realfake.samples import Samples, seed_of
from realfake.store import Store, write_whole
from realfake.values import SpecError

SEEN = "seen.json"


def fit(
    spec: Lora,
    samples: Samples,
    folder: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    checkpoint: Path | None = None,
    accelerator: accelerate.Accelerator,
    store: Store | None = None,
    weights: Mapping[str, Path] | None = None,
    captions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Train the adapters of ``spec`` on ``samples``; write them, ``history.jsonl`` and ``seen.json`` into ``folder``.

    All randomness comes from the spec's seed and the step number, so a fit that resumes from ``checkpoint`` ends with
    the same bits as one that was never disturbed. Of several processes each takes its share of every batch, and only
    the main one writes and reports. ``captions``: one a sample. ``seen.json``: how often each real image was drawn.

    Returns ``n_generator``, ``images_seen`` (how many were drawn at all), ``parameters`` (trained, of one adapter),
    ``adapters``, ``final_loss`` (mean over the last tenth, without the matching term) and ``seconds``. Raises
    Diverged, OutOfMemory, SpecError when spec, base and images do not fit, and ValueError for an accelerator of another
    precision.
    """
    started = time.monotonic()
    needs_peft()
    parts = parts_of(spec, samples)
    check_accelerator(spec, accelerator)
    pipeline = load_pipeline(spec.base, store, weights, accelerator.device)
    prediction_of(pipeline.scheduler)
    with memory_explained(f"aligning {spec.batch_size} images at once", "Lora.batch_size (it is another adapter then)"):
        material = gather(spec, pipeline, samples, weights or {}, captions)
        width = 0 if material.embeddings is None else material.embeddings.shape[1]
        student = new_student(spec, pipeline, width)
        progress = Progress()
        if state := read_state(checkpoint):
            progress.resume(state)
        model = accelerator.prepare(student)
        run = Run(spec, pipeline, student, model, material, report, checkpoint, accelerator)
        place = checkpoint or folder
        for part in parts[state["part"] if state else 0 :]:
            initialise(student, seed_of("lora", "weights", spec.seed, part.number))
            align(run, part, progress, state)
            state = None
            if accelerator.is_main_process:
                write(part_folder(place, spec, part.number), spec, student)
    if accelerator.is_main_process:
        _finish(spec, samples, parts, progress, place, folder)
    return {
        "n_generator": len(samples),
        "images_seen": len(seen(spec, samples, parts)),
        "parameters": sum(weight.numel() for weight in student.parameters() if weight.requires_grad),
        "adapters": len(parts),
        "final_loss": final_loss(progress.history),
        "seconds": time.monotonic() - started,
    }


# --------------------------------------------------------------------------------------------------- what is trained on


def parts_of(spec: Lora, samples: Samples) -> list[Part]:
    """Return the adapters to train: one for all images, or one a class with its share of the steps.

    Raises SpecError when there is no image, or none of a class, or there are fewer steps than classes.
    """
    if not len(samples):
        raise SpecError("Lora.real is empty; give a larger subset")
    if spec.scope == "data set":
        return [Part(0, np.arange(len(samples)), 0, spec.steps)]
    counts = np.bincount(samples.labels, minlength=len(samples.classes))
    if not counts.all():
        empty = samples.classes[int(np.argmin(counts))]
        raise SpecError(f'Lora(scope="class"): class {empty!r} has no image to learn from; give a larger subset')
    if spec.steps < len(counts):
        raise SpecError(f"Lora.steps={spec.steps} cannot be shared out among {len(counts)} classes; give more steps")
    ends = [spec.steps * number // len(counts) for number in range(len(counts) + 1)]
    return [Part(c, np.flatnonzero(samples.labels == c), ends[c], ends[c + 1]) for c in range(len(counts))]


def seen(spec: Lora, samples: Samples, parts: Sequence[Part]) -> dict[int, int]:
    """Return how often each real image, by its id, was drawn in the whole fit."""
    times: Counter[int] = Counter()
    for part in parts:
        for step in range(part.first, part.last):
            times.update(samples.ids[rows_of(spec, part, step)].tolist())
    return dict(sorted(times.items()))


# --------------------------------------------------------------------------------------------------------------- files


def _finish(spec: Lora, samples: Samples, parts: Sequence[Part], progress: Progress, place: Path, folder: Path) -> None:
    """Write what is true of the whole fit, and bring the adapters to the folder where they belong."""
    if place != folder:
        for part in parts:
            source, target = part_folder(place, spec, part.number), part_folder(folder, spec, part.number)
            target.mkdir(parents=True, exist_ok=True)
            for name in (WEIGHTS, PROJECTION, WORD):
                if (source / name).is_file():
                    shutil.copyfile(source / name, target / name)
    write_history(folder, progress.history)
    write_whole(folder / SEEN, json.dumps({str(id_): times for id_, times in seen(spec, samples, parts).items()}))
