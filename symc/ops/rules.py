"""Rules that hold for whole families of operators: shape, dtype, lowering and gradient from one line of mathematics.

An elementwise operator is its formula on scalar expressions and its pullback: the gradient of an operand from the
head gradient `d`, the operands and the result, written on `Term`s.

    unary("sin", lambda x: prim("sin", x), lambda d, x, y: d * x("cos"), "Sine of an angle in radians.")
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from symc.core.dtypes import is_float
from symc.core.errors import ShapeError
from symc.core.op import DTypes, Op, Shapes, op, param, same_dtype
from symc.core.shapes import FullShape, Shape, mx_text, normalize_axis, unify
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, cast, index_value
from symc.loopir.expr import param as node_number
from symc.loopir.tensor import Lowering

from .terms import Operand, Term

if TYPE_CHECKING:
    from symc.ir.builder import GraphBuilder
    from symc.ir.graph import Value

Formula = Callable[..., Expr]
Pullback = Callable[..., Term | None] | None
Index = Sequence["IndexLike | Expr"]


def number(value: float, dtype: str) -> Expr:
    """A number that belongs to a node; for integers it truncates and wraps first, as MXNet's conversion does."""
    if is_float(dtype):
        return node_number(value, dtype)
    if dtype == "bool":
        return node_number(int(value != 0), dtype)
    limits = np.iinfo(dtype)
    whole = math.trunc(value) if math.isfinite(value) else 0 if math.isnan(value) else limits.min
    return node_number((whole - limits.min) % 2**limits.bits + limits.min, dtype)


def single(value: float) -> float:
    """The float32 nearest to a number: what MXNet keeps of a parameter it declares as float."""
    return float(np.float32(value))


def flows(dy: Sequence[Value | None]) -> Value:
    """The head gradient of an operator with one output."""
    (head,) = dy
    assert head is not None, "the gradient of a single output was asked for without a head gradient"
    return head


def values(terms: Sequence[Term | None]) -> list[Value | None]:
    """The values of gradient terms."""
    return [None if t is None else t.value for t in terms]


def result_shape(rule: Op, g: GraphBuilder, x: Sequence[Value]) -> FullShape:
    """The shape of an operator's first output on given inputs."""
    _, outs = rule.infer_shape([g.shape(v) for v in x], [None] * len(rule.result_names()))
    return outs[0]  # type: ignore[return-value]


def unify_all(shapes: Sequence[Shape | None]) -> Shape | None:
    """The one shape that all given shapes are partial views of; raises ShapeError on contradiction."""
    found: Shape | None = None
    for s in shapes:
        found = unify(found, s)
    return found


@dataclass(frozen=True, kw_only=True)
class Elementwise(Op):
    """Every output element depends on one element of each input; integers may be computed in float32 as in MXNet."""

    is_elementwise = True
    keeps_integers: ClassVar[bool] = False  # the formula is computed on integers as they are

    def working_dtype(self, dtype: str) -> str:
        """The dtype the formula is computed in for elements of `dtype` (as expressions see it)."""
        return dtype if self.keeps_integers or is_float(dtype) else "float32"


# -- one operand ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Unary(Elementwise):
    """y[i] = formula(x[i])."""

    def formula(self, x: Expr) -> Expr:
        """One output element from one input element."""
        raise NotImplementedError

    def pullback(self, d: Term, x: Term, y: Term) -> Term | None:
        """The gradient of the input; None where it is 0 everywhere."""
        return None

    def lower(self, t: Lowering) -> None:
        x, dtype = t.ins[0], t.out_dtype()
        t.map(lambda *i: cast(self.formula(cast(x(*i), self.working_dtype(x.dtype))), dtype))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return values([self.pullback(Term(g, flows(dy)), Term(g, x[0]), Term(g, y[0]))])


def unary(
    names: str, formula: Formula, pullback: Pullback, doc: str, *, keeps_integers: bool = False, internal: bool = False
) -> type[Op]:
    """Registers y = formula(x) under "canonical alias alias"; the pullback is called with (d, x, y)."""
    body = {
        "formula": lambda self, x: formula(x),
        "pullback": lambda self, d, x, y: pullback(d, x, y) if pullback else None,
        "keeps_integers": keeps_integers,
        "is_internal": internal,
    }
    return _register(names, Unary, body, f"{doc}  MXNet operator {names.split()[0]}.")


