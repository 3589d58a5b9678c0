"""How an operator states its meaning: tensors as functions from index to expression.

An operator's `lower` receives a Lowering, reads its inputs by calling them with an index, and defines its outputs:

    def lower(self, t):
        x = t.ins[0]
        t.map(lambda *i: x(*i) * 2.0)                          # elementwise
        t.map(lambda i, j: x(j, i))                            # transpose
        t.map(lambda i: t.reduce("sum", (n,), lambda k: x(i, k)))   # reduction

Calling an input whose producer lies in the same kernel inlines the producer's expression: fusion is composition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from symc.core.dtypes import compute_dtype
from symc.core.errors import GraphError
from symc.core.shapes import FullShape, row_major_strides

from .expr import INDEX_DTYPE, Affine, Axis, Expr, IndexLike, index_value, load, param, prim, reduce
from .kernel import SEED, ContractionKind, Window
from .routine import Routine

Function = Callable[..., Expr]

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # the odd factor of counters in `hash_uniform`, as an int64


@dataclass(frozen=True)
class Tensor:
    """An input as an operator sees it; `dtype` is the type its elements have in expressions."""

    name: str
    shape: FullShape
    dtype: str
    function: Function | None = None

    def __call__(self, *index: IndexLike | Expr) -> Expr:
        """The element at an index."""
        if self.function is not None:
            return self.function(*index)
        return load(self.name, index, self.dtype)

    @property
    def rank(self) -> int:
        return len(self.shape)

    def broadcast(self, *index: IndexLike | Expr) -> Expr:
        """The element that NumPy broadcasting puts at an index of the (larger) result."""
        tail = index[len(index) - self.rank :]
        return self(*(Affine() if n == 1 else i for n, i in zip(self.shape, tail)))


@dataclass(frozen=True)
class Region:
    """Part of an output: for axes, output[index] = value (or += in order)."""

    axes: tuple[Axis, ...]
    index: tuple[IndexLike | Expr, ...]
    value: Expr
    mode: str = "set"


@dataclass(frozen=True)
class Product:
    """An output that is a contraction of two inputs (see loopir.kernel.Contraction), then `finish` of the sum."""

    kind: ContractionKind
    window: Window
    groups: int
    lhs: int  # positions among the node's inputs
    rhs: int
    sizes: tuple[int, int, int]  # batch, in_channels, out_channels
    finish: Callable[..., Expr]  # (sum, *output index) -> Expr
    stack: int | None = None

    @property
    def summed_channels(self) -> int:
        """Of a forward contraction or data gradient: the channels of a group that each result sums over."""
        _, inner, outer = self.sizes
        return (outer if self.kind == "data_gradient" else inner) // self.groups

    @property
    def channel_axis(self) -> int:
        """The axis of channels in the operands and the result."""
        return 1 if self.stack is None else 2


@dataclass
class Lowering:
    """Collects the definitions of a node's outputs: functions, regions written in order, a product, or a template."""

    ins: Sequence[Tensor]
    out_shapes: Sequence[FullShape]
    out_dtypes: Sequence[str]
    prefix: str = ""  # of the names of its axes
    stream: int = 0  # tells its random numbers from those of other nodes
    functions: dict[int, Function] = field(default_factory=dict)
    regions: dict[int, list[Region]] = field(default_factory=dict)
    products: dict[int, Product] = field(default_factory=dict)
    routine: Routine | None = None
    _n_axes: int = 0

    def axis(self, extent: int) -> Axis:
        """A fresh loop variable."""
        self._n_axes += 1
        return Axis(f"{self.prefix}r{self._n_axes - 1}", extent)

    def map(self, function: Function, output: int = 0) -> None:
        """output[i...] = function(i...), over the whole output.

        Every call names its reductions' axes alike: a maximum over a row is one expression for all its elements.
        """
        first = self._n_axes

        def call(*index: IndexLike | Expr) -> Expr:
            self._n_axes = first
            return function(*index)

        self.functions[output] = call

    def reduce(self, combiner: str, extents: Sequence[int], function: Function) -> Expr:
        """function(k...) combined over range(extents): "sum", "prod", "max" or "min"."""
        axes = tuple(self.axis(n) for n in extents)
        return reduce(combiner, axes, function(*axes))

    def region(
        self,
        extents: Sequence[int],
        index: Callable[..., Sequence[IndexLike | Expr]],
        value: Function,
        output: int = 0,
        mode: str = "set",
    ) -> None:
        """for i in range(extents): output[index(i...)] = value(i...); regions run in the order they are stated.

        Mode "add" adds instead; raises GraphError in float16, where sums of ones stop growing at 2048.
        """
        if mode == "add" and self.out_dtypes[output] == "float16":
            raise GraphError("float16 cannot be added to: an operator that does is `Accumulating`")
        axes = tuple(self.axis(n) for n in extents)
        self.regions.setdefault(output, []).append(Region(axes, tuple(index(*axes)), value(*axes), mode))

    def product(
        self,
        kind: ContractionKind,
        window: Window,
        sizes: tuple[int, int, int],
        groups: int = 1,
        lhs: int = 0,
        rhs: int = 1,
        finish: Function | None = None,
        stack: int | None = None,
    ) -> None:
        """output 0 = finish(contraction of inputs lhs and rhs, *index); finish defaults to the sum itself."""
        self.products[0] = Product(kind, window, groups, lhs, rhs, sizes, finish or (lambda total, *i: total), stack)

    def template(self, routine: Routine) -> None:
        """All outputs, as a routine computes them from all inputs."""
        self.routine = routine

    def uniform(self, *index: IndexLike, draw: int = 0) -> Expr:
        """A random float32 in [0, 1) for an index of output 0; it changes with every run, with the node, and with
        `draw` (0 to 3), which numbers the draws for one index."""
        return prim("hash_uniform", self._counter(index), self._key(draw))

    def random_key(self, *index: IndexLike) -> Expr:
        """An int64 for an index of output 0, to start a generator with: distinct, but random only when mixed."""
        return self._counter(index) * GOLDEN + self._key()

    def _counter(self, index: Sequence[IndexLike]) -> Expr:
        strides = row_major_strides(self.out_shapes[0])
        return index_value(sum((Affine.of(i) * s for i, s in zip(index, strides)), Affine()))

    def _key(self, draw: int = 0) -> Expr:
        """As counters are multiplied by an odd number, those below 2^40 never meet those of another key."""
        return load(SEED, (0,), INDEX_DTYPE) + param((4 * self.stream + draw) * 2**40, INDEX_DTYPE)

    def out_dtype(self, output: int = 0) -> str:
        """The type the output's elements have in expressions."""
        return compute_dtype(self.out_dtypes[output])
