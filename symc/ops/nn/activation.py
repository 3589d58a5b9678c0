"""Activations of single elements: Activation and LeakyReLU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, cast, prim, select
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows


def single(value: float) -> float:
    """A number rounded to float32, as MXNet keeps the parameters it declares `float`."""
    return float(np.float32(value))


SELU_ALPHA = single(1.6732632423543772)  # Klambauer et al., "Self-Normalizing Neural Networks", 2017
SELU_LAMBDA = single(1.0507009873554805)


# -- one element at a time ------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]] = {
    # formula of x; slope in terms of y (softsign: of x)
    "relu": (lambda x: prim("maximum", x, 0.0), lambda y: select(y > 0, 1.0, y * 0.0)),
    "sigmoid": (lambda x: prim("sigmoid", x), lambda y: y * (1.0 - y)),
    "softrelu": (lambda x: select(x > 20.0, x, prim("log1p", prim("exp", x))), lambda y: -prim("expm1", -y)),
    "softsign": (lambda x: x / (1.0 + prim("abs", x)), lambda x: _reciprocal_square(1.0 + prim("abs", x))),
    "tanh": (lambda x: prim("tanh", x), lambda y: 1.0 - y * y),
}


# The derivative of the slope in terms of what the slope is in terms of; None where it is 0.
BENDS: dict[str, Callable[[Term], Term | None]] = {
    "relu": lambda y: None,
    "sigmoid": lambda y: 1 - 2 * y,
    "softrelu": lambda y: (-y)("exp"),
    "softsign": lambda x: x("sign") * -2 / (x("abs") + 1) ** 3,
    "tanh": lambda y: y * -2,
}


def _reciprocal_square(x: Expr) -> Expr:
    return 1.0 / (x * x)


@op("Activation", aliases=("_npx_activation",))
class Activation(FloatData, Elementwise):
    """An activation function of every element: relu max(x, 0), sigmoid 1 / (1 + exp(-x)), tanh, softrelu
    log(1 + exp(x)) or softsign x / (1 + |x|).  Source: MXNet operator Activation.
    """

    act_type: str = param(choices=tuple(ACTIVATIONS), doc="the function")

    def lower(self, t: Lowering) -> None:
        formula, _ = ACTIVATIONS[self.act_type]
        t.map(lambda *i: formula(t.ins[0](*i)))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None]
        seen = x[0] if self.act_type == "softsign" else y[0]
        return [g("_activation_gradient", dy[0], seen, act_type=self.act_type)]


@op("_activation_gradient")
class ActivationGradient(Elementwise):
    """dy times the slope of an activation, from its output (softsign: from its input)."""

    arguments = ("dy", "seen")
    is_internal = True

    act_type: str = param(choices=tuple(ACTIVATIONS), doc="the function")

    def lower(self, t: Lowering) -> None:
        _, slope = ACTIVATIONS[self.act_type]
        t.map(lambda *i: t.ins[0](*i) * slope(t.ins[1](*i)))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        head, d = Term(g, x[0]), Term(g, flows(dy))
        bend = BENDS[self.act_type](Term(g, x[1]))
        return [g(self.name, d.value, x[1], act_type=self.act_type), bend and (head * d * bend).value]


@declares_parameters
class _Leaky(Elementwise):
    """The parameters of LeakyReLU and its gradient."""

    act_type: str = param("leaky", choices=("elu", "gelu", "leaky", "prelu", "rrelu", "selu"), doc="the function")
    slope: float = param(0.25, doc="slope (leaky) or limit (elu) on the negative side")
    lower_bound: float = param(0.125, doc="lower bound of the random slope of rrelu")
    upper_bound: float = param(0.334, doc="upper bound of the random slope of rrelu")

    @property
    def mean_slope(self) -> float:
        """The slope of rrelu outside training."""
        return (single(self.lower_bound) + single(self.upper_bound)) / 2


@op("LeakyReLU", aliases=("_npx_leaky_relu",))
class LeakyReLU(FloatData, _Leaky):
    """x where x > 0; on the negative side slope * x (leaky, slope 0.25 by default), gamma * x with one gamma a channel
    (prelu), a random slope a element in training and the mean slope otherwise (rrelu), slope * (exp(x) - 1) (elu),
    lambda * alpha * (exp(x) - 1) with x scaled by lambda (selu); gelu is x * (1 + erf(x / sqrt 2)) / 2.

    data (N, C, *rest), gamma (C,) or (1,).  rrelu has the slopes as second output (zeros outside training).  Computed
    in the data's own precision; MXNet multiplies float64 data by slope and gamma in float32.
    Source: MXNet operator LeakyReLU.
    """

    arguments = ("data", "gamma")

    trained = frozenset({"gamma"})

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        return self.act_type == "rrelu"

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments if self.act_type == "prelu" else self.arguments[:1]

    def result_names(self) -> tuple[str, ...]:
        return ("output", "mask") if self.act_type == "rrelu" else ("output",)

    def initial_attrs(self, input_name: str) -> dict[str, str]:
        return {"__init__": '["Constant", {"value": 0.25}]'} if input_name == "gamma" else {}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        for out in outs:
            data = unify(data, out)
        if self.act_type != "prelu" or data is None:
            return [data, *ins[1:]], [data] * len(outs)
        gamma = ins[1]
        if gamma is None:
            check_rank(data, 2, None, "LeakyReLU: the data of prelu")
            gamma = (data[1],)
        elif None not in data and None not in gamma:
            gamma_axes(gamma, data)  # type: ignore[arg-type]
        return [data, gamma], [data]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Outside training, rrelu is leaky with the mean slope."""
        if self.act_type != "rrelu" or training:
            return None
        y = g("LeakyReLU", x[0], act_type="leaky", slope=self.mean_slope)
        return [y, g.like(x[0], 0)]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]

        def number_of(value: float) -> Expr:
            return number(single(value), x.dtype)

        def random_slope(*i: IndexLike) -> Expr:
            width = single(self.upper_bound) - single(self.lower_bound)
            return cast(t.uniform(*i), x.dtype) * number_of(width) + number_of(self.lower_bound)

        def negative(*i: IndexLike) -> Expr:
            if self.act_type == "prelu":
                return x(*i) * gamma_at(t.ins[1], x, i)
            if self.act_type == "rrelu":
                return x(*i) * random_slope(*i)
            if self.act_type == "leaky":
                return x(*i) * number_of(self.slope)
            limit = number_of(self.slope) if self.act_type == "elu" else number(SELU_LAMBDA * SELU_ALPHA, x.dtype)
            return limit * prim("expm1", x(*i))

        def element(*i: IndexLike) -> Expr:
            if self.act_type == "gelu":
                return 0.5 * x(*i) * (1.0 + prim("erf", x(*i) * math.sqrt(0.5)))
            positive = x(*i) * SELU_LAMBDA if self.act_type == "selu" else x(*i)
            return select(x(*i) > 0.0, positive, negative(*i))

        t.map(element)
        if self.act_type == "rrelu":
            t.map(random_slope, output=1)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        if self.act_type == "rrelu" and not g.training:
            return [g("_leaky_gradient", dy[0], y[0], act_type="leaky", slope=self.mean_slope)]
        seen = {"gelu": x[:1], "prelu": x, "rrelu": y}.get(self.act_type, y[:1])
        d_data = g("_leaky_gradient", dy[0], *seen, act_type=self.act_type, slope=self.slope)
        if self.act_type != "prelu":
            return [d_data]
        data, head = Term(g, x[0]), Term(g, dy[0])
        terms = (data > 0.0).choose(data.zeros(), data * head)
        return [d_data, summed_to_gamma(terms, g.shape(x[1])).value]


