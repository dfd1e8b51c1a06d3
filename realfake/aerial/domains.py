"""Domains: five that look real, each standing for an aerial data set, and the synthetic one. Values, nothing drawn.

Statures, pitches, share of poses and the camera's faults are those of the prototype whose cross-domain accuracies are
known to be graded (source far from garden and karst, near to park); grounds, crowds and clutter are ours. How a
surface, a thing or a person looks is in ``ground``, ``clutter`` and ``people``.
"""

from dataclasses import dataclass, field

from realfake.aerial.camera import FOCAL
from realfake.aerial.people import STATURE, Colour

Range = tuple[float, float]


@dataclass(frozen=True)
class Surface:
    """Three colours from dark to light; how much broad mottling and fine grain move between them (about 0 to 0.4)."""

    colours: tuple[Colour, Colour, Colour]
    mottle: float
    grain: float


@dataclass(frozen=True)
class Patch:
    """A surface wherever the broad noise, in standard deviations, lies above ``above``."""

    surface: str
    above: float


@dataclass(frozen=True)
class Strip:
    """Roads, paths and tracks: how many, how wide (m), a border (m) of another surface, and a line along the middle."""

    surface: str
    count: tuple[int, int]
    width: Range
    border: str = ""
    border_width: float = 0.0
    line: str = ""
    dashed: bool = True


@dataclass(frozen=True)
class Plot:
    """Rectangles of a surface: terraces, beds, courts. How many on an image of 256 pixels, and their sides (m)."""

    surface: str
    count: tuple[int, int]
    side: Range


@dataclass(frozen=True)
class Lens:
    """What a camera does to an image: blur (px), noise (grey levels), gamma, gain of red, green, blue, JPEG quality.

    ``quality`` 0 keeps the image uncompressed.
    """

    blur: float = 0.0
    noise: float = 0.0
    gamma: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    quality: int = 0


@dataclass(frozen=True)
class Domain:
    """One kind of aerial image. Counts are (fewest, most) on an image of 256 × 256 pixels and grow with its area.

    ``statures``: pixels of a 1.7 m person at the centre, from which the camera's distance follows; ``pitches``:
    degrees looked down, 90 is nadir; ``poses``: shares of stand, kneel, prone; ``crowding``: the chance that a person
    joins the one before; ``sun``: elevations in degrees, ``shadow``: strengths, 0-1. ``synthetic``: one person an
    image, by the cells of ``grid``.
    """

    name: str
    stands_for: str
    statures: Range
    pitches: Range
    poses: tuple[float, float, float]
    people: tuple[int, int]
    crowding: float
    base: str
    layers: tuple[Patch | Strip | Plot, ...] = ()
    octaves: int = 4
    clutter: tuple[tuple[str, int, int], ...] = ()
    clothes: tuple[Colour, ...] = field(default=(), repr=False)
    sun: Range = (35.0, 65.0)
    shadow: Range = (0.25, 0.6)
    lens: Lens = Lens()
    synthetic: bool = False
    focal: float = FOCAL

    @property
    def distances(self) -> Range:
        """Metres from the camera to the ground at the centre: nearest, farthest."""
        return self.focal * STATURE / self.statures[1], self.focal * STATURE / self.statures[0]


SURFACES = {
    "asphalt": Surface(((74, 76, 80), (98, 99, 102), (122, 122, 122)), 0.16, 0.06),
    "paving": Surface(((128, 124, 118), (152, 147, 140), (174, 169, 160)), 0.18, 0.06),
    "concrete": Surface(((112, 112, 110), (138, 137, 133), (160, 158, 152)), 0.2, 0.06),
    "paint": Surface(((196, 196, 190), (214, 214, 208), (228, 228, 222)), 0.1, 0.1),
    "lawn": Surface(((64, 80, 44), (88, 106, 60), (116, 130, 80)), 0.18, 0.15),
    "meadow": Surface(((72, 86, 42), (110, 116, 62), (152, 146, 92)), 0.22, 0.20),
    "dry grass": Surface(((112, 100, 62), (150, 134, 88), (182, 166, 118)), 0.2, 0.18),
    "dirt": Surface(((104, 84, 62), (138, 114, 86), (166, 142, 110)), 0.2, 0.12),
    "sand": Surface(((164, 142, 106), (196, 174, 136), (222, 204, 168)), 0.2, 0.08),
    "gravel": Surface(((122, 116, 108), (156, 150, 140), (188, 182, 172)), 0.12, 0.24),
    "soil": Surface(((54, 42, 32), (80, 64, 50), (104, 88, 70)), 0.15, 0.2),
    "tiles": Surface(((140, 112, 96), (166, 138, 120), (188, 164, 146)), 0.12, 0.12),
    "water": Surface(((44, 86, 104), (62, 112, 130), (96, 146, 158)), 0.2, 0.06),
    "limestone": Surface(((132, 126, 114), (168, 162, 148), (206, 200, 188)), 0.2, 0.28),
    "scrub": Surface(((52, 62, 38), (80, 88, 54), (114, 116, 78)), 0.2, 0.28),
    "red earth": Surface(((118, 84, 58), (148, 112, 80), (176, 144, 110)), 0.18, 0.16),
    "flat green": Surface(((96, 132, 72), (100, 137, 76), (104, 142, 80)), 0.1, 0.0),
}

