"""Samples of a renderer: scenes of ``procedural`` by index, as images with objects and masks. Nothing is fitted."""

from collections.abc import Sequence

import numpy as np

from realfake.generators import Drawn
from realfake.generators.procedural import Scene, render
from realfake.objects import Objects
from realfake.samples import seed_of
from realfake.spec import Procedural


def draw(generator: Procedural, pool_seed: int, indices: Sequence[int]) -> Drawn:
    """Return the scenes ``indices`` of a renderer, each a pure function of spec, pool seed and index."""
    seed = seed_of("rendered", generator.seed, pool_seed)
    options = {"pixels": generator.pixels, "gap": generator.gap, "zoom": generator.zoom}
    return of_scenes([render(generator.domain, int(index), seed, **options) for index in indices])


def of_scenes(scenes: Sequence[Scene]) -> Drawn:
    """Return scenes of one size as arrays."""
    objects = Objects.of([scene.boxes for scene in scenes])
    return Drawn(np.stack([s.image for s in scenes]), objects, np.stack([s.labels for s in scenes]))
