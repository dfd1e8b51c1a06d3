"""The denoising network of a closed-set generator, its preconditioning and its guidance: the formulas in code.

The objective is EDM (Karras et al. 2022, arXiv:2206.00364), guidance is classifier-free (Ho & Salimans 2022,
arXiv:2207.12598). How the network is fitted and sampled from is in ``closed_set``; its sizes are in ``networks``, the
transformer that it can be in ``transformer``.
"""

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import nn
from torch.nn import functional

from realfake.generators.networks import Network
from realfake.generators.transformer import Transformer

SIGMA_DATA = 0.5  # standard deviation of pixels in [−1, 1], as assumed by eq. 7 (the digits' is 0.6)
TIME_SCALE = 1000.0  # c_noise spans about −1 to 1, and diffusers' sinusoids are made for times up to 1000


class Denoiser(nn.Module):
    """The raw network F_θ: scaled noisy images, noise levels and labels in, F_θ out.

    ``shape`` is (height, width, channels); the label ``classes``, one past the last, means "no label".
    """

    def __init__(self, network: Network, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape, self.classes, self.patch = shape, classes, network.patch
        self.margins = network.margins(height, width)
        if network.architecture == "dit":
            self.dit = Transformer(network, height + sum(self.margins[2:]), channels, classes)
            return
        blocks = len(network.widths)
        self.unet = UNet2DModel(
            in_channels=channels * network.patch**2,
            out_channels=channels * network.patch**2,
            block_out_channels=network.widths,
            layers_per_block=network.layers,
            down_block_types=("DownBlock2D",) * blocks,
            up_block_types=("UpBlock2D",) * blocks,
            add_attention=network.attention,
            attention_head_dim=network.head,
            norm_num_groups=8,
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=classes + 1,
        )
        nn.init.zeros_(self.unet.conv_out.weight)  # a new network predicts c_skip·x, with no noise of its own
        nn.init.zeros_(self.unet.conv_out.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x_bchw: torch.Tensor, c_noise_b: torch.Tensor, labels_b: torch.Tensor) -> torch.Tensor:
        """Return F_θ(x; c_noise, label) ``(b, c, h, w)``."""
        left, right, top, bottom = self.margins
        x, times = functional.pad(x_bchw, self.margins), TIME_SCALE * c_noise_b
        if hasattr(self, "dit"):
            x = self.dit(x, times, labels_b)
        else:
            x = functional.pixel_unshuffle(x, self.patch)
            x = self.unet(x, times, class_labels=labels_b, return_dict=False)[0]
            x = functional.pixel_shuffle(x, self.patch)
        return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def precondition(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return c_skip, c_out, c_in and c_noise at noise level σ (Karras et al. 2022, eq. 7 and table 1).

    The denoiser is D(x; σ) = c_skip·x + c_out·F_θ(c_in·x; c_noise).
    """
    total = sigma**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total.sqrt(), 1 / total.sqrt(), sigma.log() / 4


def guided(denoiser: nn.Module, x: torch.Tensor, c_noise: torch.Tensor, labels: torch.Tensor, w: float) -> torch.Tensor:
    """Return F_uncond + w·(F_cond − F_uncond)  (Ho & Salimans 2022, eq. 6; their weight is w − 1).

    D is affine in F, with the same c_skip·x and c_out for both, so this guides D by the same weight. At w = 1 the
    network runs once, with the labels.
    """
    if w == 1:
        return denoiser(x, c_noise, labels)
    both = torch.cat([labels, torch.full_like(labels, denoiser.classes)])  # pyright: ignore[reportArgumentType]
    conditional, unconditional = denoiser(x.repeat(2, 1, 1, 1), c_noise.repeat(2), both).chunk(2)
    return unconditional + w * (conditional - unconditional)
