"""Python's operators and the fluent methods of an NDArray, and their function forms `add`, `maximum`, `equal`, ...

Each arithmetic operator is up to three registered operators: for two arrays, for an array and a number, and for a
number and an array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from symc.core.bounded import bounded
from symc.core.errors import ArgumentTypeError, DTypeError, UnknownOperatorError
from symc.functions import COMPARISONS, FLUENT
from symc.ir.op import Op, lookup
from symc.util import is_np_shape

from . import tape

NUMBERS = (int, float, np.number, np.bool_)


class Binary(NamedTuple):
    """The registered operators behind a function of two operands, and what it gives for two numbers."""

    both: str
    scalar: str
    reflected: str
    on_numbers: Callable[[Any, Any], Any]


def _truth(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], int]:
    return lambda x, y: 1 if compare(x, y) else 0


FUNCTIONS = {
    "add": Binary("broadcast_add", "_plus_scalar", "_plus_scalar", operator.add),
    "subtract": Binary("broadcast_sub", "_minus_scalar", "_rminus_scalar", operator.sub),
    "multiply": Binary("broadcast_mul", "_mul_scalar", "_mul_scalar", operator.mul),
    "divide": Binary("broadcast_div", "_div_scalar", "_rdiv_scalar", operator.truediv),
    "modulo": Binary("broadcast_mod", "_mod_scalar", "_rmod_scalar", operator.mod),
    "power": Binary("broadcast_power", "_power_scalar", "_rpower_scalar", operator.pow),
    "maximum": Binary("broadcast_maximum", "_maximum_scalar", "_maximum_scalar", max),
    "minimum": Binary("broadcast_minimum", "_minimum_scalar", "_minimum_scalar", min),
    "equal": Binary("broadcast_equal", "_equal_scalar", "_equal_scalar", _truth(operator.eq)),
    "not_equal": Binary("broadcast_not_equal", "_not_equal_scalar", "_not_equal_scalar", _truth(operator.ne)),
    "greater": Binary("broadcast_greater", "_greater_scalar", "_lesser_scalar", _truth(operator.gt)),
    "greater_equal": Binary(
        "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar", _truth(operator.ge)
    ),
    "lesser": Binary("broadcast_lesser", "_lesser_scalar", "_greater_scalar", _truth(operator.lt)),
    "lesser_equal": Binary(
        "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar", _truth(operator.le)
    ),
    "logical_and": Binary(
        "broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar", _truth(lambda x, y: x and y)
    ),
    "logical_or": Binary(
        "broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar", _truth(lambda x, y: x or y)
    ),
    "logical_xor": Binary(
        "broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar", _truth(lambda x, y: bool(x) != bool(y))
    ),
}
# Python's operator: the function, whether there is a reflected and whether an in-place form.
ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "mod": "modulo",
    "pow": "power",
}
NO_IN_PLACE = ("pow",)


def call(name: str, *inputs: Any, out: Any = None, **params: Any) -> Any:
    """A registered operator, by canonical name, on arrays: its one result or a list of them."""
    results = _invoke()(registered(name), params, inputs, out)
    return results[0] if len(results) == 1 else results


def recorded(name: str, array: Any, made: Any, **params: Any) -> Any:
    """`made`, an array over the memory of another or over a copy of it, recorded as an operator's result from that."""
    tape.record(_operator(name, is_np_shape(), *params.items()), [array], [made], [made], tape.mode.training)
    return made


@bounded(1024)
def _operator(name: str, is_exact: bool, *params: tuple[str, Any]) -> Op:
    made = registered(name).create(dict(params))
    return made.under_np_shape() if is_exact else made


@cache
def _invoke() -> Callable[..., list[Any]]:
    from .invoke import invoke  # late: it knows NDArray, whose class this module helps to make

    return invoke


_classes: dict[str, type[Op]] = {}


