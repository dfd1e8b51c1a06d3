"""The networks that a closed-set generator can have, as plain data: which one fits, and what it costs.

Building them, fitting them and sampling from them is in ``closed_set``; nothing here imports torch, so that a study
can be checked at once.
"""

from realfake.values import SpecError, Value, at_least, nearest


class Network(Value):
    """A small UNet (``diffusers.UNet2DModel``) for images whose sides lie between ``smallest`` and ``largest`` pixels.

    ``patch`` × ``patch`` pixels become channels before the first layer and pixels again after the last one, which
    makes it about ``patch``² cheaper; ``widths`` are the channels at each resolution, each half the one before;
    ``layers`` the residual blocks at each; ``attention`` adds self-attention at the lowest. Sides need no
    divisibility: images are padded to a multiple of ``multiple`` pixels inside and cropped after.
    """

    widths: tuple[int, ...]
    layers: int = 1
    patch: int = 1
    attention: bool = False
    smallest: int = 8
    largest: int = 32

    def check(self) -> None:
        at_least(self, layers=1, patch=1, smallest=1, largest=self.smallest)

    @property
    def multiple(self) -> int:
        """Pixels that the padded sides are a multiple of."""
        return self.patch * 2 ** (len(self.widths) - 1)

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the pixels to pad at the left, right, top and bottom."""
        across, down = -width % self.multiple, -height % self.multiple
        return across // 2, across - across // 2, down // 2, down - down // 2


# CPU milliseconds an image, measured on one core (AMD EPYC, fp32, batch 32, one channel): one training step / one
# evaluation of the network while sampling. A fit takes steps · batch_size times the first, a pool of m images
# m · sampling_steps times the second (twice that with guidance).
#
#   side     8            14           16           28           32        parameters
#   unet-xs  0.8 / 0.2    1.5 / 0.4    1.4 / 0.4    3.6 / 1.1    4.5 / 1.5    0.7 M
#   unet-s                             2.1 / 0.6    5.5 / 1.7    5.6 / 1.8    1.8 M
#   unet-m                                           15 / 4.7     16 / 4.5    5.0 M
NETWORKS: dict[str, Network] = {
    "unet-xs": Network(widths=(32, 64), patch=2),
    "unet-s": Network(widths=(32, 64, 96), patch=2, smallest=16),
    "unet-m": Network(widths=(48, 96, 128), layers=2, patch=2, attention=True, smallest=28),
}


def network_for(name: str, height: int, width: int) -> Network:
    """Return the network called ``name``.

    Raises SpecError when there is none, or when images of this size are not what it is made for.
    """
    if name not in NETWORKS:
        raise SpecError(f"ClosedSet.network {name!r} is unknown; {nearest(name, NETWORKS)}")
    network = NETWORKS[name]
    if not network.smallest <= min(height, width) <= max(height, width) <= network.largest:
        raise SpecError(
            f"ClosedSet.network {name!r} is for sides of {network.smallest} to {network.largest} pixels and the images "
            f"have {height}×{width}; set Dataset(pixels=…) or choose another of {', '.join(NETWORKS)}"
        )
    return network
