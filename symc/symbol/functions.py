"""`mx.sym.<operator>`: a Python function for every registered operator name, made when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.dtypes import meant_dtype
from symc.core.errors import ArgumentTypeError, OperandError
from symc.functions import _Null, dressed, names, operator_class, place_of
from symc.ir.op import Op

from .compose import apply

if TYPE_CHECKING:
    from .symbol import Symbol

__all__ = ["_Null", "make_function", "names", "place_of", "resolve"]


def resolve(namespace: str, name: str) -> Callable[..., Symbol]:
    """The function `mx.sym.<namespace>.<name>`; raises AttributeError when no operator has this name."""
    return make_function(operator_class("symc.symbol", namespace, name), name, namespace)


def make_function(cls: type[Op], name: str, namespace: str = "op") -> Callable[..., Symbol]:
    """The Python function of one operator under one of its names, which is also the hint of automatic names.

    `FullyConnected(data=None, weight=None, bias=None, num_hidden=_Null, no_bias=_Null, flatten=_Null, name=None,
    attr=None, out=None, **kwargs)`
    """
    function = _variadic(cls, name) if cls.variadic or cls.calls_out else _fixed(cls, name)
    return dressed(function, cls, "symc.symbol", namespace, name, ("name", "attr", "out"))


def _fixed(cls: type[Op], func_name: str) -> Callable[..., Symbol]:
    from .symbol import Symbol

    tensors = cls.tensor_names()
    order = (*tensors, *cls.params(), "name", "attr", "out")
    declared = [p for p in cls.params() if p != "dtype"] + [p for p in cls.params() if p == "dtype"]
    hint = func_name.lower()

    def function(*args: Any, **kwargs: Any) -> Symbol:
        if len(args) > len(order):
            raise ArgumentTypeError(f"{func_name}() takes at most {len(order)} arguments, got {len(args)}")
        for key, value in zip(order, args):
            if key in kwargs:
                raise ArgumentTypeError(f"{func_name}() got multiple values for argument '{key}'")
            kwargs[key] = value
        name, attr, _ = kwargs.pop("name", None), kwargs.pop("attr", None), kwargs.pop("out", None)
        inputs: dict[str, Symbol] = {}
        for key in tensors:
            value = kwargs.pop(key, None)
            if value is not None:
                if not isinstance(value, Symbol):
                    raise OperandError(f"Argument {key} must be Symbol instances, but got {value}")
                inputs[key] = value
        params = {p: kwargs.pop(p) for p in declared if p in kwargs}
        inputs.update((k, v) for k, v in kwargs.items() if isinstance(v, Symbol))
        extra = {k: v for k, v in kwargs.items() if not isinstance(v, Symbol)}
        given = {k: v for k, v in params.items() if v is not _Null}
        if "dtype" in given:
            given["dtype"] = np.dtype(meant_dtype(given["dtype"])).name
        return apply(cls, hint, (), inputs, given, name, attr, extra)

    return function


def _variadic(cls: type[Op], func_name: str) -> Callable[..., Symbol]:
    from .symbol import Symbol

    hint = func_name.lower()

    def function(*args: Any, **kwargs: Any) -> Symbol:
        for value in args:
            if not isinstance(value, Symbol):
                raise OperandError(f"Positional arguments must be Symbol instances, but got {value}")
        name, attr, _ = kwargs.pop("name", None), kwargs.pop("attr", None), kwargs.pop("out", None)
        if "dtype" in kwargs and not cls.calls_out:
            kwargs["dtype"] = np.dtype(meant_dtype(kwargs["dtype"])).name
        inputs = {k: v for k, v in kwargs.items() if isinstance(v, Symbol)}
        params = {k: v for k, v in kwargs.items() if not isinstance(v, Symbol) and v is not _Null}
        return apply(cls, hint, args, inputs, params, name, attr)

    return function
