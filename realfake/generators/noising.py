"""The forward process of latent diffusion as a pipeline's scheduler defines it: levels, targets, weights of time steps.

What is trained with it is in ``alignment_loop``; solvers that go back are those of diffusers.
"""

from dataclasses import dataclass
from typing import Any

import torch

from realfake.values import SpecError

PREDICTIONS = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Noised:
    """Latents ``clean`` z_0 and ``noise`` ε ``(n, c, h, w)`` at levels ``alpha`` a_t and ``sigma`` s_t (n, 1, 1, 1)."""

    clean: torch.Tensor
    noise: torch.Tensor
    alpha: torch.Tensor
    sigma: torch.Tensor

    @property
    def noisy(self) -> torch.Tensor:
        """Return z_t = a_t·z_0 + s_t·ε."""
        return self.alpha * self.clean + self.sigma * self.noise

    @property
    def snr(self) -> torch.Tensor:
        """Return the signal-to-noise ratio a_t² / s_t², ``(n,)``."""
        return (self.alpha / self.sigma).square().flatten()

    def target(self, prediction: str) -> torch.Tensor:
        """Return what the network should say: ε, or v = a_t·ε − s_t·z_0 (Salimans & Ho 2022)."""
        return self.noise if prediction == "epsilon" else self.alpha * self.noise - self.sigma * self.clean

    def noise_of(self, predicted: torch.Tensor, prediction: str) -> torch.Tensor:
        """Return the noise ε_θ that a prediction says."""
        return predicted if prediction == "epsilon" else self.sigma * self.noisy + self.alpha * predicted

    def clean_of(self, predicted_noise: torch.Tensor) -> torch.Tensor:
        """Return the latent ẑ_0 = (z_t − s_t·ε_θ) / a_t that a predicted noise says."""
        return (self.noisy - self.sigma * predicted_noise) / self.alpha


def noised(alphas_cumprod: torch.Tensor, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor) -> Noised:
    """Return latents ``(n, c, h, w)`` with noise at ``times`` (n,) of a scheduler's ``alphas_cumprod`` (T,)."""
    kept = alphas_cumprod[times].to(clean.dtype)[:, None, None, None]
    return Noised(clean, noise, kept.sqrt(), (1 - kept).sqrt())


def prediction_of(scheduler: Any) -> str:
    """Return what the pipeline's network predicts; raises SpecError when it is nothing that LoRA training knows."""
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise SpecError(
            f"the base predicts {prediction!r}, and adapters are trained for {' or '.join(PREDICTIONS)}; "
            "name a base whose scheduler_config.json says one of these"
        )
    return prediction


def loss_weights(snr: torch.Tensor, gamma: float | None, prediction: str) -> torch.Tensor:
    """Return Min-SNR weights ``(n,)``: min(SNR, γ) / SNR of ε, / (SNR + 1) of v (Hang et al. 2023); γ None: ones."""
    if gamma is None:
        return torch.ones_like(snr)
    return snr.clamp(max=gamma) / (snr if prediction == "epsilon" else snr + 1)


def latent_weights(snr: torch.Tensor, gamma: float | None) -> torch.Tensor:
    """Return weights ``(n,)`` in [0, 1] of denoised latents: min(SNR, γ) / γ, Min-SNR's own for ẑ_0; γ None: ones."""
    return torch.ones_like(snr) if gamma is None else snr.clamp(max=gamma) / gamma
