"""The denoising loop of a latent diffusion pipeline: one seed an image, any of diffusers' solvers, guidance batched.

The same arithmetic as diffusers' ``StableDiffusionPipeline``, ``StableDiffusionXLPipeline`` and their image-to-image
pipelines, on tensors: tests compare them. Which prompts, tokens and real latents go in is decided in ``open_set``.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from realfake.syn2real.settings import Settings
from realfake.values import SpecError


@dataclass(frozen=True)
class Plan:
    """A solver and the time steps ``(executed,)`` that are made; with a prior they begin at t* = ``times[0]``."""

    scheduler: Any
    times: torch.Tensor
    prior: bool

    @property
    def first(self) -> int:
        """t*, the time step that sampling begins at."""
        return int(self.times[0])

    def facts(self) -> dict[str, Any]:
        """Return ``executed_steps``, ``t_start`` and there a_t, s_t and the signal-to-noise ratio a_t² / s_t²."""
        keep = float(self.scheduler.alphas_cumprod[self.first])
        known = {"executed_steps": len(self.times), "t_start": self.first, "from_real_latents": self.prior}
        return {**known, "a_t": keep**0.5, "s_t": (1 - keep) ** 0.5, "snr": keep / (1 - keep)}


def plan(own: Any, solver: str, steps: int, strength: float | None = None, device: Any = "cpu") -> Plan:
    """Return a solver with its time steps: ``own`` is the scheduler that the pipeline was saved with.

    With ``strength`` the first int(steps · strength) steps from the end are made, as diffusers' image-to-image
    pipelines do: 0.75 of 30 UniPC steps are 22 from t* = 733 on. Even 1.0 begins at a noised real latent.
    Raises SpecError when no step is left, or when the solver cannot make that many.
    """
    scheduler = _scheduler(own, solver)
    try:
        scheduler.set_timesteps(steps, device=device)
    except ValueError as error:
        raise SpecError(f"Pool(solver={solver!r}, sampling_steps={steps}): {error}; give another number") from error
    if strength is None:
        return Plan(scheduler, scheduler.timesteps, prior=False)
    executed = Settings(strength=strength, sampling_steps=steps).executed_steps
    if not executed:
        raise SpecError(
            f"LatentPrior(strength={strength}) of sampling_steps={steps} leaves no step to make, and images would be "
            f"the real ones; give strength={1 / steps:.3f} or more"
        )
    skipped = (steps - executed) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return Plan(scheduler, scheduler.timesteps[skipped:], prior=True)


def _scheduler(own: Any, solver: str) -> Any:
    """Return a fresh solver: they keep what they have seen, and a batch must not depend on the one before."""
    import diffusers

    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "ddim": ("DDIMScheduler", {"clip_sample": False}),  # latents are not bounded by 1
        "unipc": ("UniPCMultistepScheduler", {}),
        "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
        "lcm": ("LCMScheduler", {"clip_sample": False}),
    }
    if solver == "own":
        return type(own).from_config(own.config)
    name, options = kinds[solver]
    return getattr(diffusers, name).from_config(own.config, **options)


def randoms(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one generator an image, on the CPU: its draws are the same on any device and in any batch."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def begin(plan: Plan, shape: tuple[int, int, int], drawn: Sequence[torch.Generator], start: Any = None) -> torch.Tensor:
    """Return the first latents ``(n, c, h, w)`` float32 on the CPU: noise, or the latents ``start`` noised to t*."""
    noise = torch.stack([torch.randn(shape, generator=random) for random in drawn])
    if start is None:
        return noise * plan.scheduler.init_noise_sigma
    return plan.scheduler.add_noise(start, noise.to(start.device), plan.times[:1].to(start.device))


def denoise(
    unet: Any,
    plan: Plan,
    latents: torch.Tensor,
    states: torch.Tensor,
    drawn: Sequence[torch.Generator],
    *,
    guidance: float = 1.0,
    mask: torch.Tensor | None = None,
    added: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return the denoised latents ``(n, c, h, w)`` float32.

    ``states`` are ``(n, t, w)``, or ``(2n, t, w)`` with those of the negative prompt first, for classifier-free
    guidance: ε = ε_negative + w (ε_prompt − ε_negative) (Ho & Salimans 2022). Stochastic solvers draw from ``drawn``.
    ``added`` is what an XL reads beside words (``xl.added``), of as many rows as ``states``.
    """
    scheduler, guided = plan.scheduler, len(states) == 2 * len(latents)
    options: dict[str, Any] = {"encoder_hidden_states": states.to(unet.dtype), "return_dict": False}
    if mask is not None:
        options["encoder_attention_mask"] = mask
    if added is not None:
        options["added_cond_kwargs"] = dict(added)
    if unet.config.time_cond_proj_dim is not None:  # distilled: the weight is an input
        options["timestep_cond"] = _guidance_embedding(unet, guidance, len(latents)).to(latents.device, unet.dtype)
    takes_random = "generator" in inspect.signature(scheduler.step).parameters
    step_options = {"generator": list(drawn)} if takes_random else {}
    x_bchw = latents
    for time in plan.times:
        many = torch.cat([x_bchw, x_bchw]) if guided else x_bchw
        scaled = scheduler.scale_model_input(many, time).to(unet.dtype)
        predicted = unet(scaled, time, **options)[0].float()
        if guided:
            negative, asked = predicted.chunk(2)
            predicted = negative + guidance * (asked - negative)
        x_bchw = scheduler.step(predicted, time, x_bchw, **step_options, return_dict=False)[0]
    return x_bchw