# -- two operands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Binary(Elementwise):
    """y[i] = formula(a[i], b[i]) for operands of one shape, which is inferred in every direction."""

    arguments = ("lhs", "rhs")
    formula: ClassVar[Formula]
    pullbacks: ClassVar[tuple[Pullback, Pullback]]

    def lower(self, t: Lowering) -> None:
        (a, b), dtype = t.ins, t.out_dtype()
        work = self.working_dtype(a.dtype)
        formula = type(self).formula
        t.map(lambda *i: cast(formula(cast(a.broadcast(*i), work), cast(b.broadcast(*i), work)), dtype))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        a, b = Term(g, x[0]), Term(g, x[1])
        d, out = Term(g, flows(dy)), Term(g, y[0])
        found = [pull and pull(d, a, b, out) for pull in self.pullbacks]
        return values([f and f.sum_to(operand.shape) for f, operand in zip(found, (a, b))])


class Broadcast(Binary):
    """y[i] = formula(a[i], b[i]) where an axis of extent 1, or a missing leading axis, is repeated as NumPy does."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, b = ins
        if a is None or b is None:
            return ins, outs
        return ins, [unify(broadcast_shape(a, b), outs[0])]


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The shape two partial shapes broadcast to; raises ShapeError when they do not fit."""
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))
    if any(None not in (m, n) and m != n and 1 not in (m, n) for m, n in pairs):
        raise ShapeError(f"operands could not be broadcast together with shapes {mx_text(a)} {mx_text(b)}")
    return tuple(n if m == 1 or (m is None and n != 1) else m for m, n in pairs)


@dataclass(frozen=True, kw_only=True)
class Scalar(Elementwise):
    """y[i] = formula(x[i], scalar), or formula(scalar, x[i]) when reversed.

    The result has the data's dtype, into which the scalar is converted first (an integer array truncates it); only
    when `is_int` says that the scalar was a float is an integer array promoted to float64, and bool to int64.
    """

    scalar: float = param(1.0, doc="the other operand")
    is_int: bool = param(True, doc="whether the scalar was given as an integer")
    is_reversed: ClassVar[bool] = False
    neutral: ClassVar[float | None] = None  # the scalar that changes nothing
    formula: ClassVar[Formula]
    pullbacks: ClassVar[tuple[Pullback, Pullback]]

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        keeps_dtype = self.infer_dtype([g.dtype(x[0])], [None])[1] == [g.dtype(x[0])]
        return [x[0]] if self.scalar == self.neutral and keeps_dtype else None

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        (x,) = ins
        if x is not None and not is_float(x) and (x == "bool" or not self.is_int):
            return [x], [same_dtype([outs[0], "int64" if self.is_int else "float64"])]
        dtype = same_dtype((x, *outs))
        return [dtype], [dtype]

    def lower(self, t: Lowering) -> None:
        x, dtype = t.ins[0], t.out_dtype()
        work = self.working_dtype(dtype)
        operand = number(self.scalar, dtype)
        other = operand if work == dtype else number(operand.data, work)
        formula = type(self).formula

        def element(*i: IndexLike) -> Expr:
            data = cast(cast(x(*i), dtype), work)
            return cast(formula(other, data) if self.is_reversed else formula(data, other), dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0]).cast(g.dtype(y[0]))
        operands: tuple[Operand, Operand] = (self.scalar, data) if self.is_reversed else (data, self.scalar)
        pull = self.pullbacks[1 if self.is_reversed else 0]
        found = pull and pull(Term(g, flows(dy)), *operands, Term(g, y[0]))
        return values([found and found.cast(g.dtype(x[0]))])


def binary(
    text: str,
    formula: Formula,
    lhs: Pullback = None,
    rhs: Pullback = None,
    *,
    elementwise: str = "",
    broadcast: str = "",
    scalar: str = "",
    reverse: str = "",
    keeps_integers: bool = True,
    neutral: float | None = None,
) -> None:
    """Registers every form of y = formula(a, b); each form is named "canonical alias alias".

    The pullbacks of both operands are called with (d, a, b, y); in the scalar forms one of a and b is a number.
    `neutral` is the number b with formula(a, b) = a.
    """
    body = {"formula": staticmethod(formula), "pullbacks": (lhs, rhs), "keeps_integers": keeps_integers}
    forms: list[tuple[str, type[Op], str]] = [
        (elementwise, Binary, f"{text} for operands of one shape."),
        (broadcast, Broadcast, f"{text} with NumPy broadcasting."),
        (scalar, Scalar, f"{text} with b = scalar."),
        (reverse, Scalar, f"{text} with a = scalar."),
    ]
    for names, rule, doc in forms:
        if names:
            turned: dict[str, Any] = {"is_reversed": True} if names == reverse else {"neutral": neutral}
            own = {**body, **turned} if rule is Scalar else body
            _register(names, rule, own, f"{doc}  MXNet operator {names.split()[0]}.")


