"""Cases of probability densities; parameters and samples all lie in (0.2, 0.9), where every distribution has some."""

from __future__ import annotations

import math

import numpy as np

from .cases import Case, over_dtypes

PARAMETERS = {
    "normal": 2, "gamma": 2, "exponential": 1, "poisson": 1, "negative_binomial": 2, "generalized_negative_binomial": 2,
}  # fmt: skip
CONTINUOUS = ("normal", "gamma", "exponential")
DOMAIN = (0.2, 0.9)


def _cases(name: str) -> list:
    n = PARAMETERS[name]
    grads = tuple(range(0 if name in CONTINUOUS else 1, n + 1))
    op = f"_random_pdf_{name}"
    blocks, single = ((2, 3, 4), *[(2, 3)] * n), ((7,), *[(7,)] * n)
    log = {"is_log": True}
    dtypes = ("float32",) if name == "normal" else ("float32", "float64")  # MXNet's pi is a float32 there: 1e-8 off
    return [
        *over_dtypes(Case(op, blocks, domain=DOMAIN, grads=grads), dtypes),
        *over_dtypes(Case(op, blocks, log, domain=DOMAIN, grads=grads), dtypes),
        Case(op, single, domain=DOMAIN, grads=grads),
    ]


RISING = (0.1, 0.5, 1.5, 2.0, 2.5, 3.0)  # each array starts with the next one, so that low < high

CASES = [
    *(Case("_random_pdf_uniform", ((2, 3), (2,), (2,)), {"is_log": log}, dtype, points=RISING, grads=(1, 2))
      for log in (False, True) for dtype in ("float32", "float64")),
    *(case for name in PARAMETERS for case in _cases(name)),
    Case("_random_pdf_dirichlet", ((2, 5, 3), (2, 3)), domain=DOMAIN),
    Case("_random_pdf_dirichlet", ((2, 5, 3), (2, 3)), {"is_log": True}, domain=DOMAIN),
    Case("_random_pdf_dirichlet", ((4, 3), (4, 3)), dtypes="float64", domain=DOMAIN),
    Case("_random_pdf_dirichlet", ((3,), (3,)), domain=DOMAIN),
]  # fmt: skip

_gammaln = np.vectorize(math.lgamma, otypes="d")


def _oracle(log_density):  # type: ignore[no-untyped-def]
    def density(x, *parameters, is_log=False):  # type: ignore[no-untyped-def]
        aligned = [p.reshape(p.shape + (1,) * (x.ndim - p.ndim)) for p in parameters]
        log = log_density(x, *aligned)
        return log if is_log else np.exp(log)

    return density


def _binomial(x, k, p):  # type: ignore[no-untyped-def]
    return _gammaln(x + k) - _gammaln(x + 1) - _gammaln(k) + k * np.log(p) + x * np.log(1 - p)


def _dirichlet(x, alpha, is_log=False):  # type: ignore[no-untyped-def]
    a = alpha.reshape(alpha.shape[:-1] + (1,) * (x.ndim - alpha.ndim) + alpha.shape[-1:])
    log = ((a - 1) * np.log(x)).sum(-1) + _gammaln(a.sum(-1)) - _gammaln(a).sum(-1)
    return (log if is_log else np.exp(log)).reshape(x.shape[:-1] or (1,))


# What NumPy says in float64.
ORACLE = {
    "_random_pdf_dirichlet": _dirichlet,
    **{
        f"_random_pdf_{name}": _oracle(f)
        for name, f in {
            "uniform": lambda x, low, high: -np.log(high - low) + 0 * x,
            "normal": lambda x, m, s: -((x - m) ** 2) / (2 * s * s) - np.log(s * np.sqrt(2 * np.pi)),
            "gamma": lambda x, a, b: a * np.log(b) + (a - 1) * np.log(x) - b * x - _gammaln(a),
            "exponential": lambda x, m: np.log(m) - m * x,
            "poisson": lambda x, m: x * np.log(m) - m - _gammaln(x + 1),
            "negative_binomial": _binomial,
            "generalized_negative_binomial": lambda x, m, a: _binomial(x, 1 / a, 1 / (1 + m * a)),
        }.items()
    },
}
