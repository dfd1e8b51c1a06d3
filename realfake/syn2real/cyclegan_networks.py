"""The two kinds of network of CycleGAN (Zhu et al. 2017, arXiv 1703.10593, appendix): translators and critics.

What they are fitted to is in ``cyclegan``.
"""

import torch
from torch import nn

WIDTH = 16  # channels of the first layer; 64 in the paper, for crops eight times as wide
BLOCKS = 6


class Block(nn.Module):
    """A residual block of two 3×3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        """Return x + F(x) of the same shape."""
        return x_bchw + self.layers(x_bchw)


def translator() -> nn.Module:
    """Return c7s1-w, d2w, d4w, six R4w, u2w, uw, c7s1-3 of the paper: crops in [−1, 1] to crops in [−1, 1]."""
    w = WIDTH
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), nn.InstanceNorm2d(w), nn.ReLU()]
    for width in (w, 2 * w):
        halved = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        layers += [halved, nn.InstanceNorm2d(2 * width), nn.ReLU()]
    layers += [Block(4 * w) for _ in range(BLOCKS)]
    for width in (4 * w, 2 * w):
        doubled = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
        layers += [doubled, nn.InstanceNorm2d(width // 2), nn.ReLU()]
    return _initialised(nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()))


def critic(pixels: int) -> nn.Module:
    """Return a PatchGAN: crops to a map of scores, each of a patch about half as wide as the crop (at most 70)."""
    halvings, w = (1 if pixels < 64 else 2 if pixels < 128 else 3), WIDTH
    layers: list[nn.Module] = [nn.Conv2d(3, w, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for i in range(halvings):
        stride = 1 if i == halvings - 1 else 2
        wider = nn.Conv2d(w, 2 * w, 4, stride=stride, padding=1)
        layers += [wider, nn.InstanceNorm2d(2 * w), nn.LeakyReLU(0.2)]
        w *= 2
    return _initialised(nn.Sequential(*layers, nn.Conv2d(w, 1, 4, padding=1)))


def _initialised(network: nn.Module) -> nn.Module:
    """Draw weights from a normal distribution of standard deviation 0.02, as the paper does."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return network
