"""Best of k: each sample is the best of k candidates of its own, so that a prefix of the pool stays a prefix.

Candidate j of a sample has the seed that the sample's seed and j give, and everything else of it: label, index, parent.
A critic gives each a score; the first of equals is kept. It costs k images for one kept, and the real images that the
critic has seen are real budget (``spec.real_budget``). How candidates are made is in the generator's own module.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from realfake.alignment import Prompts
from realfake.generators import Drawn, realism
from realfake.samples import Samples, load_dataset, seed_of
from realfake.samples import load as load_samples
from realfake.spec import (
    BestOf,
    ClosedSet,
    External,
    Gan,
    OpenSet,
    Pool,
    Pretrained,
    Trial,
    address,
    external_budget,
    real_of,
)
from realfake.store import Store, StoreError
from realfake.values import SpecError

TIE = 1e-4  # scores nearer than that are equal: how sums round in a batch must not choose an image
Score = Callable[[np.ndarray, np.ndarray, list[str]], np.ndarray]  # images, labels, prompts -> (n,), larger is better
Candidates = Callable[[Any, Any, Any], np.ndarray]  # labels, seeds, indices -> images (n, h, w, c)


@dataclass(frozen=True)
class Loaded:
    """The loaded generator of the candidates, its class names, and the critic's score."""

    generator: BestOf
    inner: Any
    classes: tuple[str, ...]
    score: Score


def load(
    generator: BestOf,
    store: Store,
    device: torch.device | str,
    weights: Mapping[str, Path],
    inner: Any,
) -> Loaded:
    """Return the filter around ``inner``, the loaded generator of its candidates.

    Raises SpecError when the critic judges other classes, and StoreError when it is not made or diverged.
    """
    classes = _classes(generator.generator, store)
    if isinstance(generator.critic, Trial):
        judged = _realism if generator.by == "realism score" else _classifier
        return Loaded(generator, inner, classes, judged(generator.critic, classes, store, device, weights))
    return Loaded(generator, inner, classes, _clip(generator.critic, store, device, weights))


def draw(
    loaded: Loaded,
    pool: Pool,
    labels: Sequence[int] | np.ndarray,
    seeds: Sequence[int],
    indices: Sequence[int] | np.ndarray,
    candidates: Candidates,
) -> Drawn:
    """Return the best image ``(h, w, c)`` uint8 of k of each sample; ``candidates(labels, seeds, indices)`` draws."""
    labels, indices = np.asarray(labels, np.int64), np.asarray(indices, np.int64)
    texts = _texts(loaded, pool, labels, indices)
    kept = np.zeros(0, np.uint8)
    best = np.full(len(labels), -np.inf)
    for j in range(loaded.generator.k):
        images = candidates(labels, candidate_seeds(seeds, j), indices)
        score = np.nan_to_num(loaded.score(images, labels, texts), nan=-np.inf)
        better = score > best + TIE if j else np.ones(len(labels), bool)
        kept = np.where(better[:, None, None, None], images, kept) if j else images
        best = np.where(better, score, best)
    return Drawn(kept)


def candidate_seeds(seeds: Sequence[int], j: int) -> list[int]:
    """Return the seeds of candidate ``j`` of the samples with these seeds."""
    return [seed_of("candidate", int(seed), j) for seed in seeds]


def facts(generator: BestOf, store: Store) -> dict[str, Any]:
    """Return what a record states: by what is chosen, how many candidates are made for one image, and how many real
    images the critic has seen, which leak into the choice.

    A critic that is no trial has seen none of them: its images are external budget, None where they are not known.
    """
    told = {"candidates_per_kept": generator.k, "chosen_by": generator.by, "critic": address(generator.critic)}
    if isinstance(generator.critic, Trial):
        seen = (store.record(generator.critic) or {"result": {}})["result"].get("real_budget")
    else:
        seen = 0
    return {**told, "critic_real_budget": seen, "critic_external_budget": external_budget(generator.critic)}


def _classes(generator: ClosedSet | Gan | OpenSet, store: Store) -> tuple[str, ...]:
    subset = real_of(generator)
    if subset is None:
        assert isinstance(generator, OpenSet)
        assert generator.like is not None
        return load_dataset(store, generator.like).classes
    return load_dataset(store, subset.of).classes  # type: ignore[arg-type]


def _texts(loaded: Loaded, pool: Pool, labels: np.ndarray, indices: np.ndarray) -> list[str]:
    """Return the prompts that CLIP scores compare with: those of the pipeline, or the plain ones of the classes."""
    from realfake.generators import open_set, prompting

    if isinstance(loaded.generator.critic, Trial):
        return []
    if isinstance(loaded.inner, open_set.Loaded):
        return open_set.prompts_of(loaded.inner, pool, labels, indices)
    return prompting.texts(Prompts(), loaded.classes, labels, indices, None)


# ---------------------------------------------------------------------------------------------------------- classifiers


