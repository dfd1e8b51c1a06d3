"""Distances of many detections, AP_t2t with intervals, and how often those intervals hold the truth, in simulation.

    python -m tests.benchmarks.bench_representation --studies 200

Seconds are of the whole call: fitting the Gaussian to 50,000 × 256 features and measuring as many; three thresholds
with 1,000 draws over 55,000 detections on 550 images. The truth of the simulated scenes is AP_t2t of 60,000 images.
Prints one JSON document.
"""

import argparse
import json
import time

import numpy as np

import realfake
from realfake.representation.closeness_curves import curve
from tests.test_closeness import NORMALISATIONS, scene


def seconds(work):
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)


def speed():
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(50_000, 256)).astype(np.float32) for _ in range(2))
    realfake.train2test(train[:300], test[:10])  # imports
    many = scene(0, images=13_750)
    crowded = type(many)(
        many.image // 25, many.distance, many.score, many.matched, many.ground_truths.reshape(-1, 25).sum(1)
    )
    return {
        "train2test 50,000 × 256, seconds": seconds(lambda: realfake.train2test(train, test)),
        "detections": len(many.image),
        "curve, three thresholds, 1,000 draws, seconds": seconds(lambda: curve(crowded)),
    }


def coverage(studies, images, normalisation):
    """For each threshold: AP_t2t in truth, the share of intervals that hold it, and the mean error of the point."""
    truth = np.array([point.ap.point for point in curve(scene(10**6, 60_000), normalisation=normalisation, draws=1)])
    held, error = np.zeros(3), np.zeros(3)
    for seed in range(studies):
        aps = [point.ap for point in curve(scene(seed, images), normalisation=normalisation, draws=300, seed=seed)]
        held += [ap.low <= true <= ap.high for ap, true in zip(aps, truth, strict=True)]
        error += [ap.point - true for ap, true in zip(aps, truth, strict=True)]
    return {
        "truth": truth.round(3).tolist(),
        "held": (held / studies).round(3).tolist(),
        "error": (error / studies).round(4).tolist(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    studies = parser.parse_args().studies
    cells = [(images, normalisation) for images in (60, 240) for normalisation in NORMALISATIONS]
    covered = {
        f"{images} images, {normalisation}": coverage(studies, images, normalisation) for images, normalisation in cells
    }
    print(json.dumps({**speed(), "studies": studies, "coverage": covered}, indent=2))


if __name__ == "__main__":
    main()
