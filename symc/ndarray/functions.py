"""`mx.nd.<operator>`: a Python function for every registered operator name, made when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symc.context import Context
from symc.core.dtypes import meant_dtype
from symc.core.errors import ArgumentError, ArgumentTypeError, OperandError
from symc.functions import _Null, dressed, operator_class
from symc.ir.op import Op
from symc.symbol.compose import check_keywords, text_of

from .custom import call_custom
from .invoke import invoke
from .ndarray import NDArray


def resolve(namespace: str, name: str) -> Callable:
    """The function `mx.nd.<namespace>.<name>`; raises AttributeError when no operator has this name."""
    return make_function(operator_class("symc.ndarray", namespace, name), name, namespace)


def make_function(cls: type[Op], name: str, namespace: str = "op") -> Callable:
    """The Python function of one operator under one of its names.

    `FullyConnected(data=None, weight=None, bias=None, num_hidden=_Null, no_bias=_Null, flatten=_Null, out=None,
    name=None, **kwargs)`
    """
    function = _variadic(cls) if cls.variadic else _custom(cls) if cls.calls_out else _fixed(cls, name)
    return dressed(function, cls, "symc.ndarray", namespace, name, ("out", "name"))


def _fixed(cls: type[Op], func_name: str) -> Callable:
    tensors = cls.tensor_names()
    n_tensors = len(tensors)
    order = (*tensors, *cls.params(), "out", "name")

    def function(*args: Any, out: Any = None, name: Any = None, ctx: Any = None, **kwargs: Any) -> Any:
        if len(args) > n_tensors:
            if len(args) > len(order):
                raise ArgumentTypeError(f"{func_name}() takes at most {len(order)} arguments, got {len(args)}")
            given = dict(zip(order[n_tensors:], args[n_tensors:]))
            double = sorted(given.keys() & kwargs.keys())
            if double:
                raise ArgumentTypeError(f"{func_name}() got multiple values for argument '{double[0]}'")
            kwargs.update(given)
            out, name = kwargs.pop("out", out), kwargs.pop("name", name)
            args = args[:n_tensors]
        inputs = []
        for key, value in zip(tensors, args):
            if key in kwargs:
                raise ArgumentTypeError(f"{func_name}() got multiple values for argument '{key}'")
            if value is not None:
                if not isinstance(value, NDArray):
                    raise OperandError(f"Argument {key} must have NDArray type, but got {value}")
                inputs.append(value)
        if kwargs:
            for key in tensors[len(args) :]:
                value = kwargs.pop(key, None)
                if value is not None:
                    if not isinstance(value, NDArray):
                        raise OperandError(f"Argument {key} must have NDArray type, but got {value}")
                    inputs.append(value)
            kwargs = plain(kwargs)
        return _single(invoke(cls, kwargs, inputs, out, as_context(ctx)))

    return function


def _variadic(cls: type[Op]) -> Callable:
    counter = cls.variadic
    assert counter is not None

    def function(*args: Any, out: Any = None, name: Any = None, ctx: Any = None, **kwargs: Any) -> Any:
        inputs = list(args[0]) if len(args) == 1 and isinstance(args[0], (list, tuple)) else list(args)
        for value in inputs:
            if not isinstance(value, NDArray):
                raise OperandError(f"Positional arguments must have NDArray type, but got {value}")
        inputs += [kwargs.pop(key) for key in list(kwargs) if isinstance(kwargs[key], NDArray)]
        kwargs.setdefault(counter, cls.counted(len(inputs)))
        return _single(invoke(cls, plain(kwargs), inputs, out, as_context(ctx)))

    return function


def _custom(cls: type[Op]) -> Callable:
    def function(*args: Any, out: Any = None, name: Any = None, ctx: Any = None, **kwargs: Any) -> Any:
        given = {key: kwargs.pop(key) for key in list(kwargs) if isinstance(kwargs[key], NDArray)}
        op = cls.create({key: text_of(value) for key, value in kwargs.items() if value is not _Null})
        rest = op.input_names()[len(args) :]
        check_keywords("Custom", given, rest)
        inputs = [*args, *(given[key] for key in rest if key in given)]
        return _single(call_custom(op, inputs, out, as_context(ctx)))  # type: ignore[arg-type]

    return function


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that were given, arrays as tuples (so that their text says all of them)."""
    if "dtype" in params:
        params["dtype"] = meant_dtype(params["dtype"])
    return {
        key: tuple(value.tolist()) if isinstance(value, np.ndarray) and value.ndim else value
        for key, value in params.items()
        if value is not _Null
    }


def as_context(ctx: Context | str | None) -> Context | None:
    """The device meant by a Context or by its text, "cpu(0)"."""
    if ctx is None or isinstance(ctx, Context):
        return ctx
    kind, _, number = str(ctx).rstrip(")").partition("(")
    if not number.isdigit():
        raise ArgumentError(f"expected a Context such as cpu(0), got {ctx!r}")
    return Context(kind, int(number))


def _single(results: list[NDArray]) -> NDArray | list[NDArray]:
    return results[0] if len(results) == 1 else results
