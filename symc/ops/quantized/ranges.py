"""What operators on 8-bit integers share: how a range maps to integers, and that every tensor travels with its range.

The larger size of a range's ends is 127.5 or 255.5 steps from 0 (oneDNN's operators), or 127 and 255 (MXNet's own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from symc.core.errors import DTypeError
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op, param
from symc.loopir.expr import cast, clamped, prim
from symc.loopir.tensor import Lowering
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.terms import Term

STEPS = {"int8": 127.0, "uint8": 255.0}
HALF_STEPS = {"int8": 127.5, "uint8": 255.5, "int32": 2.0**31}
# The ends of each integer type, as far as float32 has them.
LIMITS = {"int8": (-128.0, 127.0), "uint8": (0.0, 255.0), "int32": (-(2.0**31), 2.0**31 - 128)}
BYTES = ("int8", "uint8")


def symmetric(low: Term, high: Term) -> Term:
    """The larger size of both ends."""
    return low("abs")("broadcast_maximum", high("abs"))


def scale_of(dtype: str, low: Term, high: Term) -> Term:
    """Steps for each unit of what integers of a range stand for."""
    return HALF_STEPS[dtype] / symmetric(low, high)


def saturated(x: Term, dtype: str) -> Term:
    """x as the nearest integer of a dtype."""
    return x("_saturated", dtype=dtype)


def product_range(data: str, x: tuple[Term, Term], weight: tuple[Term, Term]) -> list[Term]:
    """The range of int32 sums of products of data (int8 or uint8) and int8 weights, from those of both."""
    step = (symmetric(*x) / STEPS["int8"]) * (symmetric(*weight) / STEPS[data])
    high = step * 2.0**31
    return [-high, high]


def calibration(low: float | None, high: float | None) -> tuple[float, float] | None:
    """A calibrated range, where both ends are known."""
    return None if low is None or high is None else (low, high)


def constant_range(like: Term, low: float, high: float) -> list[Term]:
    """Both ends of a calibrated range, (1,) each."""
    return [Term(like.g, like.g.full((1,), "float32", end)) for end in (low, high)]


@op("_saturated")
class Saturated(Elementwise):
    """The nearest integer, the even one of two, of an integer type; what lies outside becomes the nearer end."""

    is_internal = True

    dtype: str = param(choices=tuple(LIMITS), doc="dtype of the result")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [self.dtype]

    def lower(self, t: Lowering) -> None:
        low, high = LIMITS[self.dtype]
        t.map(lambda *i: cast(clamped(prim("rint", t.ins[0](*i)), low, high), self.dtype))


class Ranged(Op):
    """Put before the class of a float operator: the same on 8-bit integers, each tensor with both ends of its range.

    Shapes are the float operator's; it neither slides, folds nor differentiates.
    """

    results = ("output", "min_output", "max_output")
    plain: ClassVar[tuple[str, ...]] = ("data",)  # the float operator's inputs
    ranged: ClassVar[tuple[str, ...]] = ()  # those of them with a range, where not all have one
    is_view = False
    is_assembly = False
    is_elementwise = False
    layer_stride = None
    is_pointwise_layer = False

    def plain_names(self) -> tuple[str, ...]:
        """The float operator's inputs that this instance takes."""
        return self.plain

    def ranges_of(self, plain: Sequence[str]) -> tuple[str, ...]:
        """The names of both ends of each range."""
        return tuple(f"{end}_{name}" for name in self.ranged or plain for end in ("min", "max"))

    def input_names(self) -> tuple[str, ...]:
        plain = self.plain_names()
        return (*plain, *self.ranges_of(plain))

    def argument_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.input_names() if name not in self.aux)

    @property
    def calibrated(self) -> tuple[float, float] | None:
        """The range of the result that calibration found, of operators that take one."""
        return calibration(getattr(self, "min_calib_range", None), getattr(self, "max_calib_range", None))

    def n_visible(self) -> int:
        return len(self.result_names())

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n = len(self.plain_names())
        plain, found = super().infer_shape(ins[:n], outs[:1])
        return [*plain, *(unify(s, (1,)) for s in ins[n:])], [found[0], *[(1,)] * (len(self.result_names()) - 1)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        terms, n = [Term(g, v) for v in x], len(self.plain_names())
        ends = [end.cast("float32") for end in terms[n:]]
        return [t.value for t in self.compute(terms[:n], list(zip(ends[::2], ends[1::2])))]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        """Output and both ends of its range, from the tensors and their ranges."""
        raise NotImplementedError(f"{self.name} computes nothing")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return None

    def absorb_scale_shift(
        self, g: GraphBuilder, x: Sequence[Value], scale: Value, shift: Value, axis: int
    ) -> Sequence[Value] | None:
        return None

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """As in MXNet, zeros."""
        return [None] * len(x)

    def update_aux(self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value]) -> dict[str, Value]:
        return {}


def ends_of(names: Sequence[str]) -> tuple[str, ...]:
    """The ends of ranges named after their tensors: `lhs_min`, `lhs_max`."""
    return tuple(f"{name}_{end}" for name in names for end in ("min", "max"))


def require(what: str, dtype: str | None, allowed: Sequence[str] = BYTES, remedy: str = "quantize it first") -> None:
    """Raises DTypeError when a known dtype is none of those allowed."""
    if dtype is not None and dtype not in allowed:
        raise DTypeError(f"{what} is {dtype}, expected {' or '.join(allowed)}; {remedy}")
