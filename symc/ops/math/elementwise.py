"""Operators of one operand, element by element: shape and dtype stay, integers are computed in float64 unless noted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from symc.core.dtypes import BFLOAT16, is_float
from symc.core.params import MAX_PORTS
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Shapes, check_rank, op, param
from symc.loopir.expr import Expr, cast, const, prim, rounded, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.elementwise import Elementwise, Formula, Unary, unary
from symc.ops.rules.numbers import number, single
from symc.ops.rules.special import digamma, erfinv, polygamma
from symc.ops.rules.terms import Term, flows, values

# MXNet's pi is a float32, also for float64 data.
PI = np.float32(math.pi)
TRADED = ("float16", "bfloat16", "float32")  # the dtypes that mixed precision trades for each other
DEGREES, RADIANS, SQRT_PI = float(180 / PI), float(PI / 180), float(np.sqrt(PI))
CAST_DTYPES = ("bool", "float16", "float32", "float64", "int32", "int64", "int8", "uint8")

# -- arithmetic -----------------------------------------------------------------------------------------------------

unary(
    "abs _sparse_abs",
    lambda x: prim("abs", x),
    lambda d, x, y: d * x("sign"),
    "Absolute value; its slope at 0 is 0.",
    keeps_integers=True,
)
unary(
    "sign _sparse_sign",
    lambda x: cast(x > 0, x.dtype) - cast(x < 0, x.dtype),
    None,
    "-1, 0 or 1; 0 for NaN.",
    keeps_integers=True,
)
unary("negative _sparse_negative", lambda x: -x, lambda d, x, y: -d, "-x.", keeps_integers=True)
unary("square _sparse_square", lambda x: x * x, lambda d, x, y: d * (2 * x), "x squared.", keeps_integers=True)
unary("reciprocal", lambda x: 1 / x, lambda d, x, y: d * (-1 / (x * x)), "1 / x.")
unary(
    "sqrt _sparse_sqrt",
    lambda x: prim("sqrt", x),
    lambda d, x, y: d * (0.5 / y),
    "Square root; its slope at 0 is infinite.",
)
unary(
    "rsqrt _sparse_rsqrt", lambda x: 1 / prim("sqrt", x), lambda d, x, y: d * (-0.5 / (x("sqrt") * x)), "1 / sqrt(x)."
)
unary("cbrt _sparse_cbrt", lambda x: prim("cbrt", x), lambda d, x, y: d * (1 / (3 * (y * y))), "Cube root.")
unary("rcbrt", lambda x: 1 / prim("cbrt", x), lambda d, x, y: d * (-1 / (3 * (x("cbrt") * x))), "1 / cbrt(x).")

# -- exponentials and logarithms ------------------------------------------------------------------------------------

unary("exp _sparse_exp", lambda x: prim("exp", x), lambda d, x, y: d * y, "e to the power x.")
unary("expm1 _sparse_expm1", lambda x: prim("expm1", x), lambda d, x, y: d * x("exp"), "exp(x) - 1, exact near 0.")
unary("log _sparse_log", lambda x: prim("log", x), lambda d, x, y: d * (1 / x), "Natural logarithm.")
unary("log1p _sparse_log1p", lambda x: prim("log1p", x), lambda d, x, y: d * (1 / (1 + x)), "log(1 + x), exact near 0.")
unary("log2 _sparse_log2", lambda x: prim("log2", x), lambda d, x, y: d * (1 / math.log(2) / x), "Base-2 logarithm.")
unary(
    "log10 _sparse_log10", lambda x: prim("log10", x), lambda d, x, y: d * (1 / math.log(10) / x), "Base-10 logarithm."
)

# -- trigonometry ---------------------------------------------------------------------------------------------------

unary("sin _sparse_sin", lambda x: prim("sin", x), lambda d, x, y: d * x("cos"), "Sine of an angle in radians.")
unary("cos _sparse_cos", lambda x: prim("cos", x), lambda d, x, y: d * -x("sin"), "Cosine of an angle in radians.")
unary("tan _sparse_tan", lambda x: prim("tan", x), lambda d, x, y: d * (y * y + 1), "Tangent of an angle in radians.")
unary(
    "arcsin _sparse_arcsin", lambda x: prim("arcsin", x), lambda d, x, y: d * (1 / (1 - x * x)("sqrt")), "Inverse sine."
)
unary(
    "arccos _sparse_arccos",
    lambda x: prim("arccos", x),
    lambda d, x, y: d * (-1 / (1 - x * x)("sqrt")),
    "Inverse cosine.",
)
unary("arctan _sparse_arctan", lambda x: prim("arctan", x), lambda d, x, y: d * (1 / (x * x + 1)), "Inverse tangent.")
unary("sinh _sparse_sinh", lambda x: prim("sinh", x), lambda d, x, y: d * x("cosh"), "Hyperbolic sine.")
unary("cosh _sparse_cosh", lambda x: prim("cosh", x), lambda d, x, y: d * x("sinh"), "Hyperbolic cosine.")
unary("tanh _sparse_tanh", lambda x: prim("tanh", x), lambda d, x, y: d * (1 - y * y), "Hyperbolic tangent.")
unary(
    "arcsinh _sparse_arcsinh",
    lambda x: prim("arcsinh", x),
    lambda d, x, y: d * (1 / x("_hypot_scalar", scalar=1.0)),
    "Inverse hyperbolic sine.",
)
unary(
    "arccosh _sparse_arccosh",
    lambda x: prim("arccosh", x),
    lambda d, x, y: d * (1 / (x * x - 1)("sqrt")),
    "Inverse hyperbolic cosine.",
)
unary(
    "arctanh _sparse_arctanh",
    lambda x: prim("arctanh", x),
    lambda d, x, y: d * (1 / (1 - x * x)),
    "Inverse hyperbolic tangent.",
)
unary(
    "degrees _sparse_degrees",
    lambda x: x * DEGREES,
    lambda d, x, y: d * DEGREES,
    "Radians to degrees.",
    floats_of_integers="float32",
)
unary(
    "radians _sparse_radians",
    lambda x: x * RADIANS,
    lambda d, x, y: d * RADIANS,
    "Degrees to radians.",
    floats_of_integers="float32",
)

# -- activations and special functions ------------------------------------------------------------------------------

unary("sigmoid _sparse_sigmoid", lambda x: prim("sigmoid", x), lambda d, x, y: d * (y * (1 - y)), "1 / (1 + exp(-x)).")
unary(
    "softsign", lambda x: x / (1 + prim("abs", x)), lambda d, x, y: d * (1 / (1 + x("abs"))("square")), "x / (1 + |x|)."
)
# Where y is not positive it is 0 or NaN, so d * y is the 0 or NaN that MXNet gives.
unary(
    "relu _sparse_relu",
    lambda x: prim("maximum", x, 0),
    lambda d, x, y: (y > 0).choose(d, d * y),
    "max(x, 0); NaN stays; its slope at 0 is 0.",
    keeps_integers=True,
)
unary(
    "erf _npx_erf",
    lambda x: prim("erf", x),
    lambda d, x, y: d * (2 / SQRT_PI * (-(x * x))("exp")),
    "Gauss error function.",
)
unary(
    "erfinv _npx_erfinv",
    erfinv,
    lambda d, x, y: d * (0.5 * SQRT_PI * (y * y)("exp")),
    "Inverse of the error function on [-1, 1], NaN beyond; for integers beyond 1 MXNet gives 0.",
)
unary(
    "gamma _npx_gamma _sparse_gamma",
    lambda x: prim("gamma", x),
    lambda d, x, y: d * (y * x("_digamma")),
    "Gamma function.",
)
unary(
    "gammaln _npx_gammaln _sparse_gammaln",
    lambda x: prim("gammaln", x),
    lambda d, x, y: d * x("_digamma"),
    "Logarithm of the absolute value of the gamma function.",
)
unary(
    "_digamma",
    digamma,
    lambda d, x, y: d * x("_polygamma", order=1),
    "Derivative of gammaln; part of its gradient.",
    internal=True,
)


@op("_polygamma")
class Polygamma(Unary):
    """A derivative of digamma; part of the gradients of gamma and gammaln."""

    is_internal = True

    order: int = param(low=1, doc="which derivative")

    def formula(self, x: Expr) -> Expr:
        return polygamma(self.order, x)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d * x("_polygamma", order=self.order + 1)


# -- rounding and logic ---------------------------------------------------------------------------------------------


def rounding(names: str, formula: Formula, doc: str) -> None:
    """Registers a rounding operator: without slope, and the identity on integers."""
    unary(names, lambda x: formula(x) if is_float(x.dtype) else x, None, doc, keeps_integers=True)


def to_nearest(x: Expr) -> Expr:
    """The nearest integer, halves going down."""
    below, above = prim("floor", x), prim("ceil", x)
    return select(x - below <= above - x, below, above)


rounding("floor _sparse_floor", lambda x: prim("floor", x), "Largest integer not above x.")
rounding("ceil _sparse_ceil", lambda x: prim("ceil", x), "Smallest integer not below x.")
rounding("trunc _sparse_trunc", lambda x: prim("trunc", x), "x rounded toward 0.")
rounding("fix _sparse_fix", lambda x: prim("trunc", x), "x rounded toward 0.")
rounding("round _sparse_round", lambda x: prim("round", x), "Nearest integer; halves go away from 0.")
rounding("rint _sparse_rint", to_nearest, "Nearest integer; halves go down.")
unary("logical_not", lambda x: cast(prim("eq", x, 0), x.dtype), None, "1 where x is 0, else 0.", keeps_integers=True)

unary(
    "_contrib_round_ste _sparse__contrib_round_ste",
    lambda x: prim("round", x),
    lambda d, x, y: d,
    "Nearest integer, halves away from 0; the gradient passes straight through.",
)
unary(
    "_contrib_sign_ste _sparse__contrib_sign_ste",
    lambda x: cast(x > 0, x.dtype) - cast(x < 0, x.dtype),
    lambda d, x, y: d,
    "-1, 0 or 1; the gradient passes straight through.",
)

# -- copies and constants -------------------------------------------------------------------------------------------

unary(
    "zeros_like _sparse_zeros_like",
    lambda x: const(0, x.dtype),
    None,
    "Zeros of x's shape and dtype.",
    keeps_integers=True,
)
unary("ones_like", lambda x: const(1, x.dtype), None, "Ones of x's shape and dtype.", keeps_integers=True)


@op("_copy", aliases=("identity", "_copyto", "_CrossDeviceCopy"))
class Copy(Unary):
    """x itself.  MXNet operator _copy."""

    converts_gradient = True

    keeps_integers = True

    def formula(self, x: Expr) -> Expr:
        return x

    def pullback(self, d: Term, x: Term, y: Term) -> Term | None:
        return d

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]]


@op("cast_storage", aliases=("_sparse_cast_storage",))
class CastStorage(Copy):
    """x itself: arrays are stored densely.  MXNet operator cast_storage."""

    stype: str = param(choices=("csr", "default", "row_sparse"), doc="ignored")


@op("BlockGrad", aliases=("stop_gradient", "_sparse_stop_gradient"))
class BlockGrad(Copy):
    """x itself; no gradient passes, and none is needed from above.  MXNet operator BlockGrad."""

    is_loss = True

    @property
    def passes_gradient(self) -> bool:
        return False

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [None]


@op("make_loss", aliases=("_sparse_make_loss",))
class MakeLoss(Copy):
    """x itself as a loss: its gradient is 1 whatever comes from above.  MXNet operator make_loss."""

    is_loss = True
    results = ("loss",)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g.like(x[0], 1)]


@op("Cast", aliases=("cast", "_npi_cast", "_npx_cast"))
class Cast(Elementwise):
    """x converted to another dtype: floats truncate toward 0, integers wrap.  MXNet operator Cast."""

    converts_gradient = True

    dtype: str = param(choices=CAST_DTYPES, dtype=True, doc="dtype of the output")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [self.dtype]

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        return [x[0]] if self.infer_dtype([g.dtype(x[0])], [None])[1] == [g.dtype(x[0])] else None

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        rounds = t.out_dtypes[0] == "float16"
        t.map(lambda *i: rounded(cast(x(*i), "float32")) if rounds else cast(x(*i), t.out_dtype()))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return values([Term(g, flows(dy)).cast(g.dtype(x[0]))])


@op("amp_cast")
class AmpCast(Cast):
    """A Cast inserted by mixed precision; only what it trades is converted.  MXNet operator amp_cast."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        (x,) = ins
        return ins, [self.dtype if x is None or x in TRADED else x]