@op("_leaky_gradient")
class LeakyGradient(_Leaky):
    """dy times the slope of LeakyReLU: from its output (leaky, elu, selu), its input (gelu), its input and gamma
    (prelu), or its output and the random slopes (rrelu).
    """

    is_internal = True

    def argument_names(self) -> tuple[str, ...]:
        return ("dy", "seen", "slopes") if self.act_type in ("prelu", "rrelu") else ("dy", "seen")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(ins[0], ins[1])]

    def lower(self, t: Lowering) -> None:
        dy, seen = t.ins[:2]

        def slope(*i: IndexLike) -> Expr:
            v = seen(*i)
            if self.act_type == "gelu":
                bell = prim("exp", -(v * v) * 0.5) * math.sqrt(2 / math.pi)
                return 0.5 * (1.0 + prim("erf", v * math.sqrt(0.5)) + v * bell)
            if self.act_type == "selu":
                return SELU_LAMBDA * select(v > 0.0, 1.0, v + SELU_ALPHA)
            if self.act_type == "prelu":
                below = gamma_at(t.ins[2], seen, i)
            elif self.act_type == "rrelu":
                below = t.ins[2](*i)
            else:
                limit = number(single(self.slope), v.dtype)
                below = v + limit if self.act_type == "elu" else limit
            return select(v > 0.0, 1.0, below)

        t.map(lambda *i: dy(*i) * slope(*i))

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        head, seen, d = Term(g, x[0]), Term(g, x[1]), Term(g, flows(dy))
        params = {"act_type": self.act_type, "slope": self.slope}
        again = g("_leaky_gradient", d.value, *x[1:], **params)
        below = (seen > 0.0).choose(d.zeros(), head * d)
        if self.act_type == "gelu":
            bell = (seen * seen * -0.5)("exp") * (1 / math.sqrt(2 * math.pi))
            return [again, (head * d * bell * (2 - seen * seen)).value]
        if self.act_type == "selu":
            return [again, (below * SELU_LAMBDA).value]
        if self.act_type == "elu":
            return [again, below.value]
        if self.act_type == "prelu":
            return [again, None, summed_to_gamma(below, g.shape(x[2])).value]
        return [again, None, below.value] if self.act_type == "rrelu" else [again, None]


def summed_to_gamma(terms: Term, gamma: FullShape) -> Term:
    """The adjoint of repeating prelu's gamma over the data."""
    kept = gamma_axes(gamma, terms.shape)
    aligned = tuple(gamma[kept.index(a)] if a in kept else 1 for a in range(len(terms.shape)))
    return terms.sum_to(aligned).reshape(gamma)


def gamma_axes(gamma: FullShape, data: FullShape) -> tuple[int, ...]:
    """Along which axes of the data the axes of prelu's gamma lie: among the first two, from the right, where the
    extents agree or gamma's is 1.  Raises ShapeError when gamma does not fit.
    """
    axes, left = [], list(gamma)
    for a in range(min(len(data), 2) - 1, -1, -1):
        if left and left[-1] in (data[a], 1):
            axes.append(a)
            left.pop()
    if left:
        raise ShapeError(f"Cannot broadcast gamma to data. gamma: {gamma}, data: {data}")
    return tuple(reversed(axes))


def gamma_at(gamma: Tensor, data: Tensor, index: Sequence[IndexLike | Expr]) -> Expr:
    """The slope of prelu at an element of the data."""
    axes = gamma_axes(gamma.shape, data.shape)
    return gamma(*(0 if n == 1 else index[a] for n, a in zip(gamma.shape, axes)))
