"""Random numbers of a distribution: with numbers as parameters (`_random_x`), for an array's shape (`_random_x_like`),
or with arrays as parameters, each element of which gives a block (`_sample_x`).

Every distribution is one formula on terms over three sources that are drawn anew at every run: `_noise`, and numbers
by rejection (`_variate`) from `_random_keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from symc.core.dtypes import FLOATS, compute_dtype, is_float
from symc.core.errors import ParameterError
from symc.core.shapes import FullShape, from_mxnet, from_numpy_style, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, const, prim
from symc.loopir.tensor import Lowering
from symc.loopir.variates import Variate
from symc.ops.rules.shapes import result_shape, unify_all
from symc.ops.rules.terms import Term
from symc.ops.shape.creation import Constant

Number = Term | float  # a parameter: one for all, or an array that broadcasts against the result

# -- sources --------------------------------------------------------------------------------------------------------


@op("_noise")
class Noise(Constant):
    """Independent numbers: uniform in [0, 1), normal (Box and Muller, 1958) or exponential, from 48 random bits each;
    uniform float32 from 24."""

    is_internal = True
    is_random = True

    kind: str = param(choices=("uniform", "normal", "exponential"), doc="the distribution")

    def lower(self, t: Lowering) -> None:
        dtype = t.out_dtype()

        def uniform(i: Sequence[IndexLike], draw: int) -> Expr:
            return cast(t.uniform(*i, draw=draw), dtype)

        def fine(i: Sequence[IndexLike]) -> Expr:
            return uniform(i, 0) + uniform(i, 1) * 2.0**-24

        def element(*i: IndexLike) -> Expr:
            if self.kind == "uniform":
                return fine(i) if dtype == "float64" else uniform(i, 0)
            waited = -prim("log", prim("maximum", fine(i), const(2.0**-49, dtype)))
            if self.kind == "exponential":
                return waited
            return prim("sqrt", 2.0 * waited) * prim("cos", uniform(i, 2) * 6.283185307179586)

        t.map(element)


@op("_random_keys")
class RandomKeys(Constant):
    """Distinct int64 numbers that generators of their own start with."""

    is_internal = True
    is_random = True

    def lower(self, t: Lowering) -> None:
        t.map(t.random_key)


@op("_variate")
class VariateOf(Op):
    """keys (*p, *block) and parameters (*p) -> one number of a family from every key (see loopir.variates)."""

    arguments = ("keys", "parameter")
    is_internal = True

    family_name: str = param(choices=("gamma", "poisson"), doc="the distribution")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[0], outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[1]]

    def lower(self, t: Lowering) -> None:
        t.template(Variate(self.family_name))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Source:
    """Draws for a result of a shape in a dtype, as terms of a graph; results of `parameters` shape are aligned."""

    g: GraphBuilder
    shape: FullShape
    dtype: str

    def noise(self, kind: str) -> Term:
        """Numbers of the result's shape."""
        return Term(self.g, self.g("_noise", shape=self.shape, dtype=self.dtype, kind=kind))

    def variate(self, family: str, parameter: Number) -> Term:
        """Numbers of the result's shape by rejection, each with its parameter."""
        g = self.g
        if not isinstance(parameter, Term):
            parameter = Term(g, g.full((1,) * len(self.shape), self.dtype, parameter))
        keys = Term(g, g("_random_keys", shape=self.shape, dtype="int64"))
        return keys("_variate", parameter.cast(self.dtype), family_name=family)


# -- formulas -------------------------------------------------------------------------------------------------------

SPACING = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}  # of the numbers below 1


def uniform(s: Source, low: Number, high: Number, kept: str) -> Term:
    """In [low, high); rounding, to `kept` as well, must not reach `high`: 1.5 spacings below are enough."""
    drawn = s.noise("uniform") * (high - low) + low
    if isinstance(high, Term):
        return _maximum(_minimum(drawn, high - high("abs") * (1.5 * SPACING[kept])), low)
    return _maximum(_minimum(drawn, high - abs(high) * 1.5 * SPACING[kept]), low)


def _minimum(x: Term, limit: Number) -> Term:
    return x("broadcast_minimum", limit) if isinstance(limit, Term) else x("_minimum_scalar", scalar=limit)