def is_guided(unet: Any, guidance: float) -> bool:
    """Tell whether guidance needs the negative branch: not at weight 1, nor where it was distilled into the UNet."""
    return guidance != 1 and unet.config.time_cond_proj_dim is None


def _guidance_embedding(unet: Any, guidance: float, n: int) -> torch.Tensor:
    """Return the sinusoidal embedding ``(n, width)`` of the weight (Meng et al. 2023, as in latent consistency)."""
    from diffusers.models.embeddings import get_timestep_embedding

    weight = torch.full((n,), (guidance - 1) * 1000.0)
    width = unet.config.time_cond_proj_dim
    return get_timestep_embedding(weight, width, flip_sin_to_cos=False, downscale_freq_shift=1)


# ----------------------------------------------------------------------------------------------- images and latents


def encode(vae: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the latents ``(n, c, h, w)`` float32 of images ``(n, 3, H, W)`` in [−1, 1]: the mean of each posterior."""
    found = vae.encode(pixels.to(vae.device, vae.dtype))
    latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents  # the tiny one has no noise
    return scaled(vae, latents.float())


def decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return the images ``(n, 3, H, W)`` float32 in [−1, 1] of latents."""
    decoded = vae.decode(unscaled(vae, latents).to(vae.dtype), return_dict=False)[0]
    return decoded.float().clamp(-1, 1)


def scaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents ``(n, c, h, w)`` of an autoencoder in the UNet's scale."""
    mean, factor = scale_of(vae, latents)
    return (latents - mean) * factor


def unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents ``(n, c, h, w)`` of the UNet in the autoencoder's scale."""
    mean, factor = scale_of(vae, latents)
    return latents / factor + mean


def scale_of(vae: Any, like: torch.Tensor) -> tuple[Any, Any]:
    """Return what is taken from an autoencoder's latents, and the factor then: a number each, or ``(1, c, 1, 1)``."""
    mean, std = (vae.config.get(f"latents_{which}") for which in ("mean", "std"))
    if mean is None or std is None:
        return 0.0, vae.config.scaling_factor
    mean, std = (like.new_tensor(values)[None, :, None, None] for values in (mean, std))
    return mean, vae.config.scaling_factor / std
