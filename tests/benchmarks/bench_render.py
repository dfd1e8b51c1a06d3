"""How fast are aerial scenes drawn? Images a second of one core, by domain and size.

    OMP_NUM_THREADS=1 uv run python -m tests.benchmarks.bench_render

CPU seconds are counted, so that another process on the machine counts little; boxes and masks are included. The
prototype that this renderer follows took 12 ms for an image of 128 × 128 pixels with boxes and masks.
"""

import time

from realfake.aerial.domains import DOMAINS
from realfake.generators.procedural import render

SCENES, SIZES = 20, (128, 256, 320)


def images_a_second(name, pixels):
    """Return how many scenes of a domain are drawn in a second of CPU time, labels included."""
    render(name, 0, pixels=pixels)
    started = time.process_time()
    for index in range(1, SCENES + 1):
        assert render(name, index, pixels=pixels).masks.shape[1:] == (pixels, pixels)
    return SCENES / (time.process_time() - started)


def main():
    """Print one line a domain."""
    print("images/s".ljust(12), *(f"{pixels:>6} px" for pixels in SIZES))
    for name in DOMAINS:
        print(name.ljust(12), *(f"{images_a_second(name, pixels):>9.0f}" for pixels in SIZES))


if __name__ == "__main__":
    main()
