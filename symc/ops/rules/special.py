"""Special functions composed from scalar primitives."""

from __future__ import annotations

import math
import sys

from symc.loopir.expr import Expr, cast, const, prim, select

# Asymptotic series of digamma: ln z - 1/(2z) - sum of B(2k) / (2k z^2k)  (Abramowitz & Stegun 6.3.18), highest power
# first; good to 1e-15 from 10 on.
_DIGAMMA_SERIES = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_DIGAMMA_FROM = 10
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)  # B(2), B(4), ...

# Inverse error function, central (w < 5) and tail polynomials in w = -ln((1 - x) (1 + x)), highest power first
# (M. Giles, "Approximating the erfinv function", GPU Computing Gems, 2011).
_ERFINV_CENTRE = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_ERFINV_TAIL = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def digamma(x: Expr) -> Expr:
    """The derivative of ln(gamma(x)): recurrence up to 10, then the asymptotic series; reflected below 0.

    As in MXNet (special_functions-inl.h, after cephes), the logarithm of float64 data has float32 accuracy except at
    positive integers up to 10, and 0 and negative integers give the largest float64.
    """
    is_integer = prim("eq", x, prim("floor", x))
    is_reflected = x <= 0
    start = select(is_reflected, 1 - x, x)
    n_steps = prim("maximum", prim("ceil", _DIGAMMA_FROM - start), 0)
    z = start + n_steps
    below: Expr | float = 0.0
    for k in range(_DIGAMMA_FROM):
        below = below + select(n_steps > k, 1 / (start + k), const(0, x.dtype))
    exact = prim("log", z)
    rough = cast(cast(prim("log", cast(cast(z, "float32"), x.dtype)), "float32"), x.dtype)
    logarithm = select(prim("and", is_integer, start <= _DIGAMMA_FROM), exact, rough)
    inverse = 1 / (z * z)
    value = logarithm - 0.5 / z - inverse * _polynomial(_DIGAMMA_SERIES, inverse) - below
    fraction = x - prim("floor", x + 0.5)
    is_half = prim("eq", prim("abs", fraction), 0.5)
    cotangent = select(is_half, const(0, x.dtype), math.pi / prim("tan", math.pi * fraction))
    largest = const(math.inf if x.dtype == "float32" else sys.float_info.max, x.dtype)
    return select(is_reflected, select(is_integer, largest, value - cotangent), value)


def polygamma(order: int, x: Expr) -> Expr:
    """Derivative number `order` (from 1 on) of digamma: recurrence up to 10 + order, then the derived asymptotic
    series; below 0 the derived reflection, pi cot(pi x) = digamma(1 - x) - digamma(x).  Infinite at 0, -1, -2, ...
    """
    sign = -1.0 if order % 2 == 0 else 1.0  # of the values at positive x
    is_reflected = x <= 0
    start = select(is_reflected, 1 - x, x)
    steps = _DIGAMMA_FROM + order
    n_steps = prim("maximum", prim("ceil", steps - start), 0)
    z = start + n_steps

    def power(base: Expr, exponent: int) -> Expr:
        return prim("pow", base, const(exponent, x.dtype))

    total: Expr | float = 0.0
    for k in range(steps):
        term = math.factorial(order) / power(start + k, order + 1)
        total = total + select(n_steps > k, term, const(0, x.dtype))
    total = total + math.factorial(order - 1) / power(z, order) + 0.5 * math.factorial(order) / power(z, order + 1)
    for k, bernoulli in enumerate(_BERNOULLI, 1):
        factor = bernoulli * math.factorial(2 * k + order - 1) / math.factorial(2 * k)
        total = total + factor / power(z, 2 * k + order)
    value = sign * total
    # d/dx cot(pi x) = -pi (1 + cot^2): derivatives are polynomials of the cotangent, lowest power first.
    cotangents = [0.0, 1.0]
    for _ in range(order):
        slope = [k * c for k, c in enumerate(cotangents)][1:]
        cotangents = [-a - b for a, b in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope])]
    fraction = x - prim("floor", x + 0.5)
    cotangent = 1 / prim("tan", math.pi * fraction)
    reflection = math.pi ** (order + 1) * _polynomial(tuple(reversed(cotangents)), cotangent)
    mirrored = value * (-1.0 if order % 2 else 1.0) - reflection
    is_pole = prim("and", is_reflected, prim("eq", x, prim("floor", x)))
    return select(is_pole, const(math.inf, x.dtype), select(is_reflected, mirrored, value))


def erfinv(x: Expr) -> Expr:
    """y with erf(y) = x: a polynomial start, then two Newton steps; infinite at -1 and 1, NaN beyond."""
    w = -prim("log", (1 - x) * (1 + x))
    y = x * select(w < 5, _polynomial(_ERFINV_CENTRE, w - 2.5), _polynomial(_ERFINV_TAIL, prim("sqrt", w) - 3.0))
    start = y
    for _ in range(2):
        y = y - (prim("erf", y) - x) * (math.sqrt(math.pi) / 2) * prim("exp", y * y)
    size = prim("abs", x)
    y = select(size < 1, y, x * math.inf)
    return select(size > 1, start * math.nan, y)


def _polynomial(coefficients: tuple[float, ...], x: Expr) -> Expr:
    """Horner's rule; highest power first."""
    total: Expr | float = coefficients[0]
    for c in coefficients[1:]:
        total = x * total + c
    assert isinstance(total, Expr)
    return total
