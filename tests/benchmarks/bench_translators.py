"""How many people a second does each translator make look real, on one thread of a CPU?

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_translators --crops 64 --steps 20

Crops have 32 pixels. Seconds are of the process's own CPU time, so that another process on the machine counts little.
For each translator: milliseconds of one fitting step (0: nothing is fitted by steps), crops a second, and the mean
change in grey levels. Cutting people out of images of 320 pixels and pasting them back is timed beside them, and so
are the keys of 17,280 images. Image-to-image depends on the user's model alone and is left out. Prints one JSON
document.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from realfake import syn2real
from realfake.generators.procedural import render
from realfake.syn2real import NETWORKS, TRANSLATORS, Settings, crops, selection


def cpu_seconds(work):
    """What a call takes of this process's time, and what it returns."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def scenes(domain, n):
    """Images, starts, boxes and masks of scenes of 320 pixels with n people or a few more."""
    drawn, seen = [], 0
    while seen < n:
        drawn.append(render(domain, len(drawn), seed=1, pixels=320, gap=1.0))
        seen += len(drawn[-1].boxes)
    start = np.cumsum([0] + [len(scene.boxes) for scene in drawn])
    boxes = np.concatenate([scene.boxes for scene in drawn])
    return np.stack([scene.image for scene in drawn]), start, boxes, np.stack([scene.labels for scene in drawn])


def speed(name, source, target, steps):
    """One translator's figures."""
    with tempfile.TemporaryDirectory() as folder:
        first = Settings(steps=1)
        syn2real.fit(name, first, source, target, Path(folder))  # imports
        short, _ = cpu_seconds(lambda: syn2real.fit(name, first, source, target, Path(folder)))
        long, _ = cpu_seconds(lambda: syn2real.fit(name, Settings(steps=1 + steps), source, target, Path(folder)))
        loaded = syn2real.load(name, Path(folder))
    seconds, made = cpu_seconds(lambda: syn2real.transform(loaded, source.crops, source.masks, range(len(source))))
    return {
        "ms_a_fitting_step_of_8": round(1000 * (long - short) / steps, 1) if name in NETWORKS else 0,
        "crops_a_second": round(len(source) / max(seconds, 1e-6)),
        "mean_change": round(float(np.abs(made.astype(int) - source.crops).mean()), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    virtual, real = scenes("synthetic", options.crops), scenes("urban", options.crops)
    cutting, source = cpu_seconds(lambda: crops.people(*virtual))
    pasting, _ = cpu_seconds(lambda: crops.paste_people(*virtual, np.rot90(source.crops, axes=(1, 2))))
    target, ids = crops.people(*real), np.arange(17_280)
    keys, _ = cpu_seconds(lambda: selection.order(ids, selection.keys(ids, ids * 0.01, 5.0, seed=0)))
    figures = {name: speed(name, source, target, options.steps) for name in TRANSLATORS if name != "sd-img2img"}
    people = {
        "people_cut_a_second": round(len(source) / cutting),
        "people_pasted_a_second": round(len(source) / pasting),
    }
    print(json.dumps({**people, "seconds_for_17280_keys": round(keys, 3), **figures}, indent=1))


if __name__ == "__main__":
    main()
