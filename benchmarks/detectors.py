"""What detectors do behind their networks, called from Python: best times of a call, one thread.

python benchmarks/detectors.py                          this checkout
python benchmarks/detectors.py --cases SSD,proposals    some cases
python benchmarks/detectors.py --mxnet MXNET_PYTHON    both in turns, and how many times as fast symc is
MXNET_PYTHON benchmarks/detectors.py --library mxnet    the real one, in its own environment
"""

import argparse
import importlib
import os
import subprocess
import sys
import time

os.environ.setdefault("SYMC_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

N_ANCHORS, N_CLASSES = 8732, 21  # of SSD-300 on VOC
ROWS, COLUMNS = 38, 63  # of Faster R-CNN's features, stride 16


def corners(rng, n):
    """Boxes (n, 4) in fractions of an image."""
    centre, half = rng.uniform(0.1, 0.9, (n, 2)), rng.uniform(0.02, 0.3, (n, 2))
    return np.concatenate([centre - half, centre + half], 1)


def cases(mx):
    """Name, symbol, arrays by name, whether its gradient is taken, too."""
    rng, contrib = np.random.RandomState(0), mx.sym.contrib
    a, b, c = map(mx.sym.Variable, "abc")
    anchors = corners(rng, N_ANCHORS)
    scores = rng.dirichlet(np.r_[20, np.ones(N_CLASSES - 1) * 0.05], N_ANCHORS).T
    locations = rng.normal(size=(1, 4 * N_ANCHORS))
    detect = {"a": scores[None], "b": locations, "c": anchors[None]}
    for topk in (400, -1):
        symbol = contrib.MultiBoxDetection(a, b, c, nms_threshold=0.45, nms_topk=topk)
        yield f"SSD-300 detections, nms_topk {topk}", symbol, detect, False
    objects = np.stack([np.c_[rng.randint(0, 20, 10), corners(rng, 10)] for _ in range(8)])
    predictions = rng.normal(size=(8, N_CLASSES, N_ANCHORS))
    target = contrib.MultiBoxTarget(a, b, c, negative_mining_ratio=3)
    yield "SSD-300 targets, batch 8", target, {"a": anchors[None], "b": objects, "c": predictions}, False
    rows = np.stack([np.c_[np.full(N_ANCHORS, k), scores[k + 1], anchors] for k in range(N_CLASSES - 1)])
    symbol = contrib.box_nms(a, overlap_thresh=0.45, valid_thresh=0.01, topk=400, id_index=0)
    yield "GluonCV's SSD-300 box_nms, topk 400", symbol, {"a": rows.reshape(1, -1, 6)}, False
    for n, name in ((1, "Proposal"), (2, "MultiProposal")):
        symbol = getattr(contrib, name)(a, b, c)
        images = np.array([[ROWS * 16, COLUMNS * 16, 1]] * n)
        probabilities, moves = rng.uniform(size=(n, 24, ROWS, COLUMNS)), rng.normal(size=(n, 48, ROWS, COLUMNS)) * 0.2
        yield f"Faster R-CNN proposals, batch {n}", symbol, {"a": probabilities, "b": moves, "c": images}, False
    regions = np.c_[np.zeros(300), corners(rng, 300) * 600]
    symbol = contrib.PSROIPooling(a, b, spatial_scale=1 / 16, output_dim=21, pooled_size=7)
    yield "R-FCN regions", symbol, {"a": rng.normal(size=(1, 21 * 49, ROWS, COLUMNS)), "b": regions}, False
    arrays = {"a": (1, 128, ROWS, COLUMNS), "b": (1, 18, ROWS, COLUMNS), "c": (128, 128, 3, 3)}
    symbol = contrib.DeformableConvolution(a, b, c, kernel=(3, 3), pad=(1, 1), num_filter=128, no_bias=True)
    for trains in (False, True):
        yield "deformable convolution, 128 channels", symbol, {k: rng.normal(size=s) for k, s in arrays.items()}, trains
    symbol = mx.sym.Correlation(a, b, max_displacement=8, stride2=2, pad_size=8)
    for trains in (False, True):
        yield "correlation, 64 channels of 48 x 64", symbol, {k: rng.normal(size=(1, 64, 48, 64)) for k in "ab"}, trains
    labels = rng.randint(1, 80, (16, 20))
    yield "CTC, 100 steps, 20 labels", mx.sym.CTCLoss(a, b), {"a": rng.normal(size=(100, 16, 80)), "b": labels}, True


def best_time_s(mx, symbol, arrays, trains, rounds=15):
    """The fastest of some calls that wait for their results."""
    given = {name: mx.nd.array(array, dtype="float32") for name, array in arrays.items()}
    gradients = {name: mx.nd.zeros(array.shape) for name, array in arrays.items()} if trains else None
    executor = symbol.bind(mx.cpu(), given, args_grad=gradients, grad_req="write" if trains else "null")
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        outs = executor.forward(is_train=trains)
        if trains:
            executor.backward([mx.nd.ones(out.shape) for out in outs])
        mx.nd.waitall()
        found.append(time.perf_counter() - start)
    return min(found)


def report(library, wanted):
    """A line for each case: its name, the time."""
    mx = importlib.import_module(library)
    for name, symbol, arrays, trains in cases(mx):
        if any(word in name for word in wanted):
            what = "{}, {}".format(name, "forward and backward" if trains else "forward")
            print(f"{what:<64}{best_time_s(mx, symbol, arrays, trains) * 1e3:9.2f} ms", flush=True)


def compare(mxnet_python, wanted):
    """Both libraries twice in turns, each time in a new process; the best of either counts."""
    best_ms = {"symc": {}, "mxnet": {}}
    for library, python in (("symc", sys.executable), ("mxnet", mxnet_python)) * 2:
        command = [python, __file__, "--library", library, "--cases", ",".join(wanted)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        for name, ms in ((line[:64].strip(), float(line[64:].split()[0])) for line in lines):
            best_ms[library][name] = min(ms, best_ms[library].get(name, ms))
    for name, ms in best_ms["symc"].items():
        theirs = best_ms["mxnet"][name]
        print(f"{name:<64}{ms:9.2f} ms, MXNet {theirs:9.2f} ms: {theirs / ms:.2f} times as fast")


def main():
    parser = argparse.ArgumentParser(description="What detectors do behind their networks; see benchmarks/README.md")
    parser.add_argument(
        "--cases", type=lambda text: text.split(","), default=[""], help="parts of names, by commas (default: all)"
    )
    parser.add_argument("--mxnet", metavar="PYTHON", help="a Python that has MXNet 1.9.1: both libraries in turns")
    parser.add_argument("--library", default="symc", help="whose times alone, symc's (default) or mxnet's")
    arguments = parser.parse_args()
    if arguments.mxnet:
        compare(arguments.mxnet, arguments.cases)
    else:
        report(arguments.library, arguments.cases)


if __name__ == "__main__":
    main()
