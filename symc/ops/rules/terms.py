"""Arithmetic on graph values, so that a gradient reads as the mathematics it is.

d, y = Term(g, dy[0]), Term(g, y[0])
return [(d * (1 - y * y)).value]        # the gradient of tanh
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np

from symc.core.dtypes import compute_dtype
from symc.core.shapes import FullShape
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value

Operand = Union["Term", float, int]


@dataclass(frozen=True, eq=False)
class Term:
    """A value of the graph under construction; operators append nodes and broadcast like NumPy where shapes differ."""

    g: GraphBuilder
    value: Value

    @property
    def shape(self) -> FullShape:
        return self.g.shape(self.value)

    @property
    def dtype(self) -> str:
        return self.g.dtype(self.value)

    def __call__(self, name: str, *others: Term, **params: Any) -> Term:
        """Operator `name` applied to this value and others: x("reshape", shape=(2, 3))."""
        return Term(self.g, self.g(name, self.value, *(o.value for o in others), **params))

    def __add__(self, other: Operand) -> Term:
        return self._apply(other, "elemwise_add", "broadcast_add", "_plus_scalar")

    __radd__ = __add__

    def __sub__(self, other: Operand) -> Term:
        return self._apply(other, "elemwise_sub", "broadcast_sub", "_minus_scalar")

    def __rsub__(self, other: float) -> Term:
        return self("_rminus_scalar", scalar=other)

    def __mul__(self, other: Operand) -> Term:
        if not isinstance(other, Term) and other == 1:
            return self
        return self._apply(other, "elemwise_mul", "broadcast_mul", "_mul_scalar")

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Term:
        return self._apply(other, "elemwise_div", "broadcast_div", "_div_scalar")

    def __rtruediv__(self, other: float) -> Term:
        return self("_rdiv_scalar", scalar=other)

    def __pow__(self, other: Operand) -> Term:
        return self._apply(other, "_power", "broadcast_power", "_power_scalar")

    def __neg__(self) -> Term:
        return self("negative")

    def __gt__(self, other: Operand) -> Term:
        return self._apply(other, "_greater", "broadcast_greater", "_greater_scalar")

    def __ge__(self, other: Operand) -> Term:
        return self._apply(other, "_greater_equal", "broadcast_greater_equal", "_greater_equal_scalar")

    def __lt__(self, other: Operand) -> Term:
        return self._apply(other, "_lesser", "broadcast_lesser", "_lesser_scalar")

    def __le__(self, other: Operand) -> Term:
        return self._apply(other, "_lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar")

    def equals(self, other: Operand) -> Term:
        """1 where the elements are equal, else 0."""
        return self._apply(other, "_equal", "broadcast_equal", "_equal_scalar")

    def is_nan(self) -> Term:
        """1 where the element is NaN, else 0."""
        return 1 - self.equals(self)

    def count(self) -> Term:
        """How many of these ones and zeros are ones: (1,) float32."""
        return self.cast("float32")("sum").reshape((1,))

    def choose(self, then: Term, otherwise: Term) -> Term:
        """`then` where this value is not 0, else `otherwise`; all of one shape."""
        return self("where", then, otherwise)

    def cast(self, dtype: str) -> Term:
        """The value converted to a dtype."""
        return self if self.dtype == dtype else self("Cast", dtype=dtype)

    def wide(self) -> Term:
        """The value in the dtype sums of it are computed in: float32 for float16."""
        return self.cast(compute_dtype(self.dtype))

    def sum(self, axes: Sequence[int]) -> Term:
        """The sum over some axes, which stay with extent 1."""
        return self("sum", axis=tuple(axes), keepdims=True) if axes else self

    def reshape(self, shape: Sequence[int]) -> Term:
        """The same elements in another shape; of an extent of 0 or a scalar MXNet's own operator cannot be told."""
        wanted = tuple(shape)
        if self.shape == wanted:
            return self
        return self("Reshape" if wanted and all(wanted) else "_reshape_exactly", shape=wanted)

    def broadcast_to(self, shape: FullShape) -> Term:
        """The value repeated along axes of extent 1 (and along missing leading axes) up to `shape`."""
        if 0 in shape:  # MXNet's operator takes 0 for "as it is"
            return Term(self.g, self.g.full(shape, self.dtype, 0))
        aligned = self.reshape((1,) * (len(shape) - len(self.shape)) + self.shape)
        return aligned if aligned.shape == shape else aligned("broadcast_to", shape=shape)

    def sum_to(self, shape: FullShape) -> Term:
        """The adjoint of `broadcast_to`: summed over every axis that broadcasting from `shape` repeated."""
        lead = len(self.shape) - len(shape)
        repeated = [a for a, n in enumerate(self.shape) if a < lead or (shape[a - lead] == 1 and n != 1)]
        return self.sum(repeated).reshape(shape)

    def zeros(self) -> Term:
        """Zeros of the same shape and dtype."""
        return Term(self.g, self.g.like(self.value, 0))

    def _apply(self, other: Operand, elementwise: str, broadcast: str, scalar: str) -> Term:
        if not isinstance(other, Term):
            return self(scalar, scalar=float(other))
        return self(elementwise if self.shape == other.shape else broadcast, other)


def log(x: Operand) -> Operand:
    """Natural logarithm of a value or a number (of 0: -inf, of a negative number: NaN)."""
    if isinstance(x, Term):
        return x("log")
    with np.errstate(all="ignore"):
        return float(np.log(np.float64(x)))


def scaled_parameters(g: GraphBuilder, parameters: Sequence[Value], scale: Value, shift: Value) -> tuple[Value, Value]:
    """Weight (O, ...) and bias (O,) of a layer followed by `* scale[o] + shift[o]`; `parameters` may lack the bias."""
    weight, factor, offset = Term(g, parameters[0]), Term(g, scale), Term(g, shift)
    spread = (weight.shape[0], *(1,) * (len(weight.shape) - 1))
    bias = [Term(g, b).reshape(factor.shape) * factor for b in parameters[1:]]
    return (weight * factor.reshape(spread)).value, sum(bias, offset).value


def flows(dy: Sequence[Value | None]) -> Value:
    """The head gradient of an operator with one output."""
    (head,) = dy
    assert head is not None, "the gradient of a single output was asked for without a head gradient"
    return head


def values(terms: Sequence[Term | None]) -> list[Value | None]:
    """The values of gradient terms."""
    return [None if t is None else t.value for t in terms]