def _maximum(x: Term, limit: Number) -> Term:
    return x("broadcast_maximum", limit) if isinstance(limit, Term) else x("_maximum_scalar", scalar=limit)


def generalized_negative_binomial(s: Source, mu: Number, alpha: Number, kept: str) -> Term:
    """Poisson whose mean is gamma distributed with mean mu and variance alpha mu^2; Poisson for alpha 0."""
    if not isinstance(alpha, Term):
        return s.variate("poisson", s.variate("gamma", 1 / alpha) * alpha * mu if alpha else mu)
    varying = s.variate("gamma", 1 / alpha) * alpha * mu
    fixed = (varying.zeros() + 1) * mu
    return s.variate("poisson", (alpha.broadcast_to(s.shape) > 0).choose(varying, fixed))


@dataclass(frozen=True)
class Parameter:
    """A parameter of a distribution: as a number (with a default of 0 or 1), and what it is called as an array."""

    name: str
    array: str
    default: float
    doc: str
    kind: type = float


@dataclass(frozen=True)
class Distribution:
    """A family of distributions: its parameters, when they make sense, and how it is drawn.

    requirement     what must hold of the numbers, as text and as a function of them
    draw            (source, *parameters, dtype that is kept) -> numbers of the source's shape
    """

    name: str
    parameters: tuple[Parameter, ...]
    requirement: tuple[str, Callable[..., bool]]
    draw: Callable[..., Term]


DISTRIBUTIONS = (
    Distribution(
        "uniform",
        (Parameter("low", "low", 0.0, "lower bound, included"), Parameter("high", "high", 1.0, "upper bound")),
        ("low <= high", lambda low, high: low <= high),
        uniform,
    ),
    Distribution(
        "normal",
        (Parameter("loc", "mu", 0.0, "mean"), Parameter("scale", "sigma", 1.0, "standard deviation")),
        ("scale > 0", lambda loc, scale: scale > 0),
        lambda s, mu, sigma, kept: s.noise("normal") * sigma + mu,
    ),
    Distribution(
        "gamma",
        (Parameter("alpha", "alpha", 1.0, "shape"), Parameter("beta", "beta", 1.0, "scale")),
        ("alpha > 0 and beta > 0", lambda alpha, beta: alpha > 0 and beta > 0),
        lambda s, alpha, beta, kept: s.variate("gamma", alpha) * beta,
    ),
    Distribution(
        "exponential",
        (Parameter("lam", "lam", 1.0, "rate: 1 / mean"),),
        ("lam > 0", lambda lam: lam > 0),
        lambda s, lam, kept: s.noise("exponential") / lam,
    ),
    Distribution(
        "poisson",
        (Parameter("lam", "lam", 1.0, "mean"),),
        ("lam >= 0", lambda lam: lam >= 0),
        lambda s, lam, kept: s.variate("poisson", lam),
    ),
    Distribution(
        "negative_binomial",
        (Parameter("k", "k", 1, "how many successes end the trials", int),
         Parameter("p", "p", 1.0, "probability of success")),
        ("k >= 0 and 0 < p <= 1", lambda k, p: k >= 0 and 0 < p <= 1),
        lambda s, k, p, kept: s.variate("poisson", s.variate("gamma", k) * ((1 - p) / p)),
    ),
    Distribution(
        "generalized_negative_binomial",
        (Parameter("mu", "mu", 1.0, "mean"), Parameter("alpha", "alpha", 1.0, "dispersion")),
        ("mu >= 0 and alpha >= 0", lambda mu, alpha: mu >= 0 and alpha >= 0),
        generalized_negative_binomial,
    ),
)  # fmt: skip

# -- the three forms ------------------------------------------------------------------------------------------------


