"""What a text-to-image pipeline is asked for: prompts of images, and the states of its text encoder for them.

A prompt depends on the image's label, its index and its caption alone. Which prompts a study asks for is
``alignment.Prompts``; captions are written by ``captioning``; embeddings of images beside the words are in ``visual``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from realfake.alignment import Prompts
from realfake.generators import xl
from realfake.values import SpecError

CACHE_BYTES = 1 << 30  # of text states; the oldest go first


def texts(
    prompts: Prompts,
    classes: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    indices: Sequence[int] | np.ndarray,
    captions: Sequence[str] | None = None,
) -> list[str]:
    """Return the prompt of each of n images with these labels, indices and captions: one template after another.

    Image i has the template ``indices[i]`` modulo their number. {} is the name of its class (underscores become
    spaces), {caption} its caption, which otherwise stands at the end after a comma. Raises SpecError for a class
    without a name, names of another number than classes, and captions that are missing or too many.
    """
    names = class_names(prompts, classes)
    if len(labels) != len(indices):
        raise ValueError(f"{len(labels)} labels and {len(indices)} indices; give each image both")
    if captions is not None and len(captions) != len(labels):
        raise SpecError(f"{len(captions)} captions for {len(labels)} images; give Captions(of=…) of the same images")
    templates = [prompts.templates[int(i) % len(prompts.templates)] for i in indices]
    worded: Sequence[str | None] = captions if captions is not None else [None] * len(templates)
    return [_text(*parts) for parts in zip(templates, [names[int(k)] for k in labels], worded, strict=True)]


def class_names(prompts: Prompts, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each class in prompts. Raises SpecError when they are of another number, or one is empty."""
    names = tuple(name.replace("_", " ").strip() for name in (prompts.names or classes))
    if len(names) != len(classes):
        raise SpecError(
            f"Prompts.names: {len(names)} names for {len(classes)} classes ({', '.join(classes)}); give one for each, "
            "in their order"
        )
    if nameless := [str(label) for label, name in enumerate(names) if not name]:
        raise SpecError(f"Prompts: class {nameless[0]} has no name to ask for; give Prompts(names=(…))")
    return names


def captions_of(captions: Mapping[int, str], ids: Sequence[int] | np.ndarray) -> list[str]:
    """Return the captions of these images, in their order. Raises SpecError for an image that has none."""
    lost = [int(i) for i in ids if int(i) not in captions]
    if lost:
        raise SpecError(
            f"{len(lost)} of {len(ids)} images have no caption, as the one with id {lost[0]}; these are captions of "
            "other images: give Captions(of=…) of the same subset, or a larger one"
        )
    return [captions[int(i)] for i in ids]


def _text(template: str, name: str, caption: str | None) -> str:
    if caption is None and "{caption}" in template:
        raise SpecError(f"Prompts.templates: {template!r} has {{caption}}; give Prompts(captions=Captions(of=…))")
    words = {"{}": name, "{caption}": (caption or "").strip()}
    if words["{caption}"] and "{caption}" not in template:
        template += ", {caption}"
    return re.sub(r"\{\}|\{caption\}", lambda place: words[place[0]], template)


class TextStates:
    """The states of a pipeline's text encoders, computed once for each distinct text.

    They are those that the ``encode_prompt`` of diffusers' pipelines computes, for prompts filled or cut to the
    encoder's length: the last hidden layer after its norm; in XL the last but one of both encoders, and a pooled state
    beside them. Texts are encoded one by one, so that the states of one have the same bits whatever is asked beside it.
    Only for encoders whose weights stay as they are.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline, self.encoder = pipeline, pipeline.text_encoder
        self.length = pipeline.tokenizer.model_max_length
        self.cut: set[str] = set()  # texts that were too long
        self._held: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """Return the states ``(n, length, width)`` of n texts, on the device of the encoder; length is 77 for CLIP."""
        return self.both(texts)[0]

    def both(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the states of n texts, and in XL their pooled states ``(n, p)``."""
        for text in dict.fromkeys(texts):
            if text not in self._held:
                self._held[text] = self._encoded(text)
        found = [self._held[text] for text in texts]
        pooled = [pool for _, pool in found if pool is not None]
        self._forget()
        return torch.stack([states for states, _ in found]), torch.stack(pooled) if pooled else None

    def null(self, negative: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the same of the negative prompt, one row: zeros where it is empty and an XL was trained with them."""
        states, pooled = self.both([negative])
        if not negative and pooled is not None and self.pipeline.config.force_zeros_for_empty_prompt:
            return torch.zeros_like(states), torch.zeros_like(pooled)
        return states, pooled

    @torch.no_grad()
    def _encoded(self, text: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        if len(self.pipeline.tokenizer(text)["input_ids"]) > self.length:
            self.cut.add(text)
        ids = ids_of(self.pipeline, [text]).to(self.encoder.device)
        if not xl.is_xl(self.pipeline):
            return self.encoder(ids)[0][0], None
        states, pooled = xl.encoded(self.encoder, self.pipeline.text_encoder_2, ids)
        return states[0], pooled[0]

    def _forget(self) -> None:
        size = next(iter(self._held.values()))[0].nbytes if self._held else 1
        while len(self._held) > max(1, CACHE_BYTES // size):
            del self._held[next(iter(self._held))]


def ids_of(pipeline: Any, texts: Sequence[str]) -> torch.Tensor:
    """Return the token ids ``(n, length)`` of texts, of an XL ``(n, 2, length)``: of both its tokenizers."""
    if not xl.is_xl(pipeline):
        return tokenized(pipeline.tokenizer, texts)
    return torch.stack([tokenized(part, texts) for part in (pipeline.tokenizer, pipeline.tokenizer_2)], dim=1)


def tokenized(tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Return the token ids ``(n, length)`` of texts, filled up and cut as Stable Diffusion's pipelines do."""
    options = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
    return tokenizer(list(texts), return_tensors="pt", **options).input_ids
