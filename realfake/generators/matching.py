"""Distribution matching: how far the mean of what is predicted lies from the mean of what should be (Real-Fake's MMD).

``realfake.alignment.Matching`` holds the settings; the loop that adds this term to the diffusion loss is in
``alignment_loop``. The identities behind it (arXiv 2310.10402 as released; SNR_t = a_t² / s_t²):
ε_θ − ε = −√SNR_t·(ẑ_0 − z_0), so means of noise are means of latents, and for weights in [0, 1]
‖mean w(ε_θ − ε)‖² ≤ mean w‖ε_θ − ε‖²: the diffusion loss bounds the linear term of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from realfake.alignment import Matching
from realfake.generators.noising import Noised, latent_weights, loss_weights
from realfake.generators.solving import unscaled

Gather = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Points:
    """What is compared: ``predicted`` and ``target`` (n, …) of the same images, and the ``weights`` (n,) of both."""

    predicted: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor


def matching_loss(
    predicted: torch.Tensor,
    target: torch.Tensor,
    weights: torch.Tensor,
    labels: torch.Tensor,
    matching: Matching,
    gather: Gather | None = None,
) -> torch.Tensor:
    """Return ``matching.weight`` times the distance of predicted and target points ``(n, …)``, a scalar.

    Linear, as released with ``reduction="sum"``: ‖Σ w x − Σ w y‖² / d; "mean" divides by n². RBF: Gretton et al. 2012,
    equation 4, the estimator for pairs, with the median distance as σ (so it is 0 where every prediction is exact, and
    may be negative elsewhere). ``scope="class"``: within each class; "mean" then weighs classes by their number of
    images, "sum" adds n_c² times the mean form; one image alone has no pairs and adds nothing under RBF.
    ``gather`` makes of a worker's rows the rows of all workers (``gathered``). ``weights`` and ``labels``: ``(n,)``.
    """
    if not matching.weight:
        return predicted.new_zeros((), dtype=torch.float32)
    parts = [predicted.flatten(1).float(), target.flatten(1).float(), weights.float(), labels]
    x, y, w, label = parts if gather is None else [gather(part) for part in parts]
    by_class = matching.scope == "class"
    groups: list[Any] = [(label == one).nonzero()[:, 0] for one in label.unique()] if by_class else [slice(None)]
    sigma = median_distance(torch.cat([x, y]).detach()) if matching.kernel == "rbf" else None
    total = x.new_zeros(())
    for rows in groups:
        n = len(label[rows])
        between = linear(x[rows], y[rows], w[rows]) if sigma is None else rbf(x[rows], y[rows], w[rows], sigma)
        total = total + between * (n**2 if matching.reduction == "sum" else n / len(label))
    return matching.weight * total


def linear(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Return ‖mean w x − mean w y‖² / d of points ``(n, d)``: MMD² with the kernel ⟨x, y⟩ / d."""
    return (w[:, None] * (x - y)).mean(0).square().mean()


def rbf(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, sigma: torch.Tensor | float) -> torch.Tensor:
    """Return the unbiased MMD² of pairs (x_i, y_i), ``(n, d)``, with the kernel exp(−‖x − y‖² / 2σ²).

    The mean over i ≠ j of w_i w_j (k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(x_j, y_i)): a pair's own k(x_i, y_i) is
    left out, since a prediction depends on its target. 0 when there is one pair only.
    """
    n = len(x)
    if n < 2:
        return x.sum() * 0
    kernel = torch.exp(-_squared_distances(torch.cat([x, y])) / (2 * sigma**2))
    crossed = kernel[:n, n:]
    h = kernel[:n, :n] + kernel[n:, n:] - crossed - crossed.T
    others = 1 - torch.eye(n, device=x.device)
    return (h * others * w[:, None] * w[None, :]).sum() / (n * (n - 1))


def median_distance(points: torch.Tensor) -> torch.Tensor:
    """Return the median Euclidean distance of all pairs of points ``(n, d)``; 1 if most of them are equal."""
    distances = torch.pdist(points)
    median = distances.quantile(0.5) if len(distances) else distances.sum()
    return torch.where(median > 0, median, torch.ones_like(median))


def gathered(accelerator: Any) -> Gather:
    """Return what joins the rows of all workers in the order of the whole batch, with gradients to the worker's own.

    Workers hold every P-th row. Other workers' rows come without gradients, which their own workers provide, and own
    gradients are P times as large, since the average over workers that follows divides by P. So the gradient is that
    of one worker with the whole batch.
    """
    workers, own = accelerator.num_processes, accelerator.process_index

    def gather(rows: torch.Tensor) -> torch.Tensor:
        if workers == 1:
            return rows
        parts = list(accelerator.gather(rows.detach().contiguous()).chunk(workers))
        if rows.requires_grad:
            rows = rows.view_as(rows)
            rows.register_hook(lambda gradient: gradient * workers)
        parts[own] = rows
        return torch.stack(parts, 1).flatten(0, 1)

    return gather


# -------------------------------------------------------------------------------------------------------------- spaces


def points(
    matching: Matching, noise: torch.Tensor, truth: Noised, gamma: float | None, to_features: Gather | None = None
) -> Points:
    """Return what is compared in ``matching.space``, of predicted noise ε_θ ``(n, c, h, w)`` and what was noised.

    "noise": ε_θ and ε under min(SNR, γ) / SNR; "latent": ẑ_0 and z_0 under min(SNR, γ) / γ; "feature": of both through
    ``to_features``. (ẑ_0 under min(SNR, γ) / √SNR would be the noise again.) γ None: all weights are 1.
    """
    if matching.space == "noise":
        return Points(noise, truth.noise, loss_weights(truth.snr, gamma, "epsilon"))
    latents, weights = truth.clean_of(noise), latent_weights(truth.snr, gamma)
    if matching.space == "latent":
        return Points(latents, truth.clean, weights)
    if to_features is None:
        raise ValueError('space="feature" needs to_features; give features_of(pipeline)')
    with torch.no_grad():
        target = to_features(truth.clean)
    return Points(to_features(latents), target, weights)


def features_of(pipeline: Any) -> Gather:
    """Return what turns latents ``(n, c, h, w)`` into embeddings ``(n, d)`` of the base's image encoder.

    Latents are decoded, resized (bicubic, antialiased, to the encoder's square), normalised and encoded, all with
    gradients. Cost of a step: two decodes and two encodings forward, and one of each backward, beside the UNet's one;
    and the decoder's activations at full size are kept for the gradient (``bench_lora`` counts the arithmetic).
    """
    vae, encoder, extractor = pipeline.vae, pipeline.image_encoder, pipeline.feature_extractor
    side = encoder.config.image_size

    def to_features(latents: torch.Tensor) -> torch.Tensor:
        pixels = vae.decode(unscaled(vae, latents.to(vae.dtype))).sample.float()
        sized = functional.interpolate(pixels, (side, side), mode="bicubic", antialias=True)
        mean, std = (
            torch.tensor(part, device=sized.device)[:, None, None]
            for part in (extractor.image_mean, extractor.image_std)
        )
        colours = sized.clamp(-1, 1) / 2 + 0.5
        return encoder(((colours - mean) / std).to(encoder.dtype)).image_embeds.float()

    return to_features


def _squared_distances(points: torch.Tensor) -> torch.Tensor:
    """Return ‖p_i − p_j‖² ``(n, n)`` from products, so that the gradient is finite where points coincide."""
    squares = points.square().sum(1)
    return (squares[:, None] + squares[None, :] - 2 * points @ points.T).clamp(min=0)
