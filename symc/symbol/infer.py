"""`Symbol.infer_shape` and `infer_type`: MXNet's arguments and answers around the compiler's inference."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.dtypes import CODES
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.core.shapes import Shape, from_mxnet, from_numpy_style, is_known, to_mxnet, to_numpy_style
from symc.ir.graph import Graph, Value
from symc.ir.infer import partial_dtypes, partial_shapes, used_values
from symc.util import is_np_shape

from .compose import check_keywords
from .graph import to_graph

if TYPE_CHECKING:
    from .symbol import Symbol

Lists = tuple["list | None", "list | None", "list | None"]


def infer_shape(symbol: Symbol, args: Sequence[Any], kwargs: Mapping[str, Any], partial: bool) -> Lists:
    """Shapes of arguments, outputs and auxiliary states; see `Symbol.infer_shape`.

    Under `np_shape` -1 is an unknown extent and None an unknown shape, instead of 0 and ().
    """
    read, show = notation()
    given = _by_name(symbol, args, kwargs, "InferShape")
    for name, shape in {**given, **kwargs}.items():
        if not isinstance(shape, tuple):
            raise ArgumentTypeError(f"Arguments need to be shapes (tuple), but '{name}' is {type(shape)}.")
    graph = to_graph(symbol, arg_shapes={n: read(s) for n, s in given.items()})
    shapes = partial_shapes(graph)
    arguments, heads, states = _values(graph)
    if not partial and not all(is_known(shapes.get(v)) for v in used_values(graph)):
        unknown = [f"{v.node.name}: {show(shapes.get(v))}" for v in arguments if not is_known(shapes.get(v))]
        _warn_undecided("shape", " (0s in shape means unknown dimensions)", unknown)
        return None, None, None
    return tuple([show(shapes.get(v)) for v in values] for values in (arguments, heads, states))  # type: ignore[return-value]


def notation() -> tuple[Callable[[Any], Shape | None], Callable[[Shape | None], Any]]:
    """How shapes are read from users and shown to them: in MXNet's old way, or, under `np_shape`, in NumPy's."""
    return (from_numpy_style, to_numpy_style) if is_np_shape() else (from_mxnet, to_mxnet)


def infer_type(symbol: Symbol, args: Sequence[Any], kwargs: Mapping[str, Any], partial: bool) -> Lists:
    """NumPy types of arguments, outputs and auxiliary states; see `Symbol.infer_type`."""
    given = {n: np.dtype(d).name for n, d in _by_name(symbol, args, kwargs, "InferType").items()}
    graph = to_graph(symbol, arg_dtypes={n: d for n, d in given.items() if d in CODES})
    dtypes = partial_dtypes(graph)
    arguments, heads, states = _values(graph)
    if not partial and not all(v in dtypes for v in used_values(graph)):
        _warn_undecided("type", "", [f"{v.node.name}: None" for v in arguments if v not in dtypes])
        return None, None, None
    return tuple(
        [np.dtype(dtypes[v]).type if v in dtypes else None for v in values] for values in (arguments, heads, states)
    )  # type: ignore[return-value]


def _by_name(symbol: Symbol, args: Sequence[Any], kwargs: Mapping[str, Any], what: str) -> dict[str, Any]:
    """What is given for arguments by name; positional ones count through `list_arguments`, None skips one."""
    if args and kwargs:
        raise ArgumentError("Can only specify known argument shapes or types either by positional or kwargs way.")
    arguments = symbol.list_arguments()
    if len(args) > len(arguments):
        raise ArgumentError(f"{what}: {len(args)} given for {len(arguments)} arguments")
    states = set(symbol.list_auxiliary_states())
    check_keywords(what, {k: v for k, v in kwargs.items() if k not in states}, arguments)
    return {n: v for n, v in (*zip(arguments, args), *kwargs.items()) if v is not None and n not in states}


def _values(graph: Graph) -> tuple[list[Value], list[Value], list[Value]]:
    inputs = list(graph.inputs)
    return (
        [n[0] for n in inputs if n.role == "argument"],
        [o.value for o in graph.outputs],
        [n[0] for n in inputs if n.role == "aux"],
    )


def _warn_undecided(what: str, note: str, unknown: list[str]) -> None:
    listed = "\n\t".join([*unknown[:10], *(["..."] if len(unknown) > 10 else [])])
    warnings.warn(
        f"Cannot decide {what} for the following arguments{note}. Consider providing them as input:\n\t{listed}",
        stacklevel=4,
    )
