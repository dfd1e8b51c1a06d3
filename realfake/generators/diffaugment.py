"""Differentiable augmentation of what a discriminator sees, real and made images alike (Zhao et al. 2020, 2006.10738).

The policy of the paper's code: images are moved by up to an eighth of their sides, a square of half their sides is cut
out, and colour images change in brightness, saturation and contrast. The random numbers are given, so that they can be
those of a step; a move is a product with matrices of zeros and ones, whose gradient is summed in one order everywhere.
"""

import torch

NUMBERS = 7  # uniform in [0, 1), for every image: 2 for a move, 2 for a cut, 3 for colours
MOVED, CUT = 8, 2  # parts of a side


def augmented(x_bchw: torch.Tensor, uniform_b7: torch.Tensor) -> torch.Tensor:
    """Return the images, each varied by its own numbers; what is moved in or cut out is 0, the middle grey."""
    x = _coloured(x_bchw, uniform_b7[:, 4:]) if x_bchw.shape[1] == 3 else x_bchw
    return _cut(_moved(x, uniform_b7[:, :2]), uniform_b7[:, 2:4])


def _coloured(x: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    brightness, saturation, contrast = uniform[:, :, None, None, None].unbind(1)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def _moved(x: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    down, across = (_shifts(side, uniform[:, axis]) for axis, side in enumerate(x.shape[2:]))
    return down[:, None].to(x.dtype) @ x @ across[:, None].transpose(2, 3).to(x.dtype)


def _shifts(side: int, uniform: torch.Tensor) -> torch.Tensor:
    """Return matrices ``(b, side, side)`` with a 1 where row i takes what stood at i + shift."""
    most = side // MOVED
    shift = (uniform * (2 * most + 1)).long() - most
    places = torch.arange(side, device=uniform.device)
    return places[None, None, :] == places[None, :, None] + shift[:, None, None]


def _cut(x: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    down, across = (_spans(side, uniform[:, axis]) for axis, side in enumerate(x.shape[2:]))
    return x * ~(down[:, None, :, None] & across[:, None, None, :])


def _spans(side: int, uniform: torch.Tensor) -> torch.Tensor:
    """Return ``(b, side)``, true in a span of half the side whose middle is anywhere; what lies outside is lost."""
    length = side // CUT
    first = (uniform * (side + 1 - length % 2)).long() - length // 2
    places = torch.arange(side, device=uniform.device)
    return (places >= first[:, None]) & (places < first[:, None] + length)
