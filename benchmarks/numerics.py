"""What symc rounds off, against float64: the figures of docs/numerics.md.

    python benchmarks/numerics.py                        everything (minutes; the larger networks take most of it)
    python benchmarks/numerics.py layers --count 500     random 3x3 layers by direct sums and by Winograd's algorithm
    python benchmarks/numerics.py points                 which points Winograd's algorithm should use (by NumPy)
    python benchmarks/numerics.py networks resnet-18     networks by name, built-in or of Gluon's model zoo
    python benchmarks/numerics.py sums                   long sums and running ones

An error is max |result - float64's| / max |float64's|; the mean error takes the mean of the former. References are
NumPy's in float64; for networks, symc's own in float64 by direct sums, which are as good as exact beside float32.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

import symc as mx
from symc import models
from symc.codegen.contraction.winograd import TRANSFORMS, Transforms
from symc.codegen.cpu.contraction import plan

Array = np.ndarray
ZOO = (
    *models.names(),
    *("resnet34_v1", "resnet18_v2", "resnet50_v2", "vgg11", "vgg13_bn", "vgg19", "alexnet", "densenet121"),
    *("squeezenet1.0", "inceptionv3", "mobilenet0.5", "mobilenetv2_1.0"),
)
ALGORITHMS = {"direct sums": 0, "F(2x2, 3x3)": 2, "F(4x4, 3x3)": 4}
POINTS: tuple[tuple[float, ...], ...] = (
    (0, 1, -1),
    (0, 1, -1, 2, -2),
    (0, 1, -1, 1 / 2, -1 / 2),
    (0, 1, -1, 1 / 2, -2),
    (0, 1 / 2, -1 / 2, 3 / 2, -3 / 2),
    (0, 5 / 8, -5 / 8, 5 / 4, -5 / 4),
    (0, 11 / 16, -11 / 16, 3 / 2, -3 / 2),
    (0, 1, -1, 2, -2, 1 / 2, -1 / 2),
    (0, 1 / 2, -1 / 2, 1, -1, 3 / 2, -3 / 2),
)


def layer(outputs: int) -> mx.sym.Symbol:
    """A 3x3 layer; programs are cached under their graph, so its name says in which tiles it is computed."""
    name = f"tiles_of_{outputs}"
    return mx.sym.Convolution(mx.sym.Variable("x"), kernel=(3, 3), pad=(1, 1), num_filter=32, no_bias=True, name=name)


def errors(got: Array, want: Array) -> tuple[float, float]:
    """The largest and the mean error, relative to the largest value wanted."""
    difference = np.abs(got.astype("float64") - want)
    largest = np.abs(want).max()
    return float(difference.max() / largest), float(difference.mean() / largest)


@contextlib.contextmanager
def forced(outputs: int) -> Iterator[None]:
    """3x3 layers are computed in tiles of `outputs` x `outputs` wherever they can be; 0: by direct sums."""
    kept = plan.TRANSFORMS, plan.WORTHWHILE
    plan.TRANSFORMS, plan.WORTHWHILE = {n: t for n, t in TRANSFORMS.items() if n == outputs}, math.inf
    try:
        yield
    finally:
        plan.TRANSFORMS, plan.WORTHWHILE = kept


def layers(count: int) -> None:
    """Random layers: 16 to 512 channels, 5 to 56 pixels, data normal or past a relu, weights as He initialises them."""
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ALGORITHMS}
    alive = []  # executors that keep the kernels loaded
    for number in range(count):
        channels = 16 * int(2 ** rng.uniform(0, 5))
        extent = int(rng.integers(5, 57 if channels <= 128 else 29))
        data = rng.standard_normal((1, channels, extent, extent)).astype("float32")
        data = np.maximum(data, 0) if number % 2 else data
        weight = (rng.standard_normal((32, channels, 3, 3)) * math.sqrt(2 / 9 / channels)).astype("float32")
        want = convolved(data, weight)
        for name, outputs in ALGORITHMS.items():
            with forced(outputs):
                executor = layer(outputs).simple_bind(mx.cpu(), grad_req="null", x=data.shape)
                executor.arg_arrays[1][:] = weight
                (got,) = executor.forward(x=data)
                assert (name in executor.explain()) == bool(outputs), f"{channels} x {extent}: not by {name}"
            found[name].append(errors(got.asnumpy(), want))
            alive = [*alive[-3 * len(ALGORITHMS) :], executor]
    print(f"{'':14}{'median':>9}{'99 %':>9}{'largest':>9}{'mean':>9}   beside direct sums: median, 99 %, most")
    direct = np.array(found["direct sums"])[:, 0]
    for name, pairs in found.items():
        largest, mean = np.array(pairs).T
        figures = (np.median(largest), np.quantile(largest, 0.99), largest.max(), np.median(mean))
        ratio = largest / direct
        beside = (np.median(ratio), np.quantile(ratio, 0.99), ratio.max())
        print(f"{name:14}" + "".join(f"{x:9.1e}" for x in figures) + "   " + ", ".join(f"{x:.1f}" for x in beside))


def convolved(data: Array, weight: Array) -> Array:
    """A 3x3 convolution with a border of zeros, in float64."""
    padded = np.pad(data[0].astype("float64"), ((0, 0), (1, 1), (1, 1)))
    height, width = data.shape[2:]
    seen = [padded[:, i : i + height, j : j + width].reshape(len(padded), -1) for i, j in np.ndindex(3, 3)]
    weights = weight.astype("float64").reshape(len(weight), -1, 9)
    return sum(weights[:, :, tap] @ inputs for tap, inputs in enumerate(seen)).reshape(1, -1, height, width)


def points() -> None:
    """Tiles of a layer with 256 channels, transformed and summed in float32 by NumPy, for each choice of points."""
    for of in POINTS:
        transforms, rng, found = Transforms.at(*of), np.random.default_rng(0), []
        for _ in range(8):
            n, extent = 256, transforms.extent
            tiles = rng.standard_normal((n, 64, extent, extent)).astype("float32")
            weight = (rng.standard_normal((n, 8, 3, 3)) / 48).astype("float32")
            m = transforms.outputs
            want = sum(
                np.einsum("cnyx,co->onyx", tiles[..., i : i + m, j : j + m].astype("float64"), weight[..., i, j])
                for i, j in np.ndindex(3, 3)
            )
            found.append(errors(filtered(tiles, weight, transforms), want))
        largest, mean = np.mean(found, axis=0)
        print(f"F({m}x{m}) at {', '.join(f'{p:g}' for p in of)}: largest error {largest:.1e}, mean {mean:.1e}")


def filtered(tiles: Array, weight: Array, transforms: Transforms) -> Array:
    """Winograd's algorithm in float32, one channel after the other."""
    g, b, a = (np.array(m, "float32") for m in (transforms.weight, transforms.input, transforms.output))
    factors = np.einsum("ai,coij,bj->coab", g, weight, g)
    inputs = np.einsum("ai,cnij,bj->cnab", b, tiles, b)
    sums = np.zeros((weight.shape[1], *inputs.shape[1:]), "float32")
    for w, d in zip(factors, inputs):
        sums += w[:, None] * d
    return np.einsum("ai,onij,bj->onab", a, sums, a)


