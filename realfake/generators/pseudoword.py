"""A word that is learned: one new token's embedding (textual inversion, Gal et al. 2022, arXiv 2208.01618).

It stands beside the vocabulary, so that no other word's embedding can change. Which loss trains it is in
``alignment_loop``; adapters, which may be trained with it, are in ``adapters``.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from realfake.values import SpecError

FILE = "learned_embeds.safetensors"  # the word and its embedding, as diffusers' load_textual_inversion reads it
ROW = "pseudoword"  # how the name of the weight ends


class Pseudoword(torch.nn.Module):
    """The embeddings of a text encoder with one more word, ``number``, which has a weight of its own."""

    def __init__(self, embedding: torch.nn.Embedding, number: int) -> None:
        super().__init__()
        self.embedding, self.number = embedding, number
        self.pseudoword = torch.nn.Parameter(torch.zeros_like(embedding.weight[0]).float())
        self.restart()

    def restart(self) -> None:
        """Begin at the mean of all words: a miniature knows no word such as "painting", where the paper begins."""
        with torch.no_grad():
            self.pseudoword.copy_(self.embedding.weight.float().mean(0))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings ``(b, t, d)`` of token ids ``(b, t)``."""
        own = ids == self.number
        others = self.embedding(ids.masked_fill(own, 0))
        return torch.where(own[..., None], self.pseudoword.to(others.dtype), others)


def teach(pipeline: Any, word: str) -> Pseudoword:
    """Return the word's place in a pipeline's tokenizer and text encoder, new if it has none there yet.

    Raises SpecError when it is a word of the base.
    """
    held: Any = pipeline.text_encoder.get_input_embeddings()
    if pipeline.tokenizer.convert_tokens_to_ids(word) == getattr(held, "number", None):
        return held
    if {word, f"{word}</w>"} & pipeline.tokenizer.get_vocab().keys():  # CLIP marks where a word ends
        raise SpecError(f'Lora.token: {word!r} is a word of the base already; choose another, such as "<style>"')
    pipeline.tokenizer.add_tokens(word)
    made = Pseudoword(held, pipeline.tokenizer.convert_tokens_to_ids(word)).to(pipeline.text_encoder.device)
    pipeline.text_encoder.set_input_embeddings(made)
    return made


def write(folder: Path, word: str, encoder: Any) -> None:
    """Write what a text encoder has learned of the word."""
    save_file({word: encoder.get_input_embeddings().pseudoword.detach().cpu().clone()}, folder / FILE)


def recall(pipeline: Any, word: str, folder: Path) -> None:
    """Let a pipeline understand the word as it was learned; raises FileNotFoundError when it was not."""
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder / FILE} is not there; run the study that holds this Lora")
    made, learned = teach(pipeline, word), load_file(folder / FILE)[word]
    if learned.shape != made.pseudoword.shape:
        raise SpecError(
            f"{folder / FILE}: an embedding of {len(learned)} numbers, and this pipeline's words have "
            f"{len(made.pseudoword)}; attach it to the base that it was trained for"
        )
    made.pseudoword.requires_grad_(False).copy_(learned)
