"""What a registered operator is called in Python: its namespace, name, signature and docstring, for `nd` and `sym`.

MXNet's rule maps a registered name to a namespace: `_contrib_x` is `contrib.x`, `_linalg_x` `linalg.x`, `_sparse_x`
`sparse.x`, `_image_x` `image.x`, `_random_x_like` `random.x_like`, any other `_x` is `_internal._x`.
"""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from symc.ir.op import Op, registered_names

NAMESPACES = ("contrib", "linalg", "sparse", "image", "random")
# Python's comparisons and the words they have in names of operators.
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "lt": "lesser",
    "le": "lesser_equal",
}
# Functions that are also methods, of an NDArray and of a Symbol.
FLUENT = (
    "abs arccos arccosh arcsin arcsinh arctan arctanh argmax argmax_channel argmin argsort broadcast_axes "
    "broadcast_like broadcast_to cbrt ceil clip cos cosh degrees depth_to_space exp expm1 fix flip floor log log10 "
    "log1p log2 log_softmax max mean min nanprod nansum norm one_hot ones_like pad pick prod radians rcbrt reciprocal "
    "relu repeat reshape_like rint round rsqrt shape_array sigmoid sign sin sinh size_array slice slice_axis "
    "slice_like softmax softmin sort space_to_depth split sqrt square sum swapaxes take tan tanh tile topk transpose "
    "trunc zeros_like"
).split()


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


def names() -> dict[str, dict[str, str]]:
    """For every namespace the registered name behind each Python name; loads the operators."""
    importlib.import_module("symc.ops")
    return _names(len(registered_names()))


@lru_cache(maxsize=1)
def _names(n_registered: int) -> dict[str, dict[str, str]]:
    """Made anew when users have registered operators of their own since."""
    table: dict[str, dict[str, str]] = {n: {} for n in ("op", "_internal", *NAMESPACES)}
    for registered, cls in sorted(registered_names().items()):
        if not cls.is_internal:
            namespace, name = place_of(registered)
            table[namespace][name] = registered
    return table


def operator_class(package: str, namespace: str, name: str) -> type[Op]:
    """The operator behind `<package>.<namespace>.<name>`; raises AttributeError when there is none.

    `sparse.x` is the dense `x` where it is not registered on its own: symc stores every array dense.
    """
    table = names()
    registered = table[namespace].get(name) or (table["op"].get(name) if namespace == "sparse" else None)
    if registered is None:
        from symc.ops.mxnet import about

        places = [(place, name) for place in ("op", *NAMESPACES) if name in table[place]]
        if name in registered_names():  # `_contrib_box_nms`
            places = [place_of(name)]
        if places:
            place, short = places[0]
            meant = f"; it is {module_name(package, place)}.{short}"
        else:
            meant = about(name, namespace, table[namespace])
        raise AttributeError(f"module '{module_name(package, namespace)}' has no attribute '{name}'{meant}")
    return registered_names()[registered]


def module_name(package: str, namespace: str) -> str:
    """The module that a namespace is."""
    return package if namespace == "op" else f"{package}.{namespace}"


def dressed(
    function: Callable, cls: type[Op], package: str, namespace: str, name: str, rest: Sequence[str]
) -> Callable:
    """The function with the name, module, signature and docstring it has in MXNet.

    `(data=None, weight=None, bias=None, num_hidden=_Null, ..., <rest>=None, **kwargs)`
    """
    function.__name__ = function.__qualname__ = name
    function.__module__ = module_name(package, namespace)
    function.__doc__ = _doc(cls, "NDArray" if package.endswith("ndarray") else "Symbol")
    function.__signature__ = _signature(cls, rest)  # type: ignore[attr-defined]
    return function


def _signature(cls: type[Op], rest: Sequence[str]) -> inspect.Signature:
    one, any_positional, keyword = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
    )
    if cls.variadic or cls.calls_out:
        fields = [inspect.Parameter("data", any_positional)]
        fields += [inspect.Parameter(n, keyword, default=_Null) for n in cls.params()]
        fields += [inspect.Parameter(n, keyword, default=None) for n in rest]
    else:
        fields = [inspect.Parameter(n, one, default=None) for n in cls.tensor_names()]
        fields += [inspect.Parameter(n, one, default=_Null) for n in cls.params()]
        fields += [inspect.Parameter(n, one, default=None) for n in rest]
    return inspect.Signature([*fields, inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])


def _doc(cls: type[Op], kind: str) -> str:
    is_open = cls.variadic or cls.calls_out
    tensors = f"*data : {kind}[]" if is_open else "\n".join(f"{n} : {kind}" for n in cls.tensor_names())
    params = "\n".join(f"{p.name} : {p.type_text}\n    {p.doc}" for p in cls.params().values())
    last = {
        "Symbol": "name : string, optional\n    Name of the symbol.",
        "NDArray": "out : NDArray, optional\n    The array that receives the result.",
    }[kind]
    body = "\n".join(part for part in (tensors, params, last) if part)
    return f"{cls.__doc__ or cls.name}\n\nParameters\n----------\n{body}"


class OperatorModule(ModuleType):
    """A namespace of operator functions, e.g. `mx.sym.linalg`; `make(namespace, name)` makes each on first use."""

    def __init__(self, package: str, namespace: str, make: Callable[[str, str], Callable]) -> None:
        super().__init__(f"{package}.{namespace}", f"Operators of the namespace `{namespace}`.")
        self.__dict__["_make"] = lambda name: make(namespace, name)
        sys.modules[self.__name__] = self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        function = self.__dict__["_make"](name)
        setattr(self, name, function)
        return function

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *names()[self.__name__.rsplit(".", 1)[-1]]} - {"_make"})


def rand_zipfian(
    true_classes: Any, num_sampled: int, range_max: int, uniform: Callable[..., Any]
) -> tuple[Any, Any, Any]:
    """What contrib.rand_zipfian gives: classes (num_sampled,) int64 below range_max, drawn with the probability
    log((c + 2) / (c + 1)) / log(range_max + 1), how often each true class is to be expected among them, and each of
    these, float64; `uniform` draws.
    """
    log_range = math.log(range_max + 1)
    samples = (uniform(0, log_range, shape=(num_sampled,), dtype="float64").exp() - 1).astype("int64") % range_max

    def expected(classes: Any) -> Any:
        c = classes.astype("float64")
        return ((c + 2) / (c + 1)).log() / log_range * num_sampled

    return samples, expected(true_classes), expected(samples)