def networks(names: Sequence[str]) -> None:
    """Errors of what a network gives before its softmax."""
    runs = [("float32", "strict"), ("float32", "default"), ("float16", "default"), ("float16", "fast")]
    runs += [("float32", "bfloat16")]
    print(f"{'':18}{'largest value':>14}" + "".join(f"{f'{dtype} {numerics}':>22}" for dtype, numerics in runs))
    for name in names:
        _, shapes = network(name, "float32")
        data = np.random.default_rng(0).standard_normal(shapes["data"])
        want = output(name, data, "float64", "strict")
        row = [errors(output(name, data, *run), want) for run in runs]
        figures = "".join(f"{f'{largest:.1e}, {mean:.1e}':>22}" for largest, mean in row)
        print(f"{name:18}{np.abs(want).max():14.3g}{figures}", flush=True)


def network(name: str, dtype: str) -> tuple[mx.sym.Symbol, dict[str, tuple[int, ...]]]:
    """Its symbol without the softmax, and the shape of its data."""
    if name in models.names():
        model = models.get(name)
        (scores, *_) = model.symbol.get_children()
        return scores, dict(model.shapes)
    extent = 299 if name == "inceptionv3" else 224
    block = mx.gluon.model_zoo.vision.get_model(name, prefix=f"{name}_")
    block.cast(dtype)
    return block(mx.sym.Variable("data")), {"data": (1, 3, extent, extent)}