def _classifier(
    critic: Trial, classes: tuple[str, ...], store: Store, device: Any, weights: Mapping[str, Path]
) -> Score:
    """Return the probability that a trained classifier gives the asked class, in fp32."""
    from safetensors.torch import load_file

    from realfake.tasks.classification import Images
    from realfake.tasks.models import build_model

    height, width, channels = _seen_by(critic, classes, store)
    model = build_model(critic.recipe, len(classes), channels, height, weights)
    model.load_state_dict(load_file(store.folder(critic) / "model.safetensors"))
    model = model.to(device).eval()

    @torch.inference_mode()
    def score(images: np.ndarray, labels: np.ndarray, texts: list[str]) -> np.ndarray:
        _refuse_other(images, (height, width, channels))
        seen = Images.on(torch.device(device), Samples(images, labels, labels, classes), model, False)
        probabilities = model(seen.plain(0, len(seen))).float().softmax(dim=1).cpu().numpy()
        return probabilities[np.arange(len(labels)), labels]

    return score


def _realism(critic: Trial, classes: tuple[str, ...], store: Store, device: Any, weights: Mapping[str, Path]) -> Score:
    """Return how near an image lies to the real ones of a trial, in its own features (see ``realism``)."""
    from realfake.tasks.feature_networks import trial_network

    assert critic.real is not None  # the spec has seen to it
    shape = _seen_by(critic, classes, store)
    look = trial_network(critic, shape, store, weights=weights, device=device)
    around = realism.neighbourhoods(look(load_samples(store, critic.real).images)[0])

    def score(images: np.ndarray, labels: np.ndarray, texts: list[str]) -> np.ndarray:
        _refuse_other(images, shape)
        return realism.realism(around, look(images)[0])

    return score


def _refuse_other(images: np.ndarray, shape: tuple[int, ...]) -> None:
    if images.shape[1:] != shape:
        raise SpecError(
            f"BestOf.critic was tested on images of {shape} (height, width, channels), and these are "
            f"{images.shape[1:]}; give a critic of the same Dataset, or Dataset(pixels={shape[0]})"
        )


def _seen_by(critic: Trial, classes: tuple[str, ...], store: Store) -> tuple[int, ...]:
    """Return (height, width, channels) of the images that a classifier looks at."""
    record = store.record(critic)
    if record is None or record["result"].get("status", "ok") != "ok":
        why = "is not made" if record is None else "diverged, and knows no class"
        raise StoreError(f"BestOf.critic {address(critic)} {why}; run its study, or give another critic")
    test = load_dataset(store, critic.test)
    if test.classes != classes:
        raise SpecError(
            f"BestOf.critic tells {', '.join(test.classes)} apart, and the generator makes {', '.join(classes)}; give "
            "a critic of the same classes in the same order"
        )
    return test.images.shape[1:]


# ---------------------------------------------------------------------------------------------------------- CLIP scores


def cosine(images: torch.Tensor, texts: torch.Tensor) -> np.ndarray:
    """Return the cosine ``(n,)`` of embeddings ``(n, d)`` row by row: no temperature, no softmax (2104.08718)."""
    return torch.nn.functional.cosine_similarity(images.float(), texts.float(), dim=1).cpu().numpy()


def _clip(critic: Pretrained | External, store: Store, device: Any, weights: Mapping[str, Path]) -> Score:
    """Return the cosine in a CLIP model: that which was trained with a pipeline of ours, a folder, or a hub id."""
    model, tokenizer, processor = _open_clip(critic, store, weights)
    model = model.to(device).eval().requires_grad_(False)
    words = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}

    @torch.inference_mode()
    def score(images: np.ndarray, labels: np.ndarray, texts: list[str]) -> np.ndarray:
        colour = list(images.repeat(3 // images.shape[3], axis=3))
        pixels = processor(images=colour, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        length = model.config.text_config.max_position_embeddings
        tokens = tokenizer(texts, max_length=length, **words)
        asked = {"input_ids": tokens.input_ids.to(device), "attention_mask": tokens.attention_mask.to(device)}
        found = model(**asked, pixel_values=pixels.to(device))
        return cosine(found.image_embeds, found.text_embeds)

    return score


def _open_clip(critic: Pretrained | External, store: Store, weights: Mapping[str, Path]) -> tuple[Any, Any, Any]:
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    from realfake.generators.miniature import CLIP_FOLDER

    if isinstance(critic, Pretrained):
        place = str(store.folder(critic) / CLIP_FOLDER)
    else:
        place = str(weights.get(critic.name) or critic.name)
    try:
        parts = CLIPModel, AutoTokenizer, CLIPImageProcessor
        model, tokenizer, processor = (part.from_pretrained(place) for part in parts)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"BestOf.critic: no CLIP model can be loaded from {place} ({str(error).splitlines()[0]}); give one in "
            'transformers\' format such as External(name="openai/clip-vit-base-patch32") and name its folder in the '
            "--on file"
        ) from error
    return model, tokenizer, processor