@op("_bfloat16")
class Bfloat16(Elementwise):
    """x as layers may read it: rounded where it is stored, which it always is."""

    is_internal = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [BFLOAT16]

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: t.ins[0](*i))


@op("_int16")
class Int16(Elementwise):
    """8-bit integers as layers may read them, in 16 bits, which `Cast` does not know."""

    is_internal = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int16"]

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: cast(t.ins[0](*i), "int16"))


@op("clip", aliases=("_npi_clip", "_sparse_clip"))
class Clip(Unary):
    """x limited to [a_min, a_max]; the gradient passes inside, at both bounds and at NaN.  MXNet operator clip."""

    keeps_integers = True
    a_min: float = param(doc="lower bound")
    a_max: float = param(doc="upper bound")

    def formula(self, x: Expr) -> Expr:
        low, high = single(self.a_min), single(self.a_max)
        if not is_float(x.dtype):
            least, most = (0, 1) if x.dtype == "bool" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
            if high < least or low > most:  # as every number of the dtype is beyond, what is left is the bound, wrapped
                return number(high if high < least else low, x.dtype)
            low, high = max(least, low), min(most, high)
        bottom, top = number(low, x.dtype), number(high, x.dtype)
        return select(x > top, top, select(x < bottom, bottom, x))

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        v = x if is_float(x.dtype) else x.cast("float32")  # bounds between two integers stay there
        return ((v > single(self.a_max)) + (v < single(self.a_min))).cast(d.dtype).choose(d.zeros(), d)


