"""Captions of real images: those that came with the data set, or written by an image-to-text model such as BLIP.

A caption sees its image, so captioned images are real budget. How captions come into a data set is in ``datasets`` (and
``caption_files``), where they stand in a prompt in ``prompting``. Greedy decoding: the same caption every time.
"""

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from realfake.samples import Samples
from realfake.spec import Captions, External
from realfake.store import Store
from realfake.values import SpecError

FILE = "captions.parquet"
BATCH = 16  # images at a time; fixed, so that a caption is the same every time
NEW_TOKENS = 40  # a sentence; BLIP's own captions have about ten
Report = Callable[[dict[str, Any]], None]


def fit(
    spec: Captions,
    samples: Samples,
    folder: Path,
    report: Report,
    *,
    accelerator: Any,
    weights: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write ``captions.parquet`` (id, caption) of the samples into ``folder`` and return facts for the record.

    Facts: ``n_captions``, ``distinct_captions``, ``mean_words``, ``seconds``. Raises SpecError for images that came
    without captions where no model is given, and for a model that cannot be loaded.
    """
    started = time.monotonic()
    if spec.model is None:
        captions = _given(samples)
    else:
        captions = _written(spec.model, samples.images, report, accelerator.device, weights or {})
    if accelerator.is_main_process:
        pq.write_table(pa.table({"id": samples.ids, "caption": pa.array(captions, pa.string())}), folder / FILE)
    return {
        "n_captions": len(captions),
        "distinct_captions": len(set(captions)),
        "mean_words": float(np.mean([len(text.split()) for text in captions])),
        "seconds": time.monotonic() - started,
    }


def load(spec: Captions, store: Store) -> dict[int, str]:
    """Return the captions by the ids of their images; raises FileNotFoundError when they are not made."""
    table = pq.read_table(store.folder(spec) / FILE)
    return dict(zip(table["id"].to_pylist(), table["caption"].to_pylist(), strict=True))


def _given(samples: Samples) -> list[str]:
    if samples.captions is None:
        raise SpecError(
            "Captions: these images came without captions; give Captions(model=External(name=…)), or images with a "
            'column "caption" (Parquet) or a captions.csv, a metadata.jsonl or .txt files (folders)'
        )
    bare = [int(i) for i, text in zip(samples.ids, samples.captions, strict=True) if not text.strip()]
    if bare:
        raise SpecError(
            f"Captions: {len(bare)} of {len(samples)} images have none (the first is number {bare[0]}); write them, or "
            "give Captions(model=External(name=…))"
        )
    return list(samples.captions)


# ------------------------------------------------------------------------------------------------- written by a model


def _written(
    model: External, images: np.ndarray, report: Report, device: Any, weights: Mapping[str, Path]
) -> list[str]:
    captioner, processor = load_captioner(model, weights)
    captioner = captioner.to(device)
    captions: list[str] = []
    for first in range(0, len(images), BATCH):
        captions += written(captioner, processor, images[first : first + BATCH])
        report({"done": len(captions), "total": len(images), "unit": "captions"})
    return captions


@torch.inference_mode()
def written(captioner: Any, processor: Any, images: np.ndarray) -> list[str]:
    """Return one caption for each of the images ``(n, h, w, c)`` uint8."""
    colour = list(images.repeat(3 // images.shape[3], axis=3))
    inputs = processor(images=colour, return_tensors="pt", input_data_format="channels_last").to(captioner.device)
    found = captioner.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=NEW_TOKENS)
    return [" ".join(text.split()) for text in processor.batch_decode(found, skip_special_tokens=True)]


def load_captioner(model: External, weights: Mapping[str, Path]) -> tuple[Any, Any]:
    """Return a captioning model and its processor, from the folder that ``weights`` says, else by hub id.

    BLIP (Li et al. 2022) by its own class, others by what transformers calls image-text-to-text. Raises SpecError when
    there is none, and says where it belongs.
    """
    if importlib.util.find_spec("transformers") is None:
        raise SpecError("Captions(model=…) needs transformers; type: uv sync --extra openset")
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, BlipForConditionalGeneration

    place = str(weights.get(model.name) or model.name)
    try:
        blip = AutoConfig.from_pretrained(place).model_type == "blip"
        kind: Any = BlipForConditionalGeneration if blip else AutoModelForImageTextToText
        processor: Any = AutoProcessor.from_pretrained(place)
        return kind.from_pretrained(place).eval().requires_grad_(False), processor
    except (OSError, ValueError) as error:
        raise SpecError(
            f"Captions.model {model.name!r} cannot be loaded from {place} ({str(error).splitlines()[0]}); fetch it "
            "where there is a network (hf download Salesforce/blip-image-captioning-base --local-dir DIR) and name DIR "
            "in the --on file"
        ) from error
