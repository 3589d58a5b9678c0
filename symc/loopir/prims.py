"""The scalar primitives a kernel may use: name, arity, result type, and what they mean on NumPy arrays.

`meaning` is the living definition: the interpreter runs it, and every emitter (SIMD, PTX) is tested against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Prim:
    """One primitive; its result type is 'same' (as its operands), 'choice' (as its last two operands) or fixed."""

    arity: int
    meaning: Callable[..., Any]
    result: Literal["same", "bool", "choice", "float32"] = "same"


def _divide(a: Any, b: Any) -> Any:
    """IEEE division; integers truncate toward zero and x / 0 is 0, so that no kernel can trap."""
    if np.asarray(a).dtype.kind == "f":
        return np.divide(a, b)
    safe = np.where(b == 0, 1, b)
    with np.errstate(over="ignore"):  # the least integer by -1 wraps
        below = np.floor_divide(a, safe)
        is_between = (below * safe != a) & (below < 0)
    return np.where(b == 0, 0, below + is_between).astype(np.asarray(a).dtype)


def _modulo(a: Any, b: Any) -> Any:
    """The remainder with the divisor's sign; x mod 0 is 0 (mshadow_op.h: mod)."""
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, np.mod(a, safe)).astype(np.asarray(a).dtype)


def _floor_divide(a: Any, b: Any) -> Any:
    return np.floor_divide(a, b)


def _round(a: Any) -> Any:
    """Half away from zero (C round)."""
    return np.where(np.abs(a - np.trunc(a)) == 0.5, np.trunc(a) + np.sign(a), np.round(a)).astype(np.asarray(a).dtype)


def _maximum(a: Any, b: Any) -> Any:
    """a > b ? a : b, with a NaN on either side kept."""
    return np.maximum(a, b)


def _minimum(a: Any, b: Any) -> Any:
    return np.minimum(a, b)


def _in_double(ufunc: np.ufunc) -> Callable[..., Any]:
    """A function of floats; float32 goes through float64, because NumPy's vector code for it is up to 4 ulp off."""

    def apply(*args: Any) -> Any:
        if np.asarray(args[0]).dtype != np.float32:
            return ufunc(*args)
        return ufunc(*args, dtype=np.float64).astype(np.float32)

    return apply


def _per_element(
    function: Callable[[float], float], outside: Callable[[float], float] = lambda x: math.nan
) -> Callable[..., Any]:
    """A C library function applied element by element (slow and obvious); `outside` is its value off the domain."""

    def safe(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return outside(x)

    ufunc = np.frompyfunc(safe, 1, 1)

    def apply(x: Any) -> Any:
        return np.asarray(ufunc(np.asarray(x, "float64")), "float64").astype(np.asarray(x).dtype)

    return apply


def _gamma_outside(x: float) -> float:
    """C tgamma: infinite at the two zeros, NaN at negative integers."""
    return math.copysign(math.inf, x) if x == 0 else math.nan


def _sigmoid(a: Any) -> Any:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-np.asarray(a, "float64")))).astype(np.asarray(a).dtype)


def _hash_uniform(counter: Any, key: Any) -> Any:
    """Uniform float32 in [0, 1) from a 64-bit counter and key.

    splitmix64 (Steele et al., 2014) of counter * golden + key, top 24 bits.
    """
    with np.errstate(over="ignore"):
        z = np.asarray(counter).astype("uint64") * np.uint64(0x9E3779B97F4A7C15) + np.asarray(key).astype("uint64")
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype("float32")) * np.float32(2.0**-24)


PRIMS: dict[str, Prim] = {
    # arithmetic
    "add": Prim(2, np.add),
    "sub": Prim(2, np.subtract),
    "mul": Prim(2, np.multiply),
    "div": Prim(2, _divide),
    "mod": Prim(2, _modulo),
    "floordiv": Prim(2, _floor_divide),
    "neg": Prim(1, np.negative),
    "abs": Prim(1, np.abs),
    "sign": Prim(1, np.sign),
    "maximum": Prim(2, _maximum),
    "minimum": Prim(2, _minimum),
    # rounding
    "floor": Prim(1, np.floor),
    "ceil": Prim(1, np.ceil),
    "trunc": Prim(1, np.trunc),
    "round": Prim(1, _round),
    "rint": Prim(1, np.rint),
    # comparison, logic, choice
    "lt": Prim(2, np.less, "bool"),
    "le": Prim(2, np.less_equal, "bool"),
    "gt": Prim(2, np.greater, "bool"),
    "ge": Prim(2, np.greater_equal, "bool"),
    "eq": Prim(2, np.equal, "bool"),
    "ne": Prim(2, np.not_equal, "bool"),
    "and": Prim(2, np.logical_and, "bool"),
    "or": Prim(2, np.logical_or, "bool"),
    "not": Prim(1, np.logical_not, "bool"),
    "select": Prim(3, np.where, "choice"),
    # transcendental
    "sqrt": Prim(1, np.sqrt),
    "cbrt": Prim(1, _in_double(np.cbrt)),
    "exp": Prim(1, _in_double(np.exp)),
    "expm1": Prim(1, _in_double(np.expm1)),
    "log": Prim(1, _in_double(np.log)),
    "log1p": Prim(1, _in_double(np.log1p)),
    "log2": Prim(1, _in_double(np.log2)),
    "log10": Prim(1, _in_double(np.log10)),
    "pow": Prim(2, _in_double(np.power)),
    "hypot": Prim(2, np.hypot),
    "sigmoid": Prim(1, _sigmoid),
    "sin": Prim(1, _in_double(np.sin)),
    "cos": Prim(1, _in_double(np.cos)),
    "tan": Prim(1, _in_double(np.tan)),
    "arcsin": Prim(1, _in_double(np.arcsin)),
    "arccos": Prim(1, _in_double(np.arccos)),
    "arctan": Prim(1, _in_double(np.arctan)),
    "sinh": Prim(1, _in_double(np.sinh)),
    "cosh": Prim(1, _in_double(np.cosh)),
    "tanh": Prim(1, _in_double(np.tanh)),
    "arcsinh": Prim(1, _in_double(np.arcsinh)),
    "arccosh": Prim(1, _in_double(np.arccosh)),
    "arctanh": Prim(1, _in_double(np.arctanh)),
    "erf": Prim(1, _per_element(math.erf)),
    "gamma": Prim(1, _per_element(math.gamma, _gamma_outside)),
    "gammaln": Prim(1, _per_element(math.lgamma, lambda x: math.inf)),
    # random numbers: (counter, key), both int64
    "hash_uniform": Prim(2, _hash_uniform, "float32"),
}

# combiner -> (primitive, neutral element by kind of dtype)
COMBINERS: dict[str, tuple[str, Callable[[np.dtype], Any]]] = {
    "sum": ("add", lambda d: 0),
    "prod": ("mul", lambda d: 1),
    "max": ("maximum", lambda d: -np.inf if d.kind == "f" else False if d.kind == "b" else np.iinfo(d).min),
    "min": ("minimum", lambda d: np.inf if d.kind == "f" else True if d.kind == "b" else np.iinfo(d).max),
}
