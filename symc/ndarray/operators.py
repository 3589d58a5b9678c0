"""Function forms of NDArray's operators: `add(x, y)` is `x + y`; arrays broadcast, numbers are taken too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import elementwise as ew
from .elementwise import Binary
from .ndarray import binary


def _function(op: Binary) -> Callable[[Any, Any], Any]:
    def function(lhs: Any, rhs: Any) -> Any:
        return binary(op, lhs, rhs)

    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = f"Elementwise {op.name} with broadcasting, in the dtype of the arrays; see `ndarray.binary`."
    return function


add = _function(ew.ADD)
subtract = _function(ew.SUBTRACT)
multiply = _function(ew.MULTIPLY)
divide = true_divide = _function(ew.DIVIDE)
modulo = _function(ew.MODULO)
power = _function(ew.POWER)
maximum = _function(ew.MAXIMUM)
minimum = _function(ew.MINIMUM)
equal = _function(ew.EQUAL)
not_equal = _function(ew.NOT_EQUAL)
greater = _function(ew.GREATER)
greater_equal = _function(ew.GREATER_EQUAL)
lesser = _function(ew.LESSER)
lesser_equal = _function(ew.LESSER_EQUAL)
logical_and = _function(ew.LOGICAL_AND)
logical_or = _function(ew.LOGICAL_OR)
logical_xor = _function(ew.LOGICAL_XOR)
