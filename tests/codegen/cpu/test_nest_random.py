"""Random nests (layouts, dtypes, nested reductions, several stores) against the interpreter."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target
from symc.loopir.expr import Axis, Expr, cast, const, index_value, load, param, prim, reduce, select
from symc.loopir.kernel import Buffer, Nest, Store
from symc.loopir.prims import PRIMS
from tests.codegen.kernels import targets
from tests.codegen.nests import check, rand

DTYPES = ("float32",) * 6 + ("float16", "uint8", "int32", "bool")


class RandomNest:
    """One nest, a function of its seed; `values` holds its inputs."""

    def __init__(self, seed: int) -> None:
        self.random, self.seed = random.Random(seed), seed
        self.buffers: list[Buffer] = []
        self.values: dict[str, np.ndarray] = {}
        pick = self.random.choice
        extents = [pick((1, 2, 3, 5, 8, 16, 17, 33)) for _ in range(self.random.randint(1, 4))]
        while np.prod(extents) > 6000:
            extents[self.random.randrange(len(extents))] = 2
        self.axes = [Axis(f"x{k}", e) for k, e in enumerate(extents)]
        self.dtype = pick(("float32", "float32", "float32", "float16", "float64"))
        value = self.expr(self.axes, self.random.randint(1, 4))
        stores = [self.store("out", value, self.dtype, pick(("set", "set", "set", "add")))]
        if self.random.random() < 0.4:
            stores.append(self.store("out2", value * 2.0 + self.expr(self.axes, 1), "float32", "set"))
        self.nest = Nest(tuple(self.buffers), tuple(stores))

    def store(self, name: str, value: Expr, dtype: str, mode: str) -> Store:
        self.buffer(self.axes, name, dtype)
        if mode == "add":
            self.values[name] = rand(tuple(a.extent for a in self.axes), dtype)
        order = tuple(self.random.sample(self.axes, len(self.axes)))
        value = cast(value, "float64") if dtype == "float64" else value
        return Store(name, tuple(self.axes), value, order, mode)  # type: ignore[arg-type]

    def buffer(self, over: list[Axis], name: str, dtype: str) -> Buffer:
        """Axes in any order in memory, sometimes with gaps, backwards, or with an offset."""
        order = self.random.sample(range(len(over)), len(over))
        strides, step = [0] * len(over), self.random.choice((1, 1, 1, 2))
        for k in order:
            strides[k] = -step if self.random.random() < 0.1 else step
            step *= over[k].extent
        start = sum(-s * (a.extent - 1) for s, a in zip(strides, over) if s < 0)
        offset = start + self.random.choice((0, 0, 3))
        self.buffers.append(Buffer(name, tuple(a.extent for a in over), dtype, tuple(strides), offset))
        return self.buffers[-1]

    def leaf(self, axes: list[Axis]) -> Expr:
        r = self.random.random()
        if r < 0.15:
            return (param if r < 0.1 else const)(self.random.choice((0.5, 1.5, -2.0)), "float32")
        if r < 0.22 and axes:
            place = self.random.choice(axes) * self.random.randint(1, 3) + self.random.randint(-2, 2)
            return cast(index_value(place), "float32")
        over = [a for a in axes if self.random.random() < 0.75]
        name, dtype = f"b{len(self.buffers)}", self.random.choice(DTYPES)
        shape = self.buffer(over, name, dtype).shape
        self.values[name] = rand(shape, dtype, self.seed + len(self.buffers))
        return cast(load(name, tuple(over), "float32" if dtype == "float16" else dtype), "float32")

    def expr(self, axes: list[Axis], depth: int) -> Expr:
        r = self.random.random()
        if depth == 0 or r < 0.12:
            return self.leaf(axes)
        if r < 0.35:
            over = [Axis(f"r{self.random.random()}", self.random.choice((1, 2, 5, 7, 17, 33)))
                    for _ in range(self.random.randint(1, 2))]  # fmt: skip
            if self.random.random() < 0.3 and axes:
                over = [self.random.choice(axes)]  # the name of a store axis, bound anew
            body = self.expr(list(dict.fromkeys(axes + over)), depth - 1)
            return reduce(self.random.choice(("sum", "max", "min")), tuple(over), body) * 0.1
        if r < 0.5:
            return prim(self.random.choice(("tanh", "sigmoid", "abs", "neg")), self.expr(axes, depth - 1))
        if r < 0.6:
            condition = self.expr(axes, depth - 1)
            return select(condition > 0.0, self.expr(axes, depth - 1), condition)
        name = self.random.choice(("add", "sub", "mul", "maximum", "minimum"))
        assert PRIMS[name].arity == 2
        return prim(name, self.expr(axes, depth - 1), self.expr(axes, depth - 1))


@pytest.mark.parametrize("seed", range(24))
def test_random_nest(seed: int) -> None:
    made = RandomNest(seed)
    tolerance = 2e-2 if made.dtype == "float16" else 2e-4
    for target in targets()[seed % 2 :: 2]:
        check(made.nest, made.values, target, rtol=tolerance, atol=10 * tolerance)


def names(n: int) -> list[str]:
    """The kernels of the first `n` nests for a machine of any kind."""
    target = Target("x86_64-linux-gnu", "any", "", 512)
    return [call.code.name for seed in range(n) for call in schedule_nest(RandomNest(seed).nest, target)]


def test_plans_do_not_depend_on_the_order_of_sets() -> None:
    """Names are equal in every process, whatever its strings hash to."""
    program = f"from {__name__} import names; print(*names(24))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    ]  # fmt: skip
    assert runs[0] == runs[1]
