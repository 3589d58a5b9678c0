"""Operators of single elements: shape, dtype, lowering and gradient from one line of mathematics.

An operator is its formula on scalar expressions and its pullback: the gradient of an operand from the head gradient
`d`, the operands and the result, written on `Term`s.

    unary("sin", lambda x: prim("sin", x), lambda d, x, y: d * x("cos"), "Sine of an angle in radians.")
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from symc.core.dtypes import is_float
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast
from symc.loopir.tensor import Lowering

from .numbers import number
from .shapes import broadcast_shape
from .terms import Operand, Term, flows, values

Formula = Callable[..., Expr]

Pullback = Callable[..., Term | None] | None


@declares_parameters
class Elementwise(Op):
    """Every output element depends on one element of each input; integers may be computed in floats.

    As in MXNet (math_functions-inl.h): functions of one integer in double, of two in float.
    """

    is_elementwise = True
    keeps_integers: ClassVar[bool] = False  # the formula is computed on integers as they are
    floats_of_integers: ClassVar[str] = "float32"  # or in these

    def working_dtype(self, dtype: str) -> str:
        """The dtype the formula is computed in for elements of `dtype` (as expressions see it)."""
        is_kept = self.keeps_integers and dtype != "bool"  # which has no difference and no sign
        return dtype if is_kept or is_float(dtype) else self.floats_of_integers

    def seen(self, g: GraphBuilder, *v: Value) -> list[Term]:
        """Operands and results as pullbacks see them: in the dtype of the formula."""
        return [Term(g, x).cast(self.working_dtype(g.dtype(x))) for x in v]

    def pulled(self, d: Term, pullback: Callable[[Term], Term | None]) -> Term | None:
        """The pullback of d; of integers, as in MXNet, d times the slope cut to an integer."""
        work = self.working_dtype(d.dtype)
        if work == d.dtype:
            return pullback(d)
        slope = pullback(Term(d.g, d.g.like(d.value, 1)).cast(work))
        return slope and d * slope.cast(d.dtype)


@declares_parameters
class Unary(Elementwise):
    """y[i] = formula(x[i])."""

    floats_of_integers = "float64"

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
        data, out = self.seen(g, x[0], y[0])
        return values([self.pulled(Term(g, flows(dy)), lambda d: self.pullback(d, data, out))])


def unary(
    names: str,
    formula: Formula,
    pullback: Pullback,
    doc: str,
    *,
    keeps_integers: bool = False,
    floats_of_integers: str = "float64",
    internal: bool = False,
) -> type[Op]:
    """Registers y = formula(x) under "canonical alias alias"; the pullback is called with (d, x, y)."""
    body = {
        "formula": lambda self, x: formula(x),
        "pullback": lambda self, d, x, y: pullback(d, x, y) if pullback else None,
        "keeps_integers": keeps_integers,
        "floats_of_integers": floats_of_integers,
        "is_internal": internal,
        "passes_gradient": pullback is not None,
    }
    return _register(names, Unary, body, f"{doc}  MXNet operator {names.split()[0]}.")


@declares_parameters
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
        a, b, out = self.seen(g, *x, y[0])
        head = Term(g, flows(dy))
        if out.dtype != head.dtype:  # of integers the result is cut: MXNet computes it anew
            out = Term(g, g.apply(self, [a.value, b.value])[0])
        found = [pull and self.pulled(head, lambda d, pull=pull: pull(d, a, b, out)) for pull in self.pullbacks]
        return values([f and f.sum_to(operand.shape) for f, operand in zip(found, (a, b))])


class Broadcast(Binary):
    """y[i] = formula(a[i], b[i]) where an axis of extent 1, or a missing leading axis, is repeated as NumPy does."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        a, b = ins
        if a is None or b is None:
            return ins, outs
        return ins, [unify(broadcast_shape(a, b), outs[0])]


@declares_parameters
class Scalar(Elementwise):
    """y[i] = formula(x[i], scalar), or formula(scalar, x[i]) when reversed.

    The result has the data's dtype, into which the scalar is converted first (an integer array truncates it); only
    when `is_int` says that the scalar was a float is an integer array promoted to float64, and bool to int64.
    """

    scalar: float = param(1.0, doc="the other operand")
    is_int: bool = param(True, doc="whether the scalar was given as an integer")
    is_reversed: ClassVar[bool] = False
    neutral: ClassVar[float | None] = None  # the scalar that changes nothing
    of_arrays: ClassVar[str]  # the form in which the scalar is an array
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

    def converted(self, dtype: str) -> float:
        """The scalar as an array of this dtype holds it; integers truncate it later."""
        if dtype != "float16":
            return self.scalar
        with np.errstate(over="ignore"):
            return float(np.float16(self.scalar))

    def lower(self, t: Lowering) -> None:
        x, dtype = t.ins[0], t.out_dtype()
        work = self.working_dtype(dtype)
        operand = number(self.converted(t.out_dtypes[0]), dtype)
        other = operand if work == dtype else number(operand.data, work)
        formula = type(self).formula

        def element(*i: IndexLike) -> Expr:
            data = cast(cast(x(*i), dtype), work)
            return cast(formula(other, data) if self.is_reversed else formula(data, other), dtype)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        pull, head, dtype = self.pullbacks[1 if self.is_reversed else 0], Term(g, flows(dy)), g.dtype(y[0])
        if pull is None:
            return [None]
        data, out = self.seen(g, Term(g, x[0]).cast(dtype).value, y[0])
        scalar = self.scalar if is_float(dtype) else number(self.scalar, dtype).data
        operands: tuple[Operand, Operand] = (scalar, data) if self.is_reversed else (data, scalar)
        found = self.pulled(head, lambda d: pull(d, *operands, out))
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
    body["passes_gradient"] = lhs is not None or rhs is not None
    forms: list[tuple[str, type[Op], str]] = [
        (elementwise, Binary, f"{text} for operands of one shape."),
        (broadcast, Broadcast, f"{text} with NumPy broadcasting."),
        (scalar, Scalar, f"{text} with b = scalar."),
        (reverse, Scalar, f"{text} with a = scalar."),
    ]
    for names, rule, doc in forms:
        if names:
            turned: dict[str, Any] = {"is_reversed": True} if names == reverse else {"neutral": neutral}
            own = {**body, **turned, "of_arrays": broadcast.split()[0]} if rule is Scalar else body
            _register(names, rule, own, f"{doc}  MXNet operator {names.split()[0]}.")


def _register(names: str, rule: type[Op], body: dict[str, Any], doc: str) -> type[Op]:
    """A class of a rule, registered as if it had been written in the module that states the formula."""
    canonical, *aliases = names.split()
    module = sys._getframe(2).f_globals["__name__"]
    title = "".join(part.title() for part in canonical.split("_"))
    return op(canonical, tuple(aliases))(type(title, (rule,), {**body, "__doc__": doc, "__module__": module}))