def _register(names: str, rule: type[Op], body: dict[str, Any], doc: str) -> type[Op]:
    """A class of a rule, registered as if it had been written in the module that states the formula."""
    canonical, *aliases = names.split()
    module = sys._getframe(2).f_globals["__name__"]
    title = "".join(part.title() for part in canonical.split("_"))
    return op(canonical, tuple(aliases))(type(title, (rule,), {**body, "__doc__": doc, "__module__": module}))


# -- reductions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reduction(Op):
    """y = finish(combination of element(x) over some axes); over all axes, the shape is (1,) unless keepdims."""

    axis: tuple[int, ...] | None = param(None, doc="axes to reduce; None or () reduces all")
    keepdims: bool = param(False, doc="whether reduced axes stay with extent 1")
    combiner: ClassVar[str] = "sum"

    def element(self, x: Expr) -> Expr:
        """What is combined, from one input element."""
        return x

    def finish(self, total: Expr, n: int) -> Expr:
        """The output element from the combination of n elements."""
        return total

    def pullback(self, d: Term, x: Term, y: Term) -> Term | None:
        """The gradient of the input; d and y have reduced axes of extent 1."""
        raise NotImplementedError

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes that are reduced, ascending; raises ShapeError for axes that do not exist or repeat."""
        if not self.axis:
            return tuple(range(rank))
        found = sorted(normalize_axis(a, rank) for a in self.axis)
        if len(set(found)) != len(found):
            raise ShapeError(f"Reduction axes have duplicates {mx_text(tuple(found))}")
        return tuple(found)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        axes = self.axes(len(shape))
        kept = kept_shape(shape, axes) if self.keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
        return ins, [unify(kept or (1,), outs[0])]

    def lower(self, t: Lowering) -> None:
        x, dtype = t.ins[0], t.out_dtype()
        axes = self.axes(x.rank)
        extents = [x.shape[a] for a in axes]

        def element(*i: IndexLike) -> Expr:
            kept = [n for a, n in enumerate(i) if a not in axes] if self.keepdims else list(i[: x.rank - len(axes)])

            def inner(*k: Axis) -> Expr:
                outer, reduced = iter(kept), iter(k)
                return self.element(x(*(next(reduced if a in axes else outer) for a in range(x.rank))))

            total = t.reduce(self.combiner, extents, inner) if axes else inner()
            return cast(self.finish(total, math.prod(extents)), dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data = Term(g, x[0])
        shape = kept_shape(data.shape, self.axes(len(data.shape)))
        d, out = (Term(g, v).reshape(shape) for v in (flows(dy), y[0]))
        return values([self.pullback(d.cast(data.dtype), data, out.cast(data.dtype))])


def kept_shape(shape: Shape, axes: Sequence[int]) -> Any:
    """The shape with some axes reduced to extent 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))


# -- movements ------------------------------------------------------------------------------------------------------


class Movement(Op):
    """y[i] = x[source(i)]: elements change place, none changes value; the source is affine so that it fuses."""

    def source(self, index: Index, shape: FullShape) -> Index:
        """Where in an input of `shape` the element at an output index comes from."""
        raise NotImplementedError

    def keeps_order(self, shape: FullShape) -> bool:
        """Whether the elements of an input of `shape` all stay, in their row-major order."""
        return False

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        if not self.keeps_order(g.shape(x[0])):
            return None
        return [Term(g, x[0]).reshape(result_shape(self, g, x)).value]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        t.map(lambda *i: x(*self.source(i, x.shape)))


def index_number(index: IndexLike | Expr) -> Expr:
    """The int64 value of an index component."""
    return index if isinstance(index, Expr) else index_value(index)


def repeated(index: Index, shape: FullShape) -> Index:
    """The source of broadcasting to a shape of equal rank: axes of extent 1 are read at 0."""
    return [Affine() if n == 1 else i for n, i in zip(shape, index)]
