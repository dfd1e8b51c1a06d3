"""CycleGAN (Zhu et al. 2017, arXiv 1703.10593), the translator of PTL: synthetic crops to real ones and back, unpaired.

Two translators and two critics learn together: least-squares adversarial losses (Mao et al. 2017), cycle losses of
weight 10, identity losses of weight 5, critics that also see up to 50 earlier fakes (Shrivastava et al. 2017), Adam at
2e-4 that falls to 0 over the second half. The networks are in ``cyclegan_networks``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from realfake.syn2real.crops import People
from realfake.syn2real.cyclegan_networks import critic, translator
from realfake.syn2real.losses import Losses, Report
from realfake.syn2real.pixels import batch, levels, scaled, seeded, step_random
from realfake.syn2real.settings import Settings, divisible

FILE = "cyclegan.safetensors"  # source to target: all that a transform needs
OTHERS_FILE = "cyclegan-others.safetensors"  # the other three networks, to start the next round from
CYCLE, IDENTITY = 10.0, 5.0
BUFFER = 50
LEARNING_RATE = 2e-4
Step = Callable[[torch.Tensor, torch.Tensor, torch.Generator], dict[str, torch.Tensor]]


def fit(
    settings: Settings,
    source: People,
    target: People,
    folder: Path,
    *,
    report: Report,
    seed: int,
    warm_start: Path | None,
    device: str,
) -> dict[str, Any]:
    """Fit all four networks on source and target crops; ``warm_start`` is the folder of an earlier fit to begin with.

    Returns first and final loss (of the translators), ``parameters`` (of all four), ``seconds``. Raises
    TranslatorDiverged, and SpecError for crops whose side is no multiple of 4.
    """
    divisible(source.pixels, 4, "cyclegan")
    nets = new_networks(source.pixels, seed)
    if warm_start is not None:
        nets.load_state_dict(load_file(warm_start / FILE) | load_file(warm_start / OTHERS_FILE))
    nets.to(device).train()
    rate = settings.learning_rate or LEARNING_RATE
    optimizers = [torch.optim.Adam(parts.parameters(), lr=rate, betas=(0.5, 0.999)) for parts in _teams(nets)]
    train, losses = _training(nets, optimizers), Losses(report, settings.steps)
    x, y = scaled(source.crops), scaled(target.crops)
    for step in range(1, settings.steps + 1):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, 2 * (1 - (step - 1) / settings.steps))
        random = step_random("cyclegan", seed, step)
        real_x, real_y = (batch(part, settings.batch_size, random).to(device) for part in (x, y))
        losses.add(step, **train(real_x, real_y, random))
    state = {name: part.cpu().contiguous() for name, part in nets.state_dict().items()}
    save_file({name: part for name, part in state.items() if name.startswith("G.")}, folder / FILE)
    save_file({name: part for name, part in state.items() if not name.startswith("G.")}, folder / OTHERS_FILE)
    losses.write(folder)
    return {**losses.facts(), "parameters": sum(part.numel() for part in nets.parameters())}


def new_networks(pixels: int, seed: int) -> nn.ModuleDict:
    """Return fresh networks by the paper's letters: G: X → Y, F: Y → X, and the critics D_X, D_Y."""
    return seeded(
        lambda: nn.ModuleDict({"G": translator(), "F": translator(), "D_X": critic(pixels), "D_Y": critic(pixels)}),
        "cyclegan",
        "weights",
        seed,
    )


def _teams(nets: nn.ModuleDict) -> tuple[nn.ModuleList, nn.ModuleList]:
    return nn.ModuleList([nets["G"], nets["F"]]), nn.ModuleList([nets["D_X"], nets["D_Y"]])


def _training(nets: nn.ModuleDict, optimizers: list[torch.optim.Adam]) -> Step:
    """Return the function that makes one step on x and y ``(b, 3, s, s)`` and returns its losses."""
    critics = _teams(nets)[1]
    buffers = Buffer(), Buffer()

    def step(x: torch.Tensor, y: torch.Tensor, random: torch.Generator) -> dict[str, torch.Tensor]:
        critics.requires_grad_(False)
        loss, fake_x, fake_y = translator_loss(nets, x, y)
        _descend(optimizers[0], loss)
        critics.requires_grad_(True)
        old_x, old_y = (
            buffer.exchange(fake.detach(), random) for buffer, fake in zip(buffers, (fake_x, fake_y), strict=True)
        )
        critic_loss = judged(nets["D_X"], x, old_x) + judged(nets["D_Y"], y, old_y)
        _descend(optimizers[1], critic_loss)
        return {"loss": loss.detach(), "critics": critic_loss.detach()}

    return step


def translator_loss(
    nets: nn.ModuleDict, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the translators' loss (eq. 3, with the identity loss of section 5.2), and the fakes F(y) and G(x)."""
    to_y, to_x = nets["G"], nets["F"]
    fake_y, fake_x = to_y(x), to_x(y)
    loss = sum(
        (
            (nets["D_Y"](fake_y) - 1).square().mean(),
            (nets["D_X"](fake_x) - 1).square().mean(),
            CYCLE * (functional.l1_loss(to_x(fake_y), x) + functional.l1_loss(to_y(fake_x), y)),
            IDENTITY * (functional.l1_loss(to_y(y), y) + functional.l1_loss(to_x(x), x)),
        ),
        torch.zeros((), device=x.device),
    )
    return loss, fake_x, fake_y


def judged(network: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return a critic's least-squares loss, halved as in the paper: real crops score 1, fakes 0."""
    return ((network(real) - 1).square().mean() + network(fake).square().mean()) / 2


def _descend(optimizer: torch.optim.Adam, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class Buffer:
    """Up to 50 earlier fakes: half of what a critic is shown, once it is full, are older ones that it replaces."""

    def __init__(self, size: int = BUFFER) -> None:
        self.size = size
        self.kept: list[torch.Tensor] = []

    def exchange(self, fakes_bchw: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Return as many fakes as are given, each either the given one or one from the buffer."""
        return torch.stack([self._one(fake, random) for fake in fakes_bchw])

    def _one(self, fake: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        if len(self.kept) < self.size:
            self.kept.append(fake)
            return fake
        place = int(torch.randint(2 * self.size, (), generator=random))
        if place >= self.size:
            return fake
        self.kept[place], fake = fake, self.kept[place]
        return fake


def load(folder: Path, settings: Settings, device: str) -> tuple[nn.Module, torch.device]:
    """Return the translator from source to target and its device."""
    network = translator()
    network.load_state_dict({name.removeprefix("G."): part for name, part in load_file(folder / FILE).items()})
    return network.to(device).eval(), torch.device(device)


@torch.inference_mode()
def transform(fitted: tuple[nn.Module, torch.device], people: People, seeds: Sequence[int]) -> np.ndarray:
    """Return the crops ``(k, s, s, 3)``; one at a time: sums round differently in another batch. No randomness."""
    network, device = fitted
    return levels(torch.cat([network(crop[None].to(device)).cpu() for crop in scaled(people.crops)]))
