"""How fast are our matching and average precision beside faster-coco-eval and pycocotools? Ratios of seconds, as JSON.

    OMP_NUM_THREADS=1 uv run python -m tests.benchmarks.bench_detections

500 images of 100 detections and 40 objects, one class, from arrays to the summary; what the two libraries need as
input is counted as theirs, since the arrays are what a detector gives. Best of three turns (pycocotools: one).
"""

import contextlib
import io
import json
import time

import numpy as np

from realfake.detections import Detections, GroundTruth, coco_format, coco_summary, headline, match

IMAGES, FOUND, TRUE, SIDE = 500, 100, 40, 1000


def case(seed=0):
    """Return objects and detections: half of the detections are objects moved by up to a fifth, half are anywhere."""
    rng = np.random.default_rng(seed)
    true = np.concatenate([rng.uniform(0, SIDE, (IMAGES, TRUE, 2)), rng.uniform(10, 120, (IMAGES, TRUE, 2))], axis=-1)
    copied = np.take_along_axis(true, rng.integers(0, TRUE, (IMAGES, FOUND // 2, 1)), axis=1)
    moved = copied + rng.uniform(-0.2, 0.2, copied.shape) * np.tile(copied[..., 2:], 2)
    other = np.concatenate([rng.uniform(0, SIDE, moved[..., :2].shape), rng.uniform(10, 120, moved[..., 2:].shape)], -1)
    boxes = np.concatenate([moved, other], axis=1).reshape(-1, 4)
    truth = GroundTruth.of(np.repeat(np.arange(IMAGES), TRUE), np.ones(IMAGES * TRUE, int), true.reshape(-1, 4))
    images = np.repeat(np.arange(IMAGES), FOUND)
    return truth, Detections.of(images, np.ones(IMAGES * FOUND, int), boxes, rng.random(IMAGES * FOUND))


def by_pycocotools(truth, found, images, categories):
    """Return pycocotools' average precision."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    described, detected = coco_format(truth, found, images, categories)
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = described
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(detected), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"ap": float(evaluation.stats[0])}


def best(turns, function, *arguments):
    """Return the least seconds of some turns, and the answer."""
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        answer = function(*arguments)
        seconds.append(time.perf_counter() - started)
    return min(seconds), answer


def main():
    """Print one JSON object."""
    truth, found = case()
    arguments = truth, found, np.arange(IMAGES), [1]
    ours, summary = best(3, coco_summary, *arguments)
    matching, _ = best(3, match, *arguments[:3])
    faster, by_faster = best(3, headline, *arguments)
    plain, by_plain = best(1, by_pycocotools, *arguments)
    print(
        json.dumps(
            {
                "detections": IMAGES * FOUND,
                "objects": IMAGES * TRUE,
                "ap": summary["ap"],
                "largest_difference_in_ap": max(abs(summary["ap"] - other["ap"]) for other in (by_faster, by_plain)),
                "seconds_ours": round(ours, 3),
                "seconds_ours_matching_only": round(matching, 3),
                "faster_coco_eval_over_ours": round(faster / ours, 2),
                "pycocotools_over_ours": round(plain / ours, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
