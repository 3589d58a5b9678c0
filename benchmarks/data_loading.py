"""Images per second from a record file (JPEG, 256 x 256, cut to 224 x 224) by two workers, beside MXNet in turns.

Beside the speed stands what the library's process computes for an image (without worker processes): that number means
something on a busy machine, too.

python benchmarks/data_loading.py                            # symc alone
python benchmarks/data_loading.py --mxnet oracle/bin/python  # beside the MXNet of that Python
python benchmarks/data_loading.py --rounds 7 --images 512
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time

BATCH = 32
WORKERS = 2
MEAN, STD = (123.68, 116.28, 103.53), (58.395, 57.12, 57.375)


def loaders(mx, folder):
    """What is measured: functions that go through one epoch and return how many images it had."""
    place = os.path.join(folder, "images")
    transforms = mx.gluon.data.vision.transforms

    def of_records(**options):
        named = {
            kind + "_" + channel: v for kind, vs in (("mean", MEAN), ("std", STD)) for channel, v in zip("rgb", vs)
        }
        named.update(options)
        iterator = mx.io.ImageRecordIter(
            path_imgrec=place + ".rec", path_imgidx=place + ".idx", data_shape=(3, 224, 224), batch_size=BATCH,
            shuffle=True, rand_crop=True, rand_mirror=True, preprocess_threads=WORKERS, round_batch=False,
            verbose=False, **named
        )  # fmt: skip

        def epoch():
            iterator.reset()  # here, not at the end: MXNet begins the next epoch at once, while others have their turn
            n_images = 0
            for batch in iterator:
                batch.data[0].wait_to_read()
                n_images += BATCH - batch.pad
            return n_images

        return epoch

    def of_dataset(**options):
        steps = [
            transforms.CenterCrop(224), transforms.RandomFlipLeftRight(), transforms.ToTensor(),
            transforms.Normalize([m / 255 for m in MEAN], [s / 255 for s in STD]),
        ]  # fmt: skip
        dataset = mx.gluon.data.vision.ImageRecordDataset(place + ".rec").transform_first(transforms.Compose(steps))
        loader = mx.gluon.data.DataLoader(dataset, BATCH, shuffle=True, **options)

        def epoch():
            n_images = 0
            for data, _ in loader:
                data.wait_to_read()
                n_images += data.shape[0]
            return n_images

        return epoch

    return {
        "ImageRecordIter": of_records(),
        "ImageRecordIter ctx='cpu'": of_records(ctx="cpu"),  # with MXNet as many threads as there are cores
        "DataLoader, processes": of_dataset(num_workers=WORKERS),
        "DataLoader, threads": of_dataset(num_workers=WORKERS, thread_pool=True),
        "DataLoader, no workers": of_dataset(),
    }


def work(module, folder):
    """Runs an epoch of the loader that each line of the standard input names; prints images per second, ms an image."""
    mx = __import__(module)
    found = loaders(mx, folder)
    print("\n".join(found), end="\n\n")
    sys.stdout.flush()
    for line in sys.stdin:
        print(*timed(found[line.rstrip("\n")], may_fail=module == "mxnet"))
        sys.stdout.flush()


def timed(epoch, may_fail):
    """Images per second and ms an image of a whole epoch.

    NaN where it fails and may, which is told: threads of MXNet share a file, which soon ends their pool.
    """
    start, cpu_start = time.time(), time.process_time()
    try:
        n_images = epoch()
    except Exception as error:
        if not may_fail:
            raise
        print(f"data_loading: an epoch of MXNet's failed: {error!r}", file=sys.stderr)
        return math.nan, math.nan
    return n_images / (time.time() - start), (time.process_time() - cpu_start) / n_images * 1e3


class Worker:
    """A process with the loaders of one library."""

    def __init__(self, python, module, folder):
        command = [python, __file__, "--worker", module, folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = list(iter(lambda: self._read(), ""))

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("data_loading: a worker ended; its error is above")
        return line.rstrip("\n")

    def turn(self, name):
        """Images per second, and milliseconds of computing for an image."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return tuple(map(float, self._read().split()))


def make_records(folder, n_images):
    """Photograph-like JPEG images of 256 x 256: blurred noise, 30 KB each."""
    import cv2
    import numpy as np

    import symc as mx

    rng = np.random.default_rng(0)
    place = os.path.join(folder, "images")
    writer = mx.recordio.MXIndexedRecordIO(place + ".idx", place + ".rec", "w")
    for k in range(n_images):
        coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (256, 256, 3))
        record = mx.recordio.pack_img((0, k % 10, k, 0), np.clip(image, 0, 255).astype(np.uint8), quality=90)
        writer.write_idx(k, record)
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mxnet", metavar="PYTHON", help="a Python that has MXNet 1.9.1")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_records(folder, options.images)
        workers = {"symc": Worker(sys.executable, "symc", folder)}
        if options.mxnet:
            workers["mxnet"] = Worker(options.mxnet, "mxnet", folder)
        print(f"images per second, median (lowest to highest) of {options.rounds} rounds; ms of computing for an image")
        print(f"{'':<28}" + "".join(f"{library:<34}" for library in workers))
        for name in workers["symc"].names:
            print(f"{name:<28}" + race(workers, name, options.rounds), flush=True)


def race(workers, name, n_rounds):
    """A row of the table: the libraries in turns, of which the first warms up."""
    turns = {library: [] for library in workers}
    for k in range(-1, n_rounds):
        for library, worker in workers.items():
            found = worker.turn(name)
            if k >= 0:
                turns[library].append(found)
    cells, medians = [], []
    for found in turns.values():
        found = [turn for turn in found if not math.isnan(turn[0])] or [(math.nan, math.nan)]
        speeds, costs = (sorted(values) for values in zip(*found))
        medians.append(speeds[len(found) // 2])
        text = f"{medians[-1]:.0f} ({speeds[0]:.0f} to {speeds[-1]:.0f}), {costs[len(found) // 2]:.2f} ms"
        cells.append(f"{'fails' if math.isnan(medians[-1]) else text:<34}")
    is_beside = len(medians) > 1 and not math.isnan(medians[1])
    return "".join(cells) + (f"{medians[0] / medians[1]:.2f} times as fast" if is_beside else "")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