def registered(name: str) -> type[Op]:
    """The class of an operator; raises UnknownOperatorError where symc has none of this name."""
    found = _classes.get(name)
    if found is None:
        import symc.ops  # noqa: F401  (registers the operators)

        found = lookup(name)
        if found is None:
            from symc.ops.mxnet import about

            raise UnknownOperatorError(f"symc has no operator {name}{about(name)}")
        _classes[name] = found
    return found


def binary(name: str, lhs: Any, rhs: Any, out: Any = None) -> Any:
    """A function of FUNCTIONS on two arrays, on an array and a number (an NDArray), or on two numbers (a number).

    Raises ArgumentTypeError for other operands, ShapeError and DTypeError where the arrays do not fit.
    """
    function = FUNCTIONS[name]
    left, right = is_array(lhs), is_array(rhs)
    if left and right:
        if lhs.dtype is np.bool_ and rhs.dtype is np.bool_:
            raise DTypeError(f"{name} does not support bool arrays; cast them with astype()")
        return call(function.both, lhs, rhs, out=out)
    if left and isinstance(rhs, NUMBERS):
        return call(function.scalar, lhs, out=out, scalar=float(rhs))
    if right and isinstance(lhs, NUMBERS):
        return call(function.reflected, rhs, out=out, scalar=float(lhs))
    for operand in (lhs, rhs):
        if not isinstance(operand, NUMBERS) and not is_array(operand):
            raise ArgumentTypeError(f"type {type(operand)} not supported")
    return function.on_numbers(lhs, rhs)


def is_array(value: Any) -> bool:
    """Whether a value is an NDArray (whose class this module helps to make)."""
    return hasattr(value, "_made")


def function_form(name: str) -> Callable[[Any, Any], Any]:
    """`mx.nd.<name>` of two operands."""

    def function(lhs: Any, rhs: Any) -> Any:
        return binary(name, lhs, rhs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Elementwise {name} of two arrays, which broadcast, of an array and a number, or of two numbers."
    )
    return function


def power(base: Any, exp: Any) -> Any:
    """`mx.nd.power`, whose operands have names of their own."""
    return binary("power", base, exp)


def _forward(name: str) -> Callable:
    return lambda self, other: binary(name, self, other)


def _reflected(name: str) -> Callable:
    return lambda self, other: binary(name, other, self)


def _in_place(name: str) -> Callable:
    return lambda self, other: binary(name, self, other, out=self)


def _fluent(name: str) -> Callable:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _function(name)(self, *args, **kwargs)

    method.__doc__ = f"`mx.nd.{name}` of this array."
    return method


@cache
def _function(name: str) -> Callable:
    """That of `mx.nd`; raises UnknownOperatorError where symc has none."""
    from symc import ndarray

    try:
        function: Callable = getattr(ndarray, name)
    except AttributeError:
        from symc.ops.mxnet import about

        raise UnknownOperatorError(f"NDArray.{name}: symc has no operator {name}{about(name)}") from None
    return function


def add_operators(cls: type) -> type:
    """Gives the NDArray class its operators and fluent methods; what the class defines itself stays."""
    methods: dict[str, Callable] = {name: _fluent(name) for name in (*FLUENT, "diag", "split_v2")}
    for short, name in ARITHMETIC.items():
        methods[f"__{short}__"], methods[f"__r{short}__"] = _forward(name), _reflected(name)
        if short not in NO_IN_PLACE:
            methods[f"__i{short}__"] = _in_place(name)
    methods.update((f"__{short}__", _forward(name)) for short, name in COMPARISONS.items())
    methods["__neg__"] = lambda self: call("_mul_scalar", self, scalar=-1.0)
    methods["__abs__"] = lambda self: call("abs", self)
    for prefix in ("", "r", "i"):
        methods[f"__{prefix}div__"] = methods[f"__{prefix}truediv__"]
    for name, method in methods.items():
        if name in vars(cls):
            continue
        method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"
        setattr(cls, name, method)
    return cls
