"""One hybridized network for images of many sizes: the first call of each, those after it, and what memory that takes.

    python benchmarks/shapes.py [--network resnet50_v1] [--sizes 224,128,144] [--calls 7]

With one thread. Every size has a program of its own; programs and kernels come from the cache from the second run on.
`us/pixel` is the fastest call by the area of the image: level, if a size costs nothing but its work.
"""

from __future__ import annotations

import argparse
import resource
import time

import symc as mx
from symc.gluon.model_zoo import vision

SIZES = "224,128,144,160,176,192,200,208,216,232,240,248"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet50_v1", help="of Gluon's model zoo (default: %(default)s)")
    parser.add_argument("--sizes", default=SIZES, help="of the images (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=7, help="after the first one (default: %(default)s)")
    args = parser.parse_args()
    mx.set_num_threads(1)
    network = vision.get_model(args.network)
    network.initialize()
    network.hybridize()
    print(f"{'size':>4} {'first ms':>9} {'later ms':>9} {'us/pixel':>9} {'memory MB':>10}")
    for size in map(int, args.sizes.split(",")):
        image = mx.nd.random.uniform(shape=(1, 3, size, size))
        first, *later = [timed(network, image) for _ in range(1 + args.calls)]
        memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        least = min(later)
        print(f"{size:4} {first * 1e3:9.0f} {least * 1e3:9.1f} {least * 1e6 / size**2:9.2f} {memory_mb:10}")


def timed(network: mx.gluon.HybridBlock, image: mx.nd.NDArray) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    network(image).wait_to_read()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
