"""How near the people of images are to what a critic was trained on: the train2test distance at every true box.

This is what progressive transformation learning ranks virtual images by (arXiv 2211.01778, equations 3 and 4). Which
of them are taken is in ``syn2real.selection``; distances of detections in a test set are in ``detection_measures``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from realfake.objects import Objects
from realfake.samples import Samples
from realfake.spec import DetectionRecipe, Distances, address
from realfake.store import Store, StoreError
from realfake.syn2real.crops import cut, window
from realfake.tasks import detection
from realfake.tasks.feature_gaussians import Ruler, read_gaussian
from realfake.tasks.keeping import Found, features_at


@dataclass(frozen=True)
class Critic:
    """A trained detector, and the distances to what it found in its training images."""

    model: Any
    ruler: Ruler


def load(spec: Distances, store: Store, device: Any = "cpu") -> Critic:
    """Return the critic of distances. Raises StoreError when it found too little to measure a distance to."""
    recipe, folder = spec.critic.recipe, store.folder(spec.critic)
    assert isinstance(recipe, DetectionRecipe)
    ruler = Ruler.of(read_gaussian(folder / "gaussian.npz"), recipe.distance)
    if not ruler.measured:
        raise StoreError(
            f"{address(spec.critic)} knows no distance ({ruler.status}): it has learned too little to rank images by; "
            "give its recipe more examples, or more real images"
        )
    return Critic(detection.load(folder, spec.critic, device), ruler)


def distances(critic: Critic, images: Samples, scales: tuple[int, ...] = ()) -> np.ndarray:
    """Return for every image ``(n,)`` the distance of its nearest person; infinite for an image without people.

    With ``scales`` every person is cut out, seen at each of these sides in pixels, and the nearest of them counts.
    """
    objects = images.objects
    assert objects is not None
    seen = [_cut_out(critic, images, side) for side in scales] or [features_at(critic.model, images.images, objects)]
    of_object = np.min([critic.ruler.distance(found) for found in seen], axis=0)
    nearest = np.full(len(images), np.inf)
    np.minimum.at(nearest, objects.image, np.where(np.isnan(of_object) | objects.crowd, np.inf, of_object))
    return nearest


def _cut_out(critic: Critic, images: Samples, side: int) -> Found:
    """Return what the critic sees of every object in a square crop around it, ``side`` pixels wide."""
    objects = images.objects
    assert objects is not None
    crops = [cut(images.images[i], box, pixels=side)[0] for i, box in zip(objects.image, objects.box, strict=True)]
    boxes = []
    for box in objects.box:
        left, top, width = window(box)
        boxes.append(np.array([[box[0] - left, box[1] - top, box[2], box[3]]]) * side / width)
    if not crops:
        return features_at(critic.model, images.images, objects)
    return features_at(critic.model, np.stack(crops), Objects.of(boxes, [[label] for label in objects.label]))  # type: ignore[arg-type]
