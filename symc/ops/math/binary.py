"""Operators of two operands: each formula gives the elementwise, broadcasting, scalar and reversed scalar forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symc.core.dtypes import is_float
from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import is_known, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Shapes, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.elementwise import Elementwise, binary
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Operand, Term, flows, log, values

# -- arithmetic -----------------------------------------------------------------------------------------------------

binary(
    "a + b",
    lambda a, b: a + b,
    lambda d, a, b, y: d,
    lambda d, a, b, y: d,
    elementwise="elemwise_add _Plus _add _plus _sparse_elemwise_add _grad_add",
    broadcast="broadcast_add broadcast_plus _sparse_broadcast_add _sparse_broadcast_plus",
    scalar="_plus_scalar _PlusScalar _scatter_plus_scalar",
    neutral=0,
)
binary(
    "a - b",
    lambda a, b: a - b,
    lambda d, a, b, y: d,
    lambda d, a, b, y: -d,
    elementwise="elemwise_sub _Minus _minus _sub _sparse_elemwise_sub",
    broadcast="broadcast_sub broadcast_minus _sparse_broadcast_sub _sparse_broadcast_minus",
    scalar="_minus_scalar _MinusScalar _scatter_minus_scalar",
    reverse="_rminus_scalar _RMinusScalar",
    neutral=0,
)
binary(
    "a * b",
    lambda a, b: a * b,
    lambda d, a, b, y: d * b,
    lambda d, a, b, y: d * a,
    elementwise="elemwise_mul _Mul _mul _sparse_elemwise_mul",
    broadcast="broadcast_mul _sparse_broadcast_mul",
    scalar="_mul_scalar _MulScalar",
    neutral=1,
)
binary(
    "a / b; integers truncate toward 0",
    lambda a, b: a / b,
    lambda d, a, b, y: d / b if is_float(d.dtype) or not isinstance(b, Term) else d * (1 / b),
    lambda d, a, b, y: d * (-a / (b * b)) if is_float(d.dtype) else d * -(a / b / b),
    elementwise="elemwise_div _Div _div _sparse_elemwise_div _scatter_elemwise_div",
    broadcast="broadcast_div _sparse_broadcast_div",
    scalar="_div_scalar _DivScalar",
    reverse="_rdiv_scalar _RDivScalar",
    neutral=1,
)
binary(
    "a mod b with the sign of b; a mod 0 is 0",
    lambda a, b: prim("mod", a, b),
    lambda d, a, b, y: d if is_float(d.dtype) else None,
    lambda d, a, b, y: d * -(a / b)("floor") if is_float(d.dtype) else None,
    elementwise="_mod _Mod",
    broadcast="broadcast_mod",
    scalar="_mod_scalar _ModScalar",
    reverse="_rmod_scalar _RModScalar",
)
binary(
    "a to the power b",
    lambda a, b: prim("pow", a, b),
    lambda d, a, b, y: d * (a ** (b - 1) * b),
    lambda d, a, b, y: d * (y * log(a)),
    elementwise="_power _Power",
    broadcast="broadcast_power",
    scalar="_power_scalar _PowerScalar",
    reverse="_rpower_scalar _RPowerScalar",
    keeps_integers=False,
    neutral=1,
)


def hypot(a: Term, b: Operand) -> Term:
    """sqrt(a * a + b * b), where the operator's own result may have been cut to an integer."""
    if not isinstance(b, Term):
        return a("_hypot_scalar", scalar=b)
    return a("_hypot" if a.shape == b.shape else "broadcast_hypot", b)


binary(
    "sqrt(a * a + b * b) without overflow",
    lambda a, b: prim("hypot", a, b),
    lambda d, a, b, y: d * (a / hypot(a, b)),
    lambda d, a, b, y: d * (b / hypot(a, b)),
    elementwise="_hypot _Hypot",
    broadcast="broadcast_hypot",
    scalar="_hypot_scalar _HypotScalar _npi_hypot_scalar",
    keeps_integers=False,
)
binary(
    "The larger of a and b; the gradient of a tie goes to a",
    lambda a, b: prim("maximum", a, b),
    lambda d, a, b, y: d * (a >= b),
    lambda d, a, b, y: d * (a < b),
    elementwise="_maximum _Maximum",
    broadcast="broadcast_maximum _npi_maximum",
    scalar="_maximum_scalar _MaximumScalar _npi_maximum_scalar",
)
binary(
    "The smaller of a and b; the gradient of a tie goes to a",
    lambda a, b: prim("minimum", a, b),
    lambda d, a, b, y: d * (a <= b),
    lambda d, a, b, y: d * (a > b),
    elementwise="_minimum _Minimum",
    broadcast="broadcast_minimum _npi_minimum",
    scalar="_minimum_scalar _MinimumScalar _npi_minimum_scalar",
)

# -- comparison and logic: 0 or 1 in the dtype of the operands --------------------------------------------------------


def predicate(text: str, name: str, alias: str, formula: Callable[[Expr, Expr], Expr]) -> None:
    """Registers the forms of a predicate, which has no slope."""
    binary(
        f"1 where {text}, else 0",
        formula,
        elementwise=f"_{name} _{alias}",
        broadcast=f"broadcast_{name}",
        scalar=f"_{name}_scalar _{alias.replace('_', '')}Scalar",
    )


