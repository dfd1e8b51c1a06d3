"""The networks that generators fitted from scratch can have, as plain data: which one fits, and what it costs.

Building them is in ``denoiser``, ``transformer`` and ``adversaries``, fitting them and sampling from them in
``closed_set`` and ``gan``; nothing here imports torch, so that a study can be checked at once.
"""

from collections.abc import Mapping
from typing import Literal, TypeVar

from realfake.values import SpecError, Value, at_least, nearest

Preset = TypeVar("Preset", "Network", "Adversaries")


class Network(Value):
    """A denoiser for images whose sides lie between ``smallest`` and ``largest`` pixels.

    "unet" is ``diffusers.UNet2DModel``: ``patch`` × ``patch`` pixels become channels before the first layer and pixels
    again after the last one, which makes it about ``patch``² cheaper; ``widths`` are the channels at each resolution,
    each half the one before; ``layers`` the residual blocks at each; ``attention`` adds self-attention at the lowest.
    "dit" is a diffusion transformer (see ``transformer``): a token is ``patch`` × ``patch`` pixels, ``widths`` its one
    width, ``layers`` the blocks. ``head`` are the channels of a head of attention. Sides need no divisibility: images
    are padded to a multiple of ``multiple`` pixels inside, for a transformer to a square, and cropped after.
    """

    architecture: Literal["unet", "dit"] = "unet"
    widths: tuple[int, ...]
    layers: int = 1
    patch: int = 1
    attention: bool = False
    head: int = 16
    smallest: int = 8
    largest: int = 32

    def check(self) -> None:
        at_least(self, layers=1, patch=1, head=1, smallest=1, largest=self.smallest)
        if self.architecture == "dit" and (len(self.widths) != 1 or self.widths[0] % self.head):
            raise SpecError(
                f"Network.widths={self.widths}: a transformer has one width, a multiple of head={self.head}"
            )

    @property
    def multiple(self) -> int:
        """Pixels that the padded sides are a multiple of."""
        return self.patch * 2 ** (len(self.widths) - 1)

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the pixels to pad at the left, right, top and bottom."""
        square = max(height, width) if self.architecture == "dit" else 0  # all that diffusers' transformer takes
        high, wide = max(height, square), max(width, square)
        across, down = wide + -wide % self.multiple - width, high + -high % self.multiple - height
        return across // 2, across - across // 2, down // 2, down - down // 2


# CPU milliseconds an image, measured on one core (AMD EPYC, fp32, batch 32, one channel): one training step / one
# evaluation of the network while sampling. A fit takes steps · batch_size times the first, a pool of m images
# m · sampling_steps times the second (twice that with guidance).
#
#   side     8            14           16           28           32        parameters
#   unet-xs  0.8 / 0.2    1.5 / 0.4    1.4 / 0.4    3.6 / 1.1    4.5 / 1.5    0.7 M
#   unet-s                             2.1 / 0.6    5.5 / 1.7    5.6 / 1.8    1.8 M
#   unet-m                                           15 / 4.7     16 / 4.5    5.0 M
#
# Measured later (bench_presets), while other work kept both cores busy and unet-xs took 2.1 / 0.6 at 14 and 5.6 / 1.9
# at 32 pixels; those that are not here are a GPU's, and were not measured:
#
#   side       14           32           64          parameters
#   dit-xs     3.6 / 1.2     19 / 6.2                0.7 M
#   unet-s-64               4.6 / 1.3     12 / 3.9   3.4 M
#   dit-xs-64               4.2 / 1.6     19 / 6.7   0.7 M
#
# "dit-s" and "dit-b" have the sizes of DiT-S and DiT-B (Peebles & Xie 2022, table 1) with patches of 2 pixels, or of 4
# for sides up to 64; "dit-ti" those of ViT-Ti.
NETWORKS: dict[str, Network] = {
    "unet-xs": Network(widths=(32, 64), patch=2),
    "unet-s": Network(widths=(32, 64, 96), patch=2, smallest=16),
    "unet-m": Network(widths=(48, 96, 128), layers=2, patch=2, attention=True, smallest=28),
    "unet-s-64": Network(widths=(48, 96, 128), patch=4, smallest=32, largest=64),
    "unet-m-64": Network(widths=(64, 128, 192, 256), layers=2, patch=2, attention=True, smallest=32, largest=64),
    "dit-xs": Network(architecture="dit", widths=(96,), layers=4, patch=2, head=32),
    "dit-ti": Network(architecture="dit", widths=(192,), layers=12, patch=2, head=64),
    "dit-s": Network(architecture="dit", widths=(384,), layers=12, patch=2, head=64),
    "dit-b": Network(architecture="dit", widths=(768,), layers=12, patch=2, head=64),
    "dit-xs-64": Network(architecture="dit", widths=(96,), layers=4, patch=4, head=32, smallest=32, largest=64),
    "dit-s-64": Network(architecture="dit", widths=(384,), layers=12, patch=4, head=64, smallest=32, largest=64),
    "dit-b-64": Network(architecture="dit", widths=(768,), layers=12, patch=4, head=64, smallest=32, largest=64),
}


class Adversaries(Value):
    """Generator and discriminator of a GAN, for images whose sides lie between ``smallest`` and ``largest`` pixels.

    Both are residual (see ``adversaries``). ``widths`` are the channels of generator and discriminator at their
    coarsest resolution, halved at each finer one (down to 16); ``latent`` the numbers that an image is made from. The
    coarsest map is 4 to 8 pixels wide; images are padded to a power of two times it inside and cropped after.
    """

    widths: tuple[int, ...]
    latent: int = 64
    smallest: int = 8
    largest: int = 64

    def check(self) -> None:
        at_least(self, latent=1, smallest=8, largest=self.smallest)
        if len(self.widths) != 2 or any(width % 16 for width in self.widths):
            raise SpecError(
                f"Adversaries.widths={self.widths}: give those of generator and discriminator, multiples of 8"
            )

    def doublings(self, height: int, width: int) -> int:
        """Return how often the coarsest map is doubled on the way to images of this size."""
        return (min(height, width) // 4).bit_length() - 1

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the pixels to pad at the left, right, top and bottom."""
        multiple = 2 ** self.doublings(height, width)
        across, down = -width % multiple, -height % multiple
        return across // 2, across - across // 2, down // 2, down - down // 2


