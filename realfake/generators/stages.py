"""The stages that a miniature Stable Diffusion is trained in: the loss of each, and the loop that they share.

Autoencoder (Rombach et al. 2022, arXiv 2112.10752, without its adversary), CLIP's encoders (Radford et al. 2021, arXiv
2103.00020), noise prediction (Ho et al. 2020, arXiv 2006.11239, eq. 14). Which images and texts a step sees is in
``pretraining``, the networks are in ``miniature``. A loop that resumes ends with the same bits.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.training_utils import EMAModel
from torch import nn
from torch.nn import functional

from realfake.generators.batches import schedule
from realfake.generators.fitting import Pace, Progress, read_state

KL_WEIGHT = 1e-4  # beside the mean absolute error of a pixel, for the mean of a latent
LARGEST_SCALE = math.log(100)  # of similarities (Radford et al. 2021, §2.5)


@dataclass(frozen=True)
class Stage:
    """A network whose call returns its loss, the batch of each step, and how long it is trained.

    ``ema_decay`` 0 keeps the last weights, otherwise the averaged ones are left in the network.
    """

    name: str
    network: nn.Module
    batch: Callable[[int], tuple[torch.Tensor, ...]]
    steps: int
    learning_rate: float
    ema_decay: float = 0.0


class Reconstruction(nn.Module):
    """The loss of an autoencoder: mean absolute error of the pixels, and a little of the latents' divergence."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return the loss of images ``(b, 3, h, w)`` in [−1, 1] with standard noise like their latents."""
        posterior: Any = self.autoencoder.encode(images).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        made: Any = self.autoencoder.decode(posterior.mean + posterior.std * noise).sample  # pyright: ignore[reportAttributeAccessIssue]
        divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
        return (made.float() - images).abs().mean() + KL_WEIGHT * divergence


class Contrast(nn.Module):
    """The contrastive loss of CLIP's encoders, with every text of a batch once and several images for each."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: torch.Tensor, tokens: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Return the loss of images ``(b, 3, h, w)`` and tokens ``(u, t)``; ``positive (b, u)`` says what belongs."""
        out = self.clip(input_ids=tokens, pixel_values=images)  # embeddings of length 1
        scale = self.clip.logit_scale.clamp(max=LARGEST_SCALE).exp()
        return contrastive_loss(scale * out.image_embeds.float() @ out.text_embeds.float().T, positive)


class NoisePrediction(nn.Module):
    """The loss of a UNet: mean squared error of the noise that it sees in latents."""

    def __init__(self, unet: nn.Module, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.unet, self.scheduler = unet, scheduler

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, times: torch.Tensor, states: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of latents ``(b, c, h, w)`` with this noise at these times ``(b,)`` for text states."""
        noisy = self.scheduler.add_noise(latents, noise, times)  # pyright: ignore[reportArgumentType]
        return (self.unet(noisy, times, states).sample.float() - noise).square().mean()


def contrastive_loss(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Return the mean of both cross-entropies of logits ``(b, u)``, whose targets are uniform over what belongs.

    With one text an image this is CLIP's loss. Rows and columns without anything that belongs to them do not count.
    """
    both = []
    for scores, belongs in ((logits, positive.float()), (logits.T, positive.T.float())):
        some = belongs.sum(1) > 0
        targets = belongs[some] / belongs[some].sum(1, keepdim=True)
        both.append(functional.cross_entropy(scores[some], targets))
    return (both[0] + both[1]) / 2


def run(
    stage: Stage,
    accelerator: accelerate.Accelerator,
    checkpoint: Path | None,
    tell: Callable[[int, float], None],
) -> dict[str, Any]:
    """Train a stage and return its ``history`` and ``seconds``; ``tell`` is called with steps done and the loss.

    The state is kept in ``checkpoint/STAGE.pt`` every 20 seconds and at the end, by the main process. Raises Diverged.
    """
    network = stage.network.to(accelerator.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=stage.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    average = EMAModel(network.parameters(), decay=stage.ema_decay, foreach=True) if stage.ema_decay else None
    progress, earlier, name = Progress(), 0.0, f"{stage.name}.pt"
    if state := read_state(checkpoint, name):
        network.load_state_dict(state["network"])
        if "optimizer" not in state:  # the stage is done
            return {"history": state["history"], "seconds": state["seconds"]}
        optimizer.load_state_dict(state["optimizer"])
        if average:
            average.load_state_dict(state["average"])
            average.to(accelerator.device)
        progress.resume(state)
        earlier = state["seconds"]
    started = time.monotonic()
    parallel, optimizer = accelerator.prepare(network, optimizer)

    def trained() -> dict[str, Any]:
        return {"network": network.state_dict(), "seconds": earlier + time.monotonic() - started}

    def state_dicts() -> dict[str, Any]:
        return {**trained(), "optimizer": optimizer.state_dict(), "average": average and average.state_dict()}

    with Pace(progress, stage.steps, stage.steps, tell, state_dicts, accelerator, checkpoint, name) as pace:
        while progress.step < stage.steps:
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * schedule(progress.step, stage.steps)
            batch = stage.batch(progress.step)
            with accelerator.autocast():
                loss = parallel(*batch)
            accelerator.backward(loss)
            with pace.update():
                optimizer.step()
                optimizer.zero_grad()
                if average:
                    average.step(network.parameters())
                if (mean := pace.counted(loss)) is not None:
                    progress.history.append({"stage": stage.name, "step": progress.step, "loss": mean.item()})
            pace.rest()
    if average:
        average.copy_to(network.parameters())
    pace.save(trained())
    return {"history": progress.history, "seconds": trained()["seconds"]}
