"""Microseconds of small and large `mx.nd` calls; the same file runs in symc and in the real MXNet.

python benchmarks/nd_calls.py
MXNET_MKLDNN_ENABLED=0 MXNET_PYTHON benchmarks/nd_calls.py --library mxnet
"""

import argparse
import importlib
import timeit


def best_us(mx, call, n_calls):
    """Time of one call, the best of five rounds."""
    call()
    mx.nd.waitall()
    rounds = []
    for _ in range(5):
        start = timeit.default_timer()
        for _ in range(n_calls):
            call()
        mx.nd.waitall()
        rounds.append((timeit.default_timer() - start) / n_calls)
    return min(rounds) * 1e6


def main():
    parser = argparse.ArgumentParser(description="Times of mx.nd calls; see benchmarks/README.md")
    parser.add_argument("--library", default="symc", help="symc (default) or mxnet")
    mx = importlib.import_module(parser.parse_args().library)
    nd = mx.nd
    x, y, w, out = nd.ones((3, 4)), nd.ones((3, 4)), nd.ones((4, 3)), nd.zeros((3, 4))
    row = nd.ones((4,))
    image, kernel = nd.ones((1, 3, 8, 8)), nd.ones((4, 3, 3, 3))
    small = {
        "nd.relu(x)": lambda: nd.relu(x),
        "nd.relu(x, out=z)": lambda: nd.relu(x, out=out),
        "x + y": lambda: x + y,
        "x + 2.0": lambda: x + 2.0,
        "x.sum()": lambda: x.sum(),
        "x.softmax()": lambda: x.softmax(),
        "nd.LayerNorm": lambda: nd.LayerNorm(x, row, row),
        "nd.dot(x, w)": lambda: nd.dot(x, w),
        "nd.FullyConnected": lambda: nd.FullyConnected(x, y, num_hidden=3, no_bias=True),
        "nd.Convolution": lambda: nd.Convolution(image, kernel, kernel=(3, 3), num_filter=4, no_bias=True),
        "x.transpose()": lambda: x.transpose(),
        "x.reshape((4, 3))": lambda: x.reshape((4, 3)),
        "x[1]": lambda: x[1],
        "x[:] = 1": lambda: x.__setitem__(slice(None), 1.0),
        "nd.zeros((3, 4))": lambda: nd.zeros((3, 4)),
        "nd.random.uniform": lambda: nd.random.uniform(shape=(3, 4)),
    }
    for name, call in small.items():
        print(f"{name:<20}{best_us(mx, call, 2000):9.1f}")
    functions = {"relu": nd.relu, "exp": nd.exp, "sum": nd.sum, "add": lambda a: a + a}
    for size in (1 << 14, 1 << 18, 1 << 22):
        a = nd.random.uniform(shape=(size,))
        for name, function in functions.items():
            call = lambda a=a, function=function: function(a)  # noqa: E731
            print(f"{name} of {size:<10}{best_us(mx, call, max(5, (1 << 23) // size)):9.1f}")


if __name__ == "__main__":
    main()