# CPU milliseconds an image of gan-xs, measured as the table above says: a training step without mode seeking / an image
# 2.0 / 0.2 at 14, 5.8 / 0.6 at 32, 19 / 1.8 at 64 pixels; 0.2 M parameters. On 200 digits of 14 pixels, one run each:
# 2,000 steps with mode seeking gave images of which 96 % were recognised, with a standard deviation of 22.0 grey levels
# within a class (real ones 32.9), in 139 s; 800 steps without it 74 % and 8.8, nearly one image a class; ClosedSet's
# unet-xs of 800 steps 85 % and 33.5, in 61 s. On 8 pixels, 400 steps, mode seeking 1: 31 %; 0.25: 15 %.
ADVERSARIES: dict[str, Adversaries] = {
    "gan-xs": Adversaries(widths=(32, 32)),
    "gan-s": Adversaries(widths=(64, 64)),
    "gan-m": Adversaries(widths=(256, 128), latent=128, smallest=16),
}


def network_for(name: str, height: int, width: int) -> Network:
    """Return the network of a ClosedSet called ``name``.

    Raises SpecError when there is none, or when images of this size are not what it is made for.
    """
    return _chosen("ClosedSet", name, NETWORKS, height, width)


def adversaries_for(name: str, height: int, width: int) -> Adversaries:
    """Return the networks of a Gan called ``name``; raises what ``network_for`` raises."""
    return _chosen("Gan", name, ADVERSARIES, height, width)


def _chosen(kind: str, name: str, presets: Mapping[str, Preset], height: int, width: int) -> Preset:
    if name not in presets:
        raise SpecError(f"{kind}.network {name!r} is unknown; {nearest(name, presets)}")
    preset = presets[name]
    if not preset.smallest <= min(height, width) <= max(height, width) <= preset.largest:
        raise SpecError(
            f"{kind}.network {name!r} is for sides of {preset.smallest} to {preset.largest} pixels and the images "
            f"have {height}×{width}; set Dataset(pixels=…) or choose another of {', '.join(presets)}"
        )
    return preset