@op("hard_sigmoid")
class HardSigmoid(Unary):
    """alpha * x + beta limited to [0, 1]; the gradient passes strictly inside.  MXNet operator hard_sigmoid."""

    alpha: float = param(0.2, doc="slope")
    beta: float = param(0.5, doc="offset")

    def formula(self, x: Expr) -> Expr:
        line = x * number(single(self.alpha), x.dtype) + number(single(self.beta), x.dtype)
        return prim("maximum", 0, prim("minimum", line, 1))

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return ((y > 0) * (y < 1)).choose(d * single(self.alpha), d.zeros())


@op("smooth_l1", aliases=("_npx_smooth_l1",))
class SmoothL1(Unary):
    """(s x)^2 / 2 where |x| < 1 / s^2, else |x| - 1 / (2 s^2), s being `scalar`; for integers MXNet cuts s to one.

    MXNet operator smooth_l1.
    """

    floats_of_integers = "float32"

    scalar: float = param(1.0, doc="s: the square part ends at 1 / s^2")

    def formula(self, x: Expr) -> Expr:
        s2 = self.scalar * self.scalar
        end, square = number(1 / s2 if s2 else math.inf, x.dtype), number(s2, x.dtype)
        size = prim("abs", x)
        return select(size > end, size - 0.5 * end, 0.5 * x * x * square)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        s2 = self.scalar * self.scalar
        outside = x("abs") > (1 / s2 if s2 else math.inf)
        return d * outside.choose(x("sign"), x * s2)