def output(name: str, data: Array, dtype: str, numerics: str) -> Array:
    """The network's result in a dtype, with seeded weights."""
    os.environ["SYMC_NUMERICS"] = numerics
    wide, shapes = network(name, "float32")
    arguments, states = models.init_params(wide, shapes)
    symbol, _ = network(name, dtype)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", type_dict={"data": dtype}, **shapes)
    executor.copy_params_from(arguments, states)
    (got,) = executor.forward(data=data.astype(dtype))
    return got.asnumpy()


def sums() -> None:
    """Sums, products and running sums of many numbers."""
    rng = np.random.default_rng(0)
    ones = mx.nd.ones((1 << 25,))
    print(f"dot of 2^25 ones - 2^25            {mx.nd.dot(ones, ones).asscalar() - (1 << 25):g}")
    print(f"sum of 2^25 ones - 2^25            {mx.nd.sum(ones).asscalar() - (1 << 25):g}")
    x, w = (rng.standard_normal((n, 10**6)).astype("float32") for n in (1, 8))
    for name, made in (("normal", lambda a: a), ("positive", np.abs)):
        got = mx.nd.FullyConnected(mx.nd.array(made(x)), mx.nd.array(made(w)), num_hidden=8, no_bias=True)
        want = made(x).astype("float64") @ made(w).astype("float64").T
        print(f"FullyConnected, 1e6 inputs, {name:9} {errors(got.asnumpy(), want)[0]:.1e}")
    values = rng.uniform(size=10**7).astype("float32")
    exact, array = values.astype("float64"), mx.nd.array(values)
    mean, variance = mx.nd.moments(array, axes=(0,))
    rows = mx.nd.array(values.reshape(10, -1))
    for name, got, want in (
        ("sum", mx.nd.sum(array), exact.sum()),
        ("mean", mean, exact.mean()),
        ("variance", variance, exact.var()),
        ("norm", mx.nd.norm(array), np.sqrt((exact**2).sum())),
        ("sum, rows", mx.nd.sum(rows, axis=1), exact.reshape(10, -1).sum(1)),
        ("sum, columns", mx.nd.sum(rows.T, axis=0), exact.reshape(10, -1).sum(1)),
        ("softmax", mx.nd.softmax(array), np.exp(exact) / np.exp(exact).sum()),
        ("cumsum", mx.nd.cumsum(array), np.cumsum(exact)),
    ):
        print(f"{name + ' of 1e7 in [0, 1)':35}{errors(got.asnumpy(), np.asarray(want))[0]:.1e}")


def main() -> None:
    """Runs the parts named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("layers", "points", "networks", "sums"), help="default: all")
    parser.add_argument("names", nargs="*", help="networks; default: " + ", ".join(ZOO))
    parser.add_argument("--count", type=int, default=500, help="layers; default 500")
    arguments = parser.parse_args()
    wanted = [arguments.part] if arguments.part else ["layers", "points", "networks", "sums"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYMC_CACHE_DIR"] = folder  # nobody else wants what is forced here
        if "layers" in wanted:
            layers(arguments.count)
        if "points" in wanted:
            points()
        if "networks" in wanted:
            networks(arguments.names or ZOO)
        if "sums" in wanted:
            sums()


if __name__ == "__main__":
    main()