STREET_CLOTHES: tuple[Colour, ...] = (
    (30, 30, 34), (52, 54, 60), (38, 50, 82), (70, 92, 130), (120, 122, 126), (206, 206, 202), (226, 224, 216),
    (142, 40, 38), (92, 46, 44), (176, 150, 112), (92, 98, 66), (196, 172, 60), (66, 120, 110), (168, 96, 120),
)  # fmt: skip
OUTDOOR_CLOTHES: tuple[Colour, ...] = (
    (36, 38, 36), (64, 70, 52), (92, 90, 70), (54, 66, 90), (140, 132, 108), (186, 182, 170), (158, 52, 40),
    (196, 110, 40), (48, 92, 120), (112, 80, 58), (218, 216, 208),
)  # fmt: skip

URBAN = Domain(
    name="urban",
    stands_for="VisDrone (source)",
    statures=(11, 24),
    pitches=(30, 60),
    poses=(0.9, 0.1, 0.0),
    people=(3, 14),
    crowding=0.5,
    base="paving",
    layers=(
        Patch("concrete", 0.9),
        Plot("lawn", (0, 2), (5, 12)),
        Strip("asphalt", (1, 2), (6, 10), border="concrete", border_width=1.2, line="paint"),
    ),
    octaves=4,
    clutter=(("car", 1, 4), ("pole", 1, 4), ("post", 0, 4), ("bin", 0, 3), ("bush", 0, 3), ("tree", 0, 2),
             ("sign", 0, 2), ("roof", 0, 1), ("scooter", 0, 2)),
    clothes=STREET_CLOTHES,
    lens=Lens(blur=0.5, noise=6, quality=70),
)  # fmt: skip
PARK = Domain(
    name="park",
    stands_for="Okutama-Action",
    statures=(13, 28),
    pitches=(45, 90),
    poses=(0.75, 0.15, 0.1),
    people=(2, 8),
    crowding=0.35,
    base="lawn",
    layers=(
        Patch("meadow", 0.5),
        Patch("dirt", 1.5),
        Strip("concrete", (1, 1), (2.5, 6), border="gravel", border_width=0.3),
        Plot("asphalt", (0, 1), (8, 14)),
    ),
    octaves=4,
    clutter=(("pole", 0, 2), ("bush", 1, 5), ("tree", 0, 2), ("bag", 0, 3), ("bench", 0, 2), ("post", 0, 2),
             ("dog", 0, 1)),
    clothes=STREET_CLOTHES,
    lens=Lens(blur=0.6, noise=7, cast=(1.08, 1.0, 0.88), quality=65),
)  # fmt: skip
GARDEN = Domain(
    name="garden",
    stands_for="ICG Semantic Drone",
    statures=(22, 42),
    pitches=(78, 90),
    poses=(0.8, 0.1, 0.1),
    people=(1, 4),
    crowding=0.3,
    base="lawn",
    layers=(
        Patch("dry grass", 1.3),
        Plot("tiles", (0, 1), (4, 8)),
        Plot("soil", (0, 2), (1.5, 4)),
        Plot("water", (0, 1), (3, 5)),
        Strip("gravel", (0, 1), (1.2, 2.5), border="concrete", border_width=0.15),
    ),
    octaves=5,
    clutter=(("roof", 0, 1), ("bush", 1, 4), ("stone", 1, 5), ("chair", 0, 3), ("parasol", 0, 1), ("pot", 0, 4),
             ("dog", 0, 1), ("tree", 0, 1)),
    clothes=STREET_CLOTHES,
    lens=Lens(blur=0.3, noise=3, gamma=0.9, quality=85),
)  # fmt: skip
KARST = Domain(
    name="karst",
    stands_for="HERIDAL",
    statures=(8, 16),
    pitches=(60, 90),
    poses=(0.5, 0.2, 0.3),
    people=(1, 3),
    crowding=0.3,
    base="limestone",
    layers=(Patch("red earth", 0.7), Patch("scrub", 1.0), Strip("gravel", (0, 1), (2, 3.5))),
    octaves=6,
    clutter=(("stone", 8, 26), ("bush", 5, 14), ("tree", 0, 2), ("bag", 0, 1), ("stump", 0, 3)),
    clothes=OUTDOOR_CLOTHES,
    shadow=(0.35, 0.65),
    lens=Lens(blur=0.7, noise=9, quality=60),
)
QUARRY = Domain(
    name="quarry",
    stands_for="SARD",
    statures=(12, 26),
    pitches=(40, 75),
    poses=(0.35, 0.3, 0.35),
    people=(1, 5),
    crowding=0.25,
    base="dry grass",
    layers=(
        Patch("meadow", 0.4),
        Patch("sand", 1.0),
        Strip("dirt", (0, 1), (3, 4.5), border="gravel", border_width=0.4, line="dry grass", dashed=False),
    ),
    octaves=5,
    clutter=(("bush", 3, 9), ("stone", 2, 9), ("stump", 0, 3), ("bag", 0, 2), ("tree", 0, 2), ("pole", 0, 1)),
    clothes=OUTDOOR_CLOTHES,
    lens=Lens(blur=0.5, noise=7, quality=60),
)
SYNTHETIC = Domain(
    name="synthetic",
    stands_for="Archangel-Synthetic (pool)",
    statures=(9, 40),
    pitches=(20, 90),
    poses=(1 / 3, 1 / 3, 1 / 3),
    people=(1, 1),
    crowding=0.0,
    base="flat green",
    octaves=2,
    clothes=STREET_CLOTHES,
    shadow=(0.0, 0.0),
    synthetic=True,
)
DOMAINS = {domain.name: domain for domain in (URBAN, PARK, GARDEN, KARST, QUARRY, SYNTHETIC)}


def domain_for(name: str) -> Domain:
    """Return a domain by its name; raises ValueError for a name that is none."""
    if name not in DOMAINS:
        raise ValueError(f"there is no domain {name!r}; choose one of {', '.join(DOMAINS)}")
    return DOMAINS[name]
