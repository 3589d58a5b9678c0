"""A hypothesis strategy: random graphs over many operators, with the arrays to run them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.ir.text import graph_text

from ..ops.reference import make_op

DTYPE = "float64"  # rounding stays far below what a wrong graph would change
SIZES = (1, 2, 3, 5)
UNARY = ("sin", "tanh", "sigmoid", "negative", "square", "_copy", "arctan", "softsign")
KINKED = ("relu", "abs", "sign")
SCALAR = ("_plus_scalar", "_mul_scalar", "_rminus_scalar", "_minus_scalar")
MAX_SIZE = 600


@dataclass(frozen=True, repr=False)
class Example:
    """A graph with heads, the array of every input, and what is asked for."""

    graph: Graph
    feeds: dict[str, np.ndarray]
    grad_req: dict[str, str]

    def __repr__(self) -> str:
        mode = "training" if self.graph.training else "predicting"
        return f"{mode} {self.grad_req}\n{graph_text(self.graph)}"

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(repr(self))  # how hypothesis shows it


class Maker:
    """Draws nodes one by one; the result of each may feed any later one."""

    def __init__(self, draw: Callable, training: bool, is_smooth: bool) -> None:
        self.draw, self.is_smooth = draw, is_smooth
        self.g = GraphBuilder(training=training)
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.n_nodes = 0

    # -- drawing ------------------------------------------------------------------------------------------------------

    def one_of(self, options: Sequence):
        return self.draw(st.sampled_from(list(options)))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.integer(1, 4) if rank is None else rank
        return tuple(self.one_of(SIZES) for _ in range(rank))

    def input(self, shape: Sequence[int], role: str = "argument") -> Value:
        v = self.g.input(f"{'x' if role == 'argument' else 's'}{len(self.inputs)}", tuple(shape), DTYPE, role)
        self.inputs.append(v)
        return v

    def operand(self, shape: Sequence[int]) -> Value:
        """A value of a given shape: one there is, or a new input."""
        fitting = [v for v in self.values if self.g.shape(v) == tuple(shape)]
        return self.one_of(fitting) if fitting and self.flag() else self.input(shape)

    def value(self, *ranks: int) -> Value:
        """A value of one of the ranks (any when none is given): one there is, or a new input."""
        fitting = [v for v in self.values if not ranks or len(self.g.shape(v)) in ranks]
        return self.one_of(fitting) if fitting else self.input(self.shape(self.one_of(ranks) if ranks else None))

    def apply(self, name: str, *inputs: Value, **params) -> None:
        node = self.g.apply(make_op(name, params), inputs, name=f"n{self.n_nodes}")
        self.n_nodes += 1
        sizes = [int(np.prod(self.g.shape(node[k]))) for k in range(node.operator.n_visible())]
        if max(sizes) <= MAX_SIZE:
            self.values += [node[k] for k in range(len(sizes))]

    def axis(self, v: Value) -> int:
        rank = len(self.g.shape(v))
        return self.integer(-rank, rank - 1)

    # -- families -----------------------------------------------------------------------------------------------------

    def unary(self) -> None:
        self.apply(self.one_of(UNARY if self.is_smooth else UNARY + KINKED), self.value())

    def scalar(self) -> None:
        self.apply(self.one_of(SCALAR), self.value(), scalar=self.one_of([0.0, 1.0, -0.5, 0.75]))

    def binary(self) -> None:
        a = self.value()
        names = ["elemwise_add", "elemwise_sub", "elemwise_mul", *([] if self.is_smooth else ["_maximum"])]
        self.apply(self.one_of(names), a, self.operand(self.g.shape(a)))

    def broadcast(self) -> None:
        a = self.value()
        shape = [1 if self.flag() else n for n in self.g.shape(a)][self.integer(0, len(self.g.shape(a)) - 1) :]
        pair = [a, self.operand(shape)]
        names = ["broadcast_add", "broadcast_mul", "broadcast_sub", *([] if self.is_smooth else ["broadcast_minimum"])]
        self.apply(self.one_of(names), *(reversed(pair) if self.flag() else pair))

    def add_n(self) -> None:
        a = self.value()
        n = self.integer(1, 3)
        self.apply("add_n", a, *(self.operand(self.g.shape(a)) for _ in range(n - 1)), num_args=n)

    def reduce(self) -> None:
        a = self.value()
        rank = len(self.g.shape(a))
        axes = tuple(k for k in range(rank) if self.flag())
        names = ["sum", "mean", *([] if self.is_smooth else ["max", "min"])]
        self.apply(self.one_of(names), a, axis=axes, keepdims=self.flag())

    def move(self) -> None:
        a = self.value()
        shape = self.g.shape(a)
        kind = self.one_of(["transpose", "reshape", "flatten", "expand", "reverse", "tile", "repeat", "swap", "spread"])
        if kind == "transpose":
            self.apply("transpose", a, axes=tuple(self.draw(st.permutations(range(len(shape))))))
        elif kind == "reshape":
            self.apply("Reshape", a, shape=self.one_of([(-1,), (0, -1), (1, -1), (-1, shape[-1])]))
        elif kind == "flatten":
            self.apply("Flatten", a)
        elif kind == "expand" and len(shape) < 4:
            self.apply("expand_dims", a, axis=self.integer(0, len(shape)))
        elif kind == "reverse":
            self.apply("reverse", a, axis=(self.axis(a),))
        elif kind == "tile":
            self.apply("tile", a, reps=(self.integer(1, 2), self.integer(1, 2)))
        elif kind == "repeat":
            self.apply("repeat", a, repeats=self.integer(1, 2), axis=self.axis(a))
        elif kind == "spread" and 1 in shape:
            at = shape.index(1)
            self.apply("broadcast_axis", a, axis=(at,), size=(self.integer(1, 3),))
        else:
            self.apply("SwapAxis", a, dim1=self.axis(a), dim2=self.axis(a))

    def slice(self) -> None:
        a = self.value()
        at = self.axis(a)
        extent = self.g.shape(a)[at]
        begin = self.integer(0, extent - 1)
        self.apply("slice_axis", a, axis=at, begin=begin, end=self.integer(begin + 1, extent))

    def split(self) -> None:
        a = self.value(2, 3, 4)
        at = self.axis(a)
        extent = self.g.shape(a)[at]
        self.apply("SliceChannel", a, num_outputs=extent, axis=at, squeeze_axis=self.flag())

    def concat(self) -> None:
        a = self.value(2, 3, 4)
        at = self.axis(a) % len(self.g.shape(a))
        parts = [a]
        for _ in range(self.integer(0, 2)):
            shape = list(self.g.shape(a))
            shape[at] = self.one_of([shape[at], 1, 3])
            parts.append(self.operand(shape))
        self.apply("Concat", *parts, dim=at, num_args=len(parts))

    def stack(self) -> None:
        a = self.value(1, 2, 3)
        parts = [a, self.operand(self.g.shape(a))]
        self.apply("stack", *parts, axis=self.integer(0, len(self.g.shape(a))), num_args=2)

    def dense(self) -> None:
        a = self.value(2, 3, 4)
        shape, flatten, n = self.g.shape(a), self.flag(), self.one_of(SIZES)
        weight = self.operand((n, int(np.prod(shape[1:])) if flatten else shape[-1]))
        bias = [] if self.flag() else [self.operand((n,))]
        self.apply("FullyConnected", a, weight, *bias, num_hidden=n, flatten=flatten, no_bias=not bias)

    def dot(self) -> None:
        a = self.value(2)
        left, right = self.flag(), self.flag()
        k = self.g.shape(a)[0 if left else 1]
        b = self.operand((self.one_of(SIZES), k) if right else (k, self.one_of(SIZES)))
        self.apply("dot", a, b, transpose_a=left, transpose_b=right)

    def batch_dot(self) -> None:
        a = self.value(3)
        n, _, k = self.g.shape(a)
        self.apply("batch_dot", a, self.operand((n, k, self.one_of(SIZES))))

    def convolution(self) -> None:
        a = self.value(3, 4)
        shape = self.g.shape(a)
        n_spatial = len(shape) - 2
        groups = shape[1] if self.flag() else 1
        filters = groups * self.one_of([1, 2, 3])
        kernel = tuple(self.integer(1, min(3, n)) for n in shape[2:])
        params = dict(
            kernel=kernel,
            stride=tuple(self.integer(1, 2) for _ in range(n_spatial)),
            pad=tuple(self.integer(0, k - 1) for k in kernel),
            num_filter=filters,
            num_group=groups,
        )
        bias = [] if self.flag() else [self.operand((filters,))]
        if self.flag():
            weight = self.operand((filters, shape[1] // groups, *kernel))
            self.apply("Convolution", a, weight, *bias, no_bias=not bias, **params)
        else:
            weight = self.operand((shape[1], filters // groups, *kernel))
            self.apply("Deconvolution", a, weight, *bias, no_bias=not bias, **params)

    def pool(self) -> None:
        a = self.value(3, 4)
        kernel = tuple(self.integer(1, min(3, n)) for n in self.g.shape(a)[2:])
        stride = tuple(self.integer(1, 2) for _ in kernel)
        pad = tuple(self.integer(0, k // 2) for k in kernel)
        params = dict(kernel=kernel, stride=stride, pad=pad)
        kinds = ["avg", "sum", *([] if self.is_smooth else ["max"])]
        self.apply("Pooling", a, pool_type=self.one_of(kinds), global_pool=self.flag(), **params)

    def batch_norm(self) -> None:
        a = self.value(2, 3, 4)
        channels = (self.g.shape(a)[1],)
        states = [self.input(channels, "aux") for _ in range(2)]
        params = dict(eps=0.1, fix_gamma=self.flag(), use_global_stats=self.flag())
        self.apply("BatchNorm", a, self.input(channels), self.input(channels), *states, **params)

    def softmax(self) -> None:
        a = self.value()
        self.apply(self.one_of(["softmax", "log_softmax"]), a, axis=self.axis(a))

    def layer_norm(self) -> None:
        a = self.value(2, 3)
        at = self.axis(a)
        channels = (self.g.shape(a)[at],)
        self.apply("LayerNorm", a, self.operand(channels), self.operand(channels), axis=at, eps=0.1)

    def loss(self) -> None:
        if self.is_smooth:
            return self.softmax()
        a = self.value(2)
        name = self.one_of(["SoftmaxOutput", "LinearRegressionOutput", "make_loss", "BlockGrad"])
        if name == "SoftmaxOutput":
            return self.apply(name, a, self.input(self.g.shape(a)[:1]))
        if name == "LinearRegressionOutput":
            return self.apply(name, a, self.input(self.g.shape(a)))
        return self.apply(name, a)

    FAMILIES = (
        unary, unary, scalar, binary, binary, broadcast, add_n, reduce, move, move, slice, split, concat, stack, dense,
        dot, batch_dot, convolution, convolution, pool, batch_norm, softmax, layer_norm, loss,
    )  # fmt: skip


@st.composite
def examples(draw, training: bool | None = None, is_smooth: bool = False, n_nodes: int = 9) -> Example:
    """A graph of 1 to `n_nodes` operators; some heads may be inputs, views, or listed twice.

    is_smooth   only operators that have a derivative everywhere, and no losses
    """
    training = draw(st.booleans()) if training is None else training
    m = Maker(draw, training, is_smooth)
    m.values.append(m.input(m.shape()))
    for _ in range(draw(st.integers(1, n_nodes))):
        m.one_of(Maker.FAMILIES)(m)
    heads = [*draw(st.lists(st.sampled_from(m.values), max_size=2)), m.values[-1]]
    graph = finish(m.g, [Output("head", f"head{k}", v) for k, v in enumerate(heads)])
    random = np.random.RandomState(draw(st.integers(0, 2**16)))
    feeds = {}
    for node in graph.inputs:
        shape = graph.shape(node[0])
        feeds[node.name] = random.uniform(0.5, 1.5, shape) if node.role == "aux" else random.randn(*shape)
    reqs = st.sampled_from(["write", "write", "add", "null"])
    arguments = [n.name for n in graph.inputs if n.role != "aux"]
    grad_req = {name: draw(reqs) for name in arguments} if training else {}
    return Example(graph, feeds, grad_req)
