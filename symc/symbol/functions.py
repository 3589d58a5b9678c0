"""`mx.sym.<operator>`: a Python function for every registered operator name, made when first asked for.

MXNet's rule maps a registered name to a namespace: `_contrib_x` is `contrib.x`, `_linalg_x` `linalg.x`, `_sparse_x`
`sparse.x`, `_image_x` `image.x`, `_random_x_like` `random.x_like`, any other `_x` is `_internal._x`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentTypeError
from symc.core.op import Op, registered_names

from .compose import apply

if TYPE_CHECKING:
    from .symbol import Symbol

NAMESPACES = ("contrib", "linalg", "sparse", "image", "random")


class _NullType:
    """The default of every parameter in a signature: not given."""

    def __repr__(self) -> str:
        return "_Null"

    def __bool__(self) -> bool:
        return False


_Null = _NullType()


def place_of(registered: str) -> tuple[str, str]:
    """The namespace and the Python name of a registered operator name."""
    for namespace in NAMESPACES:
        prefix = f"_{namespace}_"
        if registered.startswith(prefix) and (namespace != "random" or registered.endswith("_like")):
            return namespace, registered[len(prefix) :]
    return ("_internal" if registered.startswith("_") else "op"), registered


@cache
def names() -> dict[str, dict[str, str]]:
    """For every namespace the registered name behind each Python name; loads the operators."""
    importlib.import_module("symc.ops")
    table: dict[str, dict[str, str]] = {n: {} for n in ("op", "_internal", *NAMESPACES)}
    for registered, cls in sorted(registered_names().items()):
        if not cls.is_internal:
            namespace, name = place_of(registered)
            table[namespace][name] = registered
    return table


def resolve(namespace: str, name: str) -> Callable[..., Symbol]:
    """The function `mx.sym.<namespace>.<name>`; raises AttributeError when no operator has this name.

    `sparse.x` is the dense `x` where it is not registered on its own: symc stores every array dense.
    """
    table = names()
    registered = table[namespace].get(name) or (table["op"].get(name) if namespace == "sparse" else None)
    if registered is None:
        where = "symc.symbol" if namespace == "op" else f"symc.symbol.{namespace}"
        raise AttributeError(f"module '{where}' has no attribute '{name}'")
    return make_function(registered_names()[registered], name, namespace)


def make_function(cls: type[Op], name: str, namespace: str = "op") -> Callable[..., Symbol]:
    """The Python function of one operator under one of its names, which is also the hint of automatic names.

    `FullyConnected(data=None, weight=None, bias=None, num_hidden=_Null, no_bias=_Null, flatten=_Null, name=None,
    attr=None, out=None, **kwargs)`
    """
    function = _variadic(cls, name) if cls.variadic else _fixed(cls, name)
    function.__name__ = function.__qualname__ = name
    function.__module__ = "symc.symbol" if namespace == "op" else f"symc.symbol.{namespace}"
    function.__doc__ = _doc(cls)
    function.__signature__ = _signature(cls)  # type: ignore[attr-defined]
    return function


def _fixed(cls: type[Op], func_name: str) -> Callable[..., Symbol]:
    from .symbol import Symbol

    tensors = cls.arguments + cls.aux
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
                assert isinstance(value, Symbol), f"Argument {key} must be Symbol instances, but got {value}"
                inputs[key] = value
        params = {p: kwargs.pop(p) for p in declared if p in kwargs}
        inputs.update((k, v) for k, v in kwargs.items() if isinstance(v, Symbol))
        extra = {k: v for k, v in kwargs.items() if not isinstance(v, Symbol)}
        given = {k: v for k, v in params.items() if v is not _Null}
        if "dtype" in given:
            given["dtype"] = np.dtype(given["dtype"]).name
        return apply(cls, hint, (), inputs, given, name, attr, extra)

    return function


def _variadic(cls: type[Op], func_name: str) -> Callable[..., Symbol]:
    from .symbol import Symbol

    hint = func_name.lower()

    def function(*args: Any, **kwargs: Any) -> Symbol:
        for value in args:
            assert isinstance(value, Symbol), f"Positional arguments must be Symbol instances, but got {value}"
        name, attr, _ = kwargs.pop("name", None), kwargs.pop("attr", None), kwargs.pop("out", None)
        if "dtype" in kwargs:
            kwargs["dtype"] = np.dtype(kwargs["dtype"]).name
        inputs = {k: v for k, v in kwargs.items() if isinstance(v, Symbol)}
        params = {k: v for k, v in kwargs.items() if not isinstance(v, Symbol) and v is not _Null}
        return apply(cls, hint, args, inputs, params, name, attr)

    return function


def _signature(cls: type[Op]) -> inspect.Signature:
    one, any_positional, keyword = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
    )
    rest = [("name", None), ("attr", None), ("out", None)]
    if cls.variadic:
        fields = [inspect.Parameter("data", any_positional)]
        fields += [inspect.Parameter(n, keyword, default=_Null) for n in cls.params()]
        fields += [inspect.Parameter(n, keyword, default=d) for n, d in rest]
    else:
        fields = [inspect.Parameter(n, one, default=None) for n in cls.arguments + cls.aux]
        fields += [inspect.Parameter(n, one, default=_Null) for n in cls.params()]
        fields += [inspect.Parameter(n, one, default=d) for n, d in rest]
    return inspect.Signature([*fields, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def _doc(cls: type[Op]) -> str:
    tensors = "*data : Symbol[]" if cls.variadic else "\n".join(f"{n} : Symbol" for n in cls.arguments + cls.aux)
    params = "\n".join(f"{p.name} : {p.type_text}\n    {p.doc}" for p in cls.params().values())
    body = "\n".join(part for part in (tensors, params) if part)
    return (
        f"{cls.__doc__ or cls.name}\n\nParameters\n----------\n{body}\nname : string, optional\n    Name of the symbol."
    )


class OperatorModule(ModuleType):
    """A namespace of operator functions, e.g. `mx.sym.linalg`; each is made on first use."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"symc.symbol.{namespace}", f"Operators of the namespace `{namespace}`.")
        sys.modules[self.__name__] = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        function = resolve(self.__name__.rsplit(".", 1)[-1], name)
        setattr(self, name, function)
        return function

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *names()[self.__name__.rsplit(".", 1)[-1]]})
