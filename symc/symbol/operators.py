"""Python's operators and the fluent methods of a Symbol, and `maximum`, `minimum`, `pow`, `hypot`.

Each arithmetic operator is two registered operators: one for two symbols, one for a symbol and a number.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from symc.core.errors import ArgumentTypeError, NotSupportedForSymbol, UnknownOperatorError
from symc.functions import COMPARISONS, FLUENT
from symc.ir.op import lookup

from .compose import apply

if TYPE_CHECKING:
    from .symbol import Symbol


class NotImplementedForSymbol(NotSupportedForSymbol):
    """A function that only NDArray has was called on a Symbol."""

    def __init__(self, function: str, alias: str | None = None, *args: object) -> None:
        named = f' (namely operator "{alias}")' if alias else ""
        taking = f" with arguments ({', '.join(str(type(a)) for a in args)})" if args else ""
        super().__init__(
            f"Function {function}{named}{taking} is not implemented for Symbol and only available in NDArray."
        )


class Call(NamedTuple):
    """An operator and what its automatic names are made of."""

    op: str
    hint: str


# left operand is the symbol; the scalar form of a reflected operator has its own line
BINARY = {
    "add": (Call("elemwise_add", "_plus"), Call("_plus_scalar", "_plusscalar"), Call("_plus_scalar", "_plusscalar")),
    "sub": (
        Call("elemwise_sub", "_minus"),
        Call("_minus_scalar", "_minusscalar"),
        Call("_rminus_scalar", "_rminusscalar"),
    ),
    "mul": (Call("elemwise_mul", "_mul"), Call("_mul_scalar", "_mulscalar"), Call("_mul_scalar", "_mulscalar")),
    "truediv": (Call("elemwise_div", "_div"), Call("_div_scalar", "_divscalar"), Call("_rdiv_scalar", "_rdivscalar")),
    "mod": (Call("_mod", "_mod"), Call("_mod_scalar", "_modscalar"), Call("_rmod_scalar", "_rmodscalar")),
    "pow": (Call("_power", "_power"), Call("_power_scalar", "_powerscalar"), Call("_rpower_scalar", "_rpower_scalar")),
}
NDARRAY_ONLY = ("wait_to_read", "asnumpy", "asscalar", "copy", "as_in_context", "detach", "backward")


def call(operator: Call, *inputs: Symbol, **params: Any) -> Symbol:
    """An operator by canonical name applied to symbols."""
    import symc.ops  # noqa: F401  (registers the operators)

    cls = lookup(operator.op)
    if cls is None:
        from symc.ops.mxnet import about

        raise UnknownOperatorError(f"symc has no operator {operator.op}{about(operator.op)}")
    return apply(cls, operator.hint, inputs, {}, params)


def _binary(cls: type[Symbol], name: str) -> tuple[Callable, Callable]:
    both, right_scalar, left_scalar = BINARY[name]

    def forward(self: Symbol, other: Any) -> Symbol:
        if isinstance(other, cls):
            return call(both, self, other)
        return call(right_scalar, self, scalar=_number(other))

    def reflected(self: Symbol, other: Any) -> Symbol:
        if isinstance(other, cls):
            return call(both, other, self)
        return call(left_scalar, self, scalar=_number(other))

    return forward, reflected


def _comparison(cls: type[Symbol], word: str) -> Callable:
    both, scalar = Call(f"_{word}", f"_{word}"), Call(f"_{word}_scalar", f"_{word}_scalar")

    def compare(self: Symbol, other: Any) -> Symbol:
        if isinstance(other, cls):
            return call(both, self, other)
        return call(scalar, self, scalar=_number(other))

    return compare


def _number(value: Any) -> Any:
    if not isinstance(value, (Number, np.generic)):
        raise ArgumentTypeError(f"type {type(value)} not supported")
    return value


def _in_place(name: str, symbol: str) -> Callable:
    def refuse(self: Symbol, other: Any) -> Symbol:
        raise NotImplementedForSymbol(f"__i{name}__", symbol, other)

    return refuse


def _ndarray_only(name: str) -> Callable:
    def refuse(self: Symbol, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedForSymbol(name)

    return refuse


def _fluent(name: str) -> Callable:
    def method(self: Symbol, *args: Any, **kwargs: Any) -> Symbol:
        from . import functions

        return functions.resolve("op", name)(self, *args, **kwargs)

    method.__doc__ = f"`mx.sym.{name}` of this symbol."
    return method


def add_operators(cls: type) -> type:
    """Gives the Symbol class its operators and fluent methods."""
    methods: dict[str, Callable] = {}
    for name in BINARY:
        methods[f"__{name}__"], methods[f"__r{name}__"] = _binary(cls, name)
    methods["__div__"], methods["__rdiv__"] = methods["__truediv__"], methods["__rtruediv__"]
    methods.update((f"__{name}__", _comparison(cls, word)) for name, word in COMPARISONS.items())
    methods.update(
        (f"__i{n}__", _in_place(n, s)) for n, s in (("add", "+="), ("sub", "-="), ("mul", "*="), ("truediv", "/="))
    )
    methods.update((name, _ndarray_only(name)) for name in NDARRAY_ONLY)
    methods.update((name, _fluent(name)) for name in (*FLUENT, "reshape"))
    for name, method in methods.items():
        method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
        setattr(cls, name, method)
    return cls


def _two(word: str, python: Callable[[Any, Any], Any], reflected: str | None = None) -> Callable[[Any, Any], Any]:
    both, scalar = Call(f"_{word}", f"_{word}"), Call(f"_{word}_scalar", f"_{word}scalar")
    swapped = Call(f"_{reflected}_scalar", f"_{reflected}scalar") if reflected else scalar

    def function(left: Any, right: Any) -> Any:
        from .symbol import Symbol

        if isinstance(left, Symbol) and isinstance(right, Symbol):
            return call(both, left, right)
        if isinstance(left, Symbol) and isinstance(right, Number):
            return call(scalar, left, scalar=right)
        if isinstance(left, Number) and isinstance(right, Symbol):
            return call(swapped, right, scalar=left)
        if isinstance(left, Number) and isinstance(right, Number):
            return python(left, right)
        raise ArgumentTypeError(f"types ({type(left)}, {type(right)}) not supported")

    function.__name__ = function.__qualname__ = word
    function.__doc__ = f"Element-wise {word} of symbols or numbers; numbers give a number."
    return function


maximum = _two("maximum", lambda a, b: a if a > b else b)
minimum = _two("minimum", lambda a, b: a if a < b else b)
hypot = _two("hypot", np.hypot)
_power = _two("power", lambda a, b: a**b, reflected="rpower")


def power(base: Any, exp: Any) -> Any:
    """Element-wise power of symbols or numbers; numbers give a number."""
    return _power(base, exp)


pow = power