def either(a: Expr, b: Expr) -> Expr:
    """Whether a or b is not 0."""
    return prim("or", prim("ne", a, 0), prim("ne", b, 0))


def both(a: Expr, b: Expr) -> Expr:
    """Whether neither a nor b is 0."""
    return prim("and", prim("ne", a, 0), prim("ne", b, 0))


predicate("a == b", "equal", "Equal", lambda a, b: prim("eq", a, b))
predicate("a != b", "not_equal", "Not_Equal", lambda a, b: prim("ne", a, b))
predicate("a > b", "greater", "Greater", lambda a, b: a > b)
predicate("a >= b", "greater_equal", "Greater_Equal", lambda a, b: a >= b)
predicate("a < b", "lesser", "Lesser", lambda a, b: a < b)
predicate("a <= b", "lesser_equal", "Lesser_Equal", lambda a, b: a <= b)
predicate("neither a nor b is 0", "logical_and", "Logical_And", both)
predicate("a or b is not 0", "logical_or", "Logical_Or", either)
predicate(
    "one of a and b is 0", "logical_xor", "Logical_Xor", lambda a, b: prim("and", either(a, b), prim("not", both(a, b)))
)

# -- several operands -----------------------------------------------------------------------------------------------


MAX_TERMS = 32  # of a sum in one kernel


@op("add_n", aliases=("ElementWiseSum", "_sparse_ElementWiseSum", "_sparse_add_n"))
class AddN(Elementwise):
    """The sum of any number of inputs of one shape.  MXNet operator add_n."""

    variadic = "num_args"
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs")

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Sums of MAX_TERMS at a time, in order: a kernel's compile time grows faster than the number of its inputs."""
        if len(x) <= MAX_TERMS:
            return None
        total = x[0]
        for k in range(1, len(x), MAX_TERMS - 1):
            total = g.add([total, *x[k : k + MAX_TERMS - 1]])
        return [total]

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]] if len(x) == 1 else None

    def lower(self, t: Lowering) -> None:
        def element(*i: IndexLike) -> Expr:
            total = t.ins[0](*i)
            for x in t.ins[1:]:
                total = total + x(*i)
            return total

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [flows(dy)] * len(x)


@op("where", aliases=("_sparse_where",))
class Where(Elementwise):
    """x where the condition is not 0, else y; a 1-d condition chooses whole rows.  MXNet operator where.

    condition of the shape of x and y, or (N,) for x and y of shape (N, ...), of any dtype.
    """

    arguments = ("condition", "x", "y")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        condition, shape = ins[0], unify_all([*ins[1:], *outs])
        if not is_known(condition):  # as in MXNet: whether it chooses rows is not known either
            return ins, outs
        if shape is not None:
            assert condition is not None
            if len(condition) == 1 and len(shape) > 1:
                rows = unify(condition, shape[:1])
                condition, shape = rows, unify(shape, (*(rows or ()), *shape[1:]))
            elif len(condition) != len(shape):
                raise ShapeError(f"condition {mx_text(condition)} is neither of the shape {mx_text(shape)} nor 1-d")
            else:
                condition = shape = unify(condition, shape)
        return [condition, shape, shape], [shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([*ins[1:], *outs])
        return [ins[0], dtype, dtype], [dtype]

    def lower(self, t: Lowering) -> None:
        condition, x, y = t.ins
        t.map(lambda *i: select(prim("ne", condition(*i[: condition.rank]), 0), x(*i), y(*i)))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        condition, d = Term(g, x[0]), Term(g, flows(dy))
        return values([None, condition.choose(d, d.zeros()), condition.choose(d.zeros(), d)])


@op("_identity_with_attr_like_rhs")
class IdentityLike(Elementwise):
    """lhs itself; its shape and dtype are those of rhs, of which nothing else is read.

    MXNet operator _identity_with_attr_like_rhs.
    """

    arguments = ("lhs", "rhs")

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]]

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: t.ins[0](*i))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [dy[0], None]


@op("_scale_shift")
class ScaleShift(Elementwise):
    """data * scale[c] + shift[c], c running along one axis: what a BatchNorm with fixed statistics is.

    data (..., C, ...), scale (C,), shift (C,).  Made by passes.
    """

    is_internal = True
    arguments = ("data", "scale", "shift")
    axis: int = param(1, doc="the axis of the channels, not negative")

    @property
    def scale_shift_axis(self) -> int:
        return self.axis

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        channels = unify_all([ins[1], ins[2], None if data is None else (data[self.axis],)])
        return [data, channels, channels], [data]

    def lower(self, t: Lowering) -> None:
        data, scale, shift = t.ins
        t.map(lambda *i: data(*i) * cast(scale(i[self.axis]), data.dtype) + cast(shift(i[self.axis]), data.dtype))

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        data = same_dtype([ins[0], *outs])
        return [data, *ins[1:]], [data]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        data, scale, d = Term(g, x[0]), Term(g, x[1]), Term(g, flows(dy))
        others = [a for a in range(len(data.shape)) if a != self.axis]
        along = tuple(1 if a in others else n for a, n in enumerate(data.shape))
        channels = [d * scale.cast(d.dtype).reshape(along), (d * data).sum(others), d.sum(others)]
        return values([channels[0], *(c.reshape(scale.shape).cast(scale.dtype) for c in channels[1:])])
