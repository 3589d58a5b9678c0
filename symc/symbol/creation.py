"""Symbols from scratch: variables, groups, constants, ranges; `histogram` and `split_v2` with MXNet's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from symc import attribute
from symc.core.dtypes import code_of, meant_dtype
from symc.core.errors import ArgumentError, ArgumentTypeError

from .compose import hidden_name
from .functions import resolve
from .node import Entry, SymbolNode, is_hidden, user_origin
from .symbol import Symbol

STORAGE_CODES = {"default": 0, "row_sparse": 1, "csr": 2}


def var(
    name: str,
    attr: Mapping[str, str] | None = None,
    shape: tuple[int, ...] | None = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: Any = None,
    init: Any = None,
    stype: str | None = None,
    **kwargs: Any,
) -> Symbol:
    """A variable: an input of the graph.

    shape (0 = unknown extent) and dtype seed inference; lr_mult and wd_mult are for the optimizer; init is an
    initializer or its JSON text; further attributes are spelt `__key__`. Raises ArgumentError for others.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError("Expect a string for variable `name`")
    attrs: dict[str, Any] = attribute.current().get(attr)
    if shape is not None:
        attrs["__shape__"] = str(shape)
    if lr_mult is not None:
        attrs["__lr_mult__"] = str(lr_mult)
    if wd_mult is not None:
        attrs["__wd_mult__"] = str(wd_mult)
    if dtype is not None:
        attrs["__dtype__"] = str(code_of(np.dtype(meant_dtype(dtype))))
    if init is not None:
        if not isinstance(init, str) and (isinstance(init, type) or not hasattr(init, "dumps")):
            raise ArgumentTypeError(f"Variable {name}: init must be an initializer or its name, got {init!r}")
        attrs["__init__"] = init if isinstance(init, str) else init.dumps()
    if stype is not None:
        attrs["__storage_type__"] = str(STORAGE_CODES[stype])
    for key, value in kwargs.items():
        if not is_hidden(key):
            raise ArgumentError(
                f"Attribute name={key} is not supported. Additional attributes must start and end with "
                "double underscores, e.g, __yourattr__"
            )
        attrs[key] = str(value)
    if any(not isinstance(value, str) for value in attrs.values()):
        raise ArgumentError("Set Attr only accepts string values")
    attrs = {hidden_name(k, v): v for k, v in attrs.items()}
    return Symbol([Entry(SymbolNode(None, name, attrs, origin=user_origin()))])


Variable = var


def Group(symbols: Iterable[Symbol], create_fn: type[Symbol] = Symbol) -> Symbol:
    """One symbol with the outputs of several; raises ArgumentTypeError when there is none.

    A single symbol is no list of them: NotImplementedForSymbol, as when its truth is asked for.
    """
    if isinstance(symbols, Symbol):
        bool(symbols)
    symbols = list(symbols) if symbols is not None else []
    if not symbols or any(not isinstance(s, Symbol) for s in symbols):
        raise ArgumentTypeError("Expected a list of symbols as input")
    return create_fn([entry for s in symbols for entry in s.heads])


def eye(N: int, M: int = 0, k: int = 0, dtype: Any = None, **kwargs: Any) -> Symbol:
    """An (N, M) matrix with ones on diagonal k; M=0 means N."""
    return resolve("_internal", "_eye")(N=N, M=M, k=k, dtype=np.float32 if dtype is None else dtype, **kwargs)


def zeros(shape: Any, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Zeros."""
    return resolve("_internal", "_zeros")(shape=shape, dtype=np.float32 if dtype is None else dtype, **kwargs)


def ones(shape: Any, dtype: Any = None, **kwargs: Any) -> Symbol:
    """Ones."""
    return resolve("_internal", "_ones")(shape=shape, dtype=np.float32 if dtype is None else dtype, **kwargs)


def full(shape: Any, val: float, dtype: Any = None, **kwargs: Any) -> Symbol:
    """One value everywhere."""
    dtype = np.float32 if dtype is None else dtype
    return resolve("_internal", "_full")(shape=shape, dtype=dtype, value=float(val), **kwargs)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    name: str | None = None,
    dtype: Any = None,
) -> Symbol:
    """Evenly spaced values in [start, stop), each `repeat` times; with one bound it is [0, start)."""
    dtype = np.float32 if dtype is None else dtype
    return resolve("_internal", "_arange")(
        start=start, stop=stop, step=step, repeat=repeat, infer_range=infer_range, name=name, dtype=dtype
    )


def linspace(
    start: float, stop: float, num: int, endpoint: bool = True, name: str | None = None, dtype: Any = None
) -> Symbol:
    """`num` evenly spaced values from start to stop."""
    return resolve("_internal", "_linspace")(
        start=start, stop=stop, num=num, endpoint=endpoint, name=name, dtype=np.float32 if dtype is None else dtype
    )


def histogram(a: Symbol, bins: Any = 10, range: tuple[float, float] | None = None, **kwargs: Any) -> Symbol:
    """Counts per bin and the bins' edges; `bins` is a symbol of edges or a number of bins within `range`."""
    if isinstance(bins, Symbol):
        return resolve("_internal", "_histogram")(data=a, bins=bins, **kwargs)
    if not isinstance(bins, (int, np.integer)):
        raise ArgumentError("bins argument should be either an integer or an NDArray")
    if range is None:
        raise ArgumentError("null range is not supported in symbol mode")
    return resolve("_internal", "_histogram")(data=a, bin_cnt=bins, range=range, **kwargs)


def split_v2(ary: Symbol, indices_or_sections: Any, axis: int = 0, squeeze_axis: bool = False) -> Symbol:
    """Parts along an axis: a number of equal ones, or cut at the given indices."""
    if isinstance(indices_or_sections, int):
        indices, sections = [], indices_or_sections
    elif isinstance(indices_or_sections, tuple):
        indices, sections = [0, *indices_or_sections], 0
    else:
        raise ArgumentError("indices_or_sections must either int or tuple of ints")
    return resolve("_internal", "_split_v2")(
        ary, indices=indices, axis=axis, squeeze_axis=squeeze_axis, sections=sections
    )
