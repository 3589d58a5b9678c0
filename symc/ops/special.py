"""Special functions composed from scalar primitives."""

from __future__ import annotations

import math

from ..loopir.expr import Expr, prim, select

# Asymptotic series of digamma: ln z - 1/(2z) - sum of B(2k) / (2k z^2k)  (Abramowitz & Stegun 6.3.18).
_DIGAMMA_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760)
_DIGAMMA_SHIFT = 8  # the series is good to 1e-13 beyond 8

# Inverse error function, central (w < 5) and tail polynomials in w = -ln((1 - x) (1 + x)), highest power first
# (M. Giles, "Approximating the erfinv function", GPU Computing Gems, 2011).
_ERFINV_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                  -0.00417768164, 0.246640727, 1.50140941)
_ERFINV_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
                0.00943887047, 1.00167406, 2.83297682)


def digamma(x: Expr) -> Expr:
    """The derivative of ln(gamma(x)): recurrence up to 8, then the asymptotic series; reflected below 0.

    At 0 and at negative integers it is infinite or NaN.
    """
    a = select(x < 0, 1 - x, x)
    z = a + float(_DIGAMMA_SHIFT)
    below = 1 / a
    for k in range(1, _DIGAMMA_SHIFT):
        below = below + 1 / (a + float(k))
    inverse = 1 / z
    value = prim("log", z) - 0.5 * inverse - inverse * inverse * _polynomial(_DIGAMMA_SERIES[::-1], inverse * inverse)
    value = value - below
    return select(x < 0, value - math.pi / prim("tan", math.pi * x), value)


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