@declares_parameters
class Drawing(Op):
    """Numbers drawn anew at every run; the gradient of the parameters is 0."""

    is_random = True
    distribution: ClassVar[Distribution]

    def drawn(self, g: GraphBuilder, shape: FullShape, dtype: str, *parameters: Number) -> Sequence[Value]:
        """The formula of the distribution, computed in float32 at least; integers are truncated."""
        kept = dtype if is_float(dtype) else "float32"
        source = Source(g, shape, compute_dtype(kept))
        return [self.distribution.draw(source, *parameters, kept).cast(dtype).value]

    def numbers(self) -> list[float]:
        """The parameters of a form that has them as numbers."""
        return [getattr(self, p.name) for p in self.distribution.parameters]

    def check_numbers(self) -> None:
        """Raises ParameterError where the numbers are no parameters of the distribution."""
        text, holds = self.distribution.requirement
        if not holds(*self.numbers()):
            seen = ", ".join(f"{p.name}={n}" for p, n in zip(self.distribution.parameters, self.numbers()))
            raise ParameterError(f"{self.name}: expected {text}, got {seen}")


@declares_parameters
class RandomNumbers(Drawing):
    """(*shape): without a shape, that of the users."""

    arguments = ()

    shape: tuple[int, ...] | None = param(None, doc="shape of the result; None leaves it to the users")
    ctx: str = param("", doc="context; ignored: the executor decides")
    dtype: str | None = param(None, choices=FLOATS, dtype=True, doc="dtype of the result; None is float32")
    is_exact: bool = False

    def __post_init__(self) -> None:
        self.check_numbers()

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        read = from_numpy_style if self.is_exact else from_mxnet
        return [], [unify(read(self.shape), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [], [self.dtype or "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        assert g.serving is not None
        return self.drawn(g, g.shape(g.serving[0]), self.dtype or "float32", *self.numbers())


@declares_parameters
class LikeNumbers(Drawing):
    """Numbers of the shape and dtype of data, which is not read."""

    def __post_init__(self) -> None:
        self.check_numbers()

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        return self.drawn(g, g.shape(x[0]), g.dtype(x[0]), *self.numbers())


@declares_parameters
class SampledNumbers(Drawing):
    """Parameters (*p) -> (*p, *shape): each element draws a block; parameters that make no sense draw NaN or nonsense.

    Without a shape every parameter draws one number.
    """

    shape: tuple[int, ...] = param((), doc="shape of the block of each parameter")
    dtype: str | None = param(None, choices=FLOATS, dtype=True, doc="dtype of the result; None is float32")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify_all(ins)
        return [shape] * len(ins), outs if shape is None else [unify((*shape, *self.shape), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype(ins)
        return [dtype] * len(ins), [self.dtype or "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        dtype = self.dtype or "float32"
        aligned = (*g.shape(x[0]), *(1 for _ in self.shape))
        terms = [Term(g, v).reshape(aligned).cast(compute_dtype(dtype)) for v in x]
        return self.drawn(g, result_shape(self, g, x), dtype, *terms)


ALIASES = {"_random_uniform": ("uniform",), "_random_normal": ("normal",)}


def _register(distribution: Distribution) -> None:
    """The operators of a distribution, one for each form."""
    numbers = distribution.parameters
    fields = {p.name: param(p.default, doc=p.doc) for p in numbers}
    kinds = {p.name: p.kind for p in numbers}
    typed: dict[str, Any] = {**fields, "__annotations__": kinds, "distribution": distribution}
    order = tuple(p.name for p in numbers)
    forms: tuple[tuple[str, type[Drawing], dict[str, Any], str], ...] = (
        ("_random_{}", RandomNumbers, {**typed, "parameter_order": (*order, "shape", "ctx", "dtype")}, "for one {}"),
        ("_random_{}_like", LikeNumbers, typed, "of the shape and dtype of data, for one {}"),
        ("_sample_{}", SampledNumbers, {"distribution": distribution, "arguments": tuple(p.array for p in numbers)},
         "for an array of {}s"),
    )  # fmt: skip
    title = distribution.name.replace("_", " ")
    for pattern, form, body, what in forms:
        name = pattern.format(distribution.name)
        doc = f"Random numbers {what.format(f'{title} distribution')}.  MXNet operator {name}."
        aliases = ALIASES.get(name, ()) if form is LikeNumbers else (name[1:], *ALIASES.get(name, ()))
        op(name, aliases)(type(name, (form,), {**body, "__doc__": doc, "__module__": __name__}))


for _distribution in DISTRIBUTIONS:
    _register(_distribution)