# -- contrib --------------------------------------------------------------------------------------------------------


@op("_contrib_quadratic")
class Quadratic(Unary):
    """a * x**2 + b * x + c.  MXNet operator _contrib_quadratic."""

    keeps_integers = True

    a: float = param(0.0, doc="factor of the square")
    b: float = param(0.0, doc="factor of x")
    c: float = param(0.0, doc="what is added")

    def formula(self, x: Expr) -> Expr:
        work = "float32" if not is_float(x.dtype) else x.dtype
        a, b, c = (number(single(value), work) for value in (self.a, self.b, self.c))
        v = cast(x, work)
        return cast(a * v * v + b * v + c, x.dtype)

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        work = x.dtype if is_float(x.dtype) else "float32"
        slope = x.cast(work) * (2 * single(self.a)) + single(self.b)
        return (d.cast(work) * slope).cast(d.dtype)


@op("_contrib_div_sqrt_dim")
class DivSqrtDim(Elementwise):
    """x divided by the square root of the extent of its last axis.  MXNet operator _contrib_div_sqrt_dim."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 1, None, f"{self.name}: data")
        return super().infer_shape(ins, outs)

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        root = number(math.sqrt(x.shape[-1]), t.out_dtype())  # of integers its whole part
        t.map(lambda *i: x(*i) / root)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_contrib_div_sqrt_dim", flows(dy))]


@op("_contrib_gradientmultiplier")
class GradientMultiplier(Copy):
    """x itself; the gradient is multiplied by a number.  MXNet operator _contrib_gradientmultiplier."""

    scalar: float = param(1.0, doc="what the gradient is multiplied by")
    is_int: bool = param(True, doc="ignored")

    def pullback(self, d: Term, x: Term, y: Term) -> Term:
        return d * self.scalar


@op("amp_multicast")
class AmpMultiCast(Composite):
    """The inputs of the dtypes that mixed precision trades, in one dtype.  MXNet operator amp_multicast.

    float32 if one of them is, else the first input's, whatever that is; `cast_narrow`: float16 if one is, else float32.
    """

    variadic = "num_outputs"
    part = "data_"
    num_outputs: int = param(low=1, high=MAX_PORTS, doc="number of inputs, and of outputs")
    cast_narrow: bool = param(False, doc="cast to the narrowest instead")

    def result_names(self) -> tuple[str, ...]:
        return tuple(f"output{k}" for k in range(self.num_outputs)) if self.num_outputs > 1 else self.results

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shapes = [unify(a, b) for a, b in zip(ins, outs)]
        return shapes, list(shapes)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if any(d is None for d in ins):
            return ins, outs
        if self.cast_narrow:
            chosen = "float16" if "float16" in ins else "float32"
        else:
            chosen = "float32" if "float32" in ins else ins[0]
        return ins, [chosen if d in TRADED else d for d in ins]

    def compose(self, *x: Term) -> Sequence[Term]:
        dtypes = self.infer_dtype([t.dtype for t in x], [None] * len(x))[1]
        return [t.cast(d) for t, d in zip(x, dtypes) if d is not None]
