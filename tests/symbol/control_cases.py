"""Symbols with control flow, and what MXNet 1.9.1 makes of them: `python -m tests.symbol.control_cases`, with its
Python, records JSON, names, outputs and gradients into recorded_control.npz."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).with_name("recorded_control.npz")


def layer(mx):
    """An outer value as data, a weight as free value, a state that is a result as well."""
    x, s, w = (mx.sym.var(n) for n in "xsw")

    def step(row, states):
        h = mx.sym.FullyConnected(row, weight=w, num_hidden=3, no_bias=True, name="fc") + states[0]
        return h, [mx.sym.tanh(h)]

    out, states = mx.sym.contrib.foreach(step, x * 2, [s])
    return mx.sym.Group([out, states[0]]), {"x": (4, 2, 5), "s": (2, 3), "w": (3, 5)}


def sums(mx):
    """A while loop that ends by its condition."""
    outs, last = mx.sym.contrib.while_loop(
        lambda i, a: i < 5,
        lambda i, a: ([i + a, a * 1], [i + 1, a + i]),
        [mx.sym.var("i"), mx.sym.var("a")],
        max_iterations=9,
    )
    return mx.sym.Group(outs + last), {"i": (1,), "a": (1,)}


def branches(mx):
    """Variables from outside in both branches, the condition computed outside."""
    a, b = mx.sym.var("a"), mx.sym.var("b")
    return mx.sym.contrib.cond(a * b < 5, lambda: (a + 5) * (b + 5), lambda: (a - 5) * (b - 5)), {"a": (1,), "b": (1,)}


def nested(mx):
    """Loops in loops over outer values of both levels, one of them the second output of its node."""
    x, s, w = (mx.sym.var(n) for n in "xsw")
    scale = mx.sym.exp(w)
    parts = mx.sym.split(mx.sym.var("p"), num_outputs=2, axis=0, squeeze_axis=True)

    def inner(row, state):
        return [row * scale + state, state], state + row * mx.sym.tanh(parts[1])

    def outer(rows, state):
        outs, last = mx.sym.contrib.foreach(inner, rows, state)
        return [outs[0], outs[1], w, last], last * 0.5

    outs, last = mx.sym.contrib.foreach(outer, x, s)
    return mx.sym.Group([*outs, last]), {"x": (3, 2, 4), "s": (4,), "w": (4,), "p": (2, 4)}


def lists(mx):
    """Nested lists, and variables made by what the body calls."""
    x, y, z = (mx.sym.var(n) for n in "xyz")

    def step(row, states):
        (a, b), c = row
        return [[a + states[0]], mx.sym.FullyConnected(b, num_hidden=2, name="in")], [states[0] + c]

    outs, last = mx.sym.contrib.foreach(step, [[x, y], z], [mx.sym.var("s")])
    shapes = {"x": (3, 2, 2), "y": (3, 2, 4), "z": (3, 2, 2), "s": (2, 2), "in_weight": (2, 4), "in_bias": (2,)}
    return mx.sym.Group([outs[0][0], outs[1], last[0]]), shapes


def chosen(mx):
    """A condition in a loop; MXNet makes the symbol, but does not infer its shapes."""

    def step(row, state):
        made = mx.sym.contrib.cond(mx.sym.sum(row) > 0, lambda: row * state, lambda: row - state)
        return made, state + made

    out, last = mx.sym.contrib.foreach(step, mx.sym.var("x"), mx.sym.var("s"))
    return mx.sym.Group([out, last]), {"x": (4, 3), "s": (3,)}


def bounded(mx):
    """A while loop that its limit ends, over outer values; MXNet does not find its gradients."""
    k = mx.sym.var("k")
    u = mx.sym.sin(k)
    out, last = mx.sym.contrib.while_loop(
        lambda i, s: mx.sym.sum(s) < mx.sym.sum(k) + 1000,
        lambda i, s: (s * u, [i + 1, s + u * u + 1]),
        [mx.sym.var("i"), mx.sym.var("s")],
        max_iterations=5,
    )
    return mx.sym.Group([out, *last]), {"k": (3,), "i": (1,), "s": (3,)}


def numbers(mx):
    """Data without further axes, whose rows have one."""
    out, last = mx.sym.contrib.foreach(lambda row, s: (row * s, s + row), mx.sym.var("x"), mx.sym.var("s"))
    return mx.sym.Group([out, last]), {"x": (4,), "s": (1,)}


CASES = {f.__name__: f for f in (layer, sums, branches, nested, lists, numbers, chosen, bounded)}
ROUNDS = {"sums": 5}  # that take place; MXNet leaves what memory holds in the rows of others
LIMITED = ("chosen", "bounded")  # made, but not run by MXNet


def made(mx, case):
    """The symbol with the names that a fresh process gives, and the shapes of its arguments."""
    mx.AttrScope._subgraph_names.clear()
    with mx.name.NameManager():
        return case(mx)


def run(mx, symbol, shapes) -> dict[str, np.ndarray]:
    """Outputs and gradients at random places."""
    rng = np.random.RandomState(3)
    arrays = {n: mx.nd.array(rng.randn(*shapes[n])) for n in sorted(shapes)}
    grads = {n: mx.nd.zeros(a.shape) for n, a in arrays.items()}
    executor = symbol.bind(mx.cpu(), arrays, args_grad=grads)
    outs = executor.forward(is_train=True)
    found = {f"out{k}": o.asnumpy() for k, o in enumerate(outs)}
    executor.backward([mx.nd.array(rng.randn(*o.shape)) for o in outs])
    return {**found, **{f"grad_{n}": g.asnumpy() for n, g in grads.items()}}


if __name__ == "__main__":
    os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"
    import mxnet

    recorded = {}
    for name, case in CASES.items():
        symbol, shapes = made(mxnet, case)
        recorded[f"{name}.json"] = np.array(symbol.tojson())
        recorded[f"{name}.args"] = np.array(symbol.list_arguments())
        recorded[f"{name}.outs"] = np.array(symbol.list_outputs())
        if name not in LIMITED:
            found = {key: value[: ROUNDS.get(name)] for key, value in run(mxnet, symbol, shapes).items()}
            recorded.update((f"{name}.{key}", value) for key, value in found.items())
    np.savez_compressed(RECORDED, **recorded)
