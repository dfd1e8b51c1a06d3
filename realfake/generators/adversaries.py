"""The two networks of a class-conditional GAN: a residual generator, and a projection discriminator.

The discriminator is that of Miyato & Koyama 2018 (arXiv:1802.05637): ψ(φ(x)) + ⟨embedding(y), φ(x)⟩ with spectral
normalisation in every layer (Miyato et al. 2018, arXiv:1802.05957). The generator modulates normalised maps by latent
and label, as conditional batch normalisation does, but normalises each image by itself, in groups of channels (Wu & He
2018, arXiv:1803.08494): no image then depends on its batch, and several processes learn what one would. Sizes are in
``networks``, how both are fitted in ``gan``.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from realfake.generators.networks import Adversaries

GROUP = 8  # channels that are normalised together
NARROWEST = 16  # channels at the finest resolutions
Shape = tuple[int, int, int]  # height, width, channels


class Generator(nn.Module):
    """Latents ``(b, latent)`` and labels ``(b,)`` in, images ``(b, c, h, w)`` in [−1, 1] out."""

    def __init__(self, network: Adversaries, shape: Shape, classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        doublings = network.doublings(height, width)
        left, right, top, bottom = self.margins = network.margins(height, width)
        self.shape, self.latent = shape, network.latent
        self.coarsest = (height + top + bottom) >> doublings, (width + left + right) >> doublings
        widths = _widths(network.widths[0], doublings)
        self.embedding = nn.Embedding(classes, network.latent)
        self.first = nn.Linear(2 * network.latent, widths[0] * self.coarsest[0] * self.coarsest[1])
        pairs = itertools.pairwise(widths)
        self.blocks = nn.ModuleList(_Up(before, after, 2 * network.latent) for before, after in pairs)
        self.last = nn.Sequential(nn.GroupNorm(widths[-1] // GROUP, widths[-1]), nn.ReLU(), _conv(widths[-1], channels))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the images of these latents and labels."""
        left, right, top, bottom = self.margins
        given = torch.cat([latents, self.embedding(labels)], 1)
        x = self.first(given).unflatten(1, (-1, *self.coarsest))
        for block in self.blocks:
            x = block(x, given)
        x = self.last(x).tanh()
        return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


class Discriminator(nn.Module):
    """Images and labels in, one number each out: above 0 for real, below for made."""

    def __init__(self, network: Adversaries, shape: Shape, classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.margins = network.margins(height, width)
        widths = _widths(network.widths[1], network.doublings(height, width))[::-1]
        self.first = spectral_norm(_conv(channels, widths[0]))
        pairs = itertools.pairwise(widths)
        downs = [_Down(before, after) for before, after in pairs]
        self.blocks = nn.Sequential(*downs, _Down(widths[-1], widths[-1], halve=False), nn.ReLU())
        self.score = spectral_norm(nn.Linear(widths[-1], 1))
        self.embedding = spectral_norm(nn.Embedding(classes, widths[-1]))

    def forward(self, x_bchw: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the score ``(b,)`` of every image as one of its label's class."""
        features = self.blocks(self.first(functional.pad(x_bchw, self.margins))).sum((2, 3))
        return self.score(features).squeeze(1) + (self.embedding(labels) * features).sum(1)


class _Up(nn.Module):
    """A residual block that doubles the sides; latent and label scale and shift its normalised maps."""

    def __init__(self, before: int, after: int, given: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(width // GROUP, width, affine=False) for width in (before, after))
        self.modulations = nn.ModuleList(nn.Linear(given, 2 * width) for width in (before, after))
        self.convs = nn.ModuleList((_conv(before, after), _conv(after, after)))
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        y = _doubled(self._modulated(0, x, given).relu())
        y = self._modulated(1, self.convs[0](y), given).relu()
        return self.convs[1](y) + _doubled(self.skip(x))

    def _modulated(self, index: int, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulations[index](given)[..., None, None].chunk(2, 1)
        return self.norms[index](x) * (1 + scale) + shift


class _Down(nn.Module):
    """A residual block of the discriminator, which halves the sides or leaves them."""

    def __init__(self, before: int, after: int, halve: bool = True) -> None:
        super().__init__()
        self.halve = halve
        self.convs = nn.ModuleList((spectral_norm(_conv(before, before)), spectral_norm(_conv(before, after))))
        self.skip = spectral_norm(nn.Conv2d(before, after, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convs[1](self.convs[0](x.relu()).relu())
        both = y + self.skip(x)
        return functional.avg_pool2d(both, 2) if self.halve else both


def _widths(coarsest: int, doublings: int) -> list[int]:
    """Return the channels at each resolution, from the coarsest on."""
    return [max(NARROWEST, coarsest >> level) for level in range(doublings + 1)]


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    """Return maps twice as high and wide, every value four times; backwards, a sum in one order everywhere."""
    return x[..., :, None, :, None].expand(-1, -1, -1, 2, -1, 2).flatten(4, 5).flatten(2, 3)
