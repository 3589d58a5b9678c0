"""`Symbol.bind` and `simple_bind`: MXNet's arguments, checked and brought to the form the Executor takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.context import Context
from symc.core.dtypes import dtype_name, is_float
from symc.core.errors import ArgumentError, ArgumentTypeError, SymcError
from symc.core.nearest import nearest
from symc.ir.absent import require_present
from symc.ir.graph import Graph, Value
from symc.ir.infer import infer_dtype, infer_shape, partial_shapes
from symc.symbol.graph import to_graph
from symc.symbol.infer import notation

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.ndarray import NDArray
    from symc.symbol.symbol import Symbol

GRAD_REQS = {"null": 0, "write": 1, "add": 3}

Arrays = list[Any] | dict[str, Any]
GradReq = str | list[str] | dict[str, str]


def bind(
    symbol: Symbol,
    ctx: Context,
    args: Arrays,
    args_grad: Arrays | None,
    grad_req: GradReq,
    aux_states: Arrays | None,
    group2ctx: Mapping[str, Context] | None = None,
) -> Executor:
    """An executor over the caller's arrays.

    args, args_grad and aux_states are lists in the order of `list_arguments` and `list_auxiliary_states`, or dicts by
    name (extra keys are ignored); a gradient may be None. grad_req is "write", "add" or "null", for all, as a list or
    by name ("null" for those left out). group2ctx has a context for each group of nodes, see `_require_placement`.
    Raises ArgumentError, ArgumentTypeError, ShapeError or DTypeError when something is missing or does not fit.
    """
    from symc.executor import Executor
    from symc.ndarray.fit import require_fit

    from .cut import where_cut
    from .cut_executor import CutExecutor

    if not isinstance(ctx, Context):
        raise ArgumentTypeError("Context type error")
    _require_placement(symbol, ctx, group2ctx)
    arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    arg_arrays = _arrays("args", args, arguments)
    grad_arrays = None if args_grad is None else _arrays("args_grad", args_grad, arguments, True)
    aux_arrays = _arrays("aux_states", [] if aux_states is None else aux_states, states)
    reqs = _grad_reqs(grad_req, arguments)
    given = {**arg_arrays, **aux_arrays}
    dtypes = {n: np.dtype(a.dtype).name for n, a in given.items()}
    is_cut = where_cut(symbol) is not None
    graph = _infer(symbol, {n: tuple(a.shape) for n, a in given.items()}, dtypes, is_cut)
    for node in graph.inputs:
        name, shape, dtype = node.name, graph.shape(node[0]), graph.dtype(node[0])
        require_fit(f"the array of {name}", given[name], shape, dtype)
        if grad_arrays and grad_arrays.get(name) is not None:
            are_floats = is_float(dtype) and is_float(np.dtype(grad_arrays[name].dtype).name)
            is_converted = are_floats and _converts_gradient(graph, node[0])
            require_fit(f"args_grad of {name}", grad_arrays[name], shape, None if is_converted else dtype)
    effective = {n: reqs[n] if grad_arrays and grad_arrays[n] is not None else "null" for n in arguments}
    if is_cut:
        return CutExecutor(symbol, ctx, arg_arrays, grad_arrays, effective, aux_arrays)
    _require_gradients(graph, effective, ctx)
    return Executor(symbol, ctx, arg_arrays, grad_arrays, effective, aux_arrays)


def simple_bind(
    symbol: Symbol,
    ctx: Context,
    grad_req: GradReq | None,
    type_dict: Mapping[str, Any] | None,
    shared_arg_names: list[str] | None,
    shared_exec: Executor | None,
    shared_buffer: dict[str, NDArray] | None,
    shapes: Mapping[str, Any],
    group2ctx: Mapping[str, Context] | None = None,
) -> Executor:
    """An executor over new arrays of zeros, from the shapes of some arguments; unknown names are ignored.

    Arrays of `shared_arg_names` are taken from `shared_exec`, those in `shared_buffer` from there, where shape and
    dtype fit; new ones are added to `shared_buffer`. Raises ShapeError or DTypeError when inference fails.
    """
    from symc.executor import Executor

    if not isinstance(ctx, Context):
        raise ArgumentTypeError("Context type error")
    if shared_arg_names is not None and not isinstance(shared_arg_names, list):
        raise ArgumentError("shared_arg_names in simple_bind must be a list or None")
    if shared_buffer is not None and not isinstance(shared_buffer, dict):
        raise ArgumentError("shared_buffer in simple_bind must be dict or None")
    arguments = symbol.list_arguments()
    known_names = {*arguments, *symbol.list_auxiliary_states()}
    try:
        _require_placement(symbol, ctx, group2ctx)
        reqs = _simple_grad_reqs(grad_req, arguments)
        types = {n: dtype_name(d) for n, d in (type_dict or {}).items()}
        strange = [n for n in types if n not in known_names]
        if strange:
            raise ArgumentError(
                f"type_dict names {', '.join(strange)}; expected one of {', '.join(sorted(known_names))}"
            )
        given = {n: tuple(s) for n, s in shapes.items() if isinstance(s, (tuple, list))}
        graph = _infer(symbol, given, types)
        _require_gradients(graph, reqs, ctx)
        places = _places(symbol, group2ctx or {})
        store = _Store(ctx, places, shared_arg_names or [], shared_exec, shared_buffer)
        arg_arrays, grad_arrays, aux_arrays = {}, {}, {}
        for node in graph.inputs:
            shape, dtype = graph.shape(node[0]), graph.dtype(node[0])
            if node.role == "aux":
                aux_arrays[node.name] = store.array(node.name, shape, dtype)
                continue
            arg_arrays[node.name] = store.array(node.name, shape, dtype)
            is_wanted = reqs[node.name] != "null"
            grad_arrays[node.name] = store.array(node.name, shape, dtype, "grad of ") if is_wanted else None
        return Executor(symbol, ctx, arg_arrays, grad_arrays, reqs, aux_arrays)
    except SymcError as e:
        listed = "".join(f"{k}: {v}\n" for k, v in shapes.items())
        unknown = [n for n in shapes if n not in known_names]
        hint = f"\nnot among the inputs: {', '.join(unknown)}{nearest(unknown[0], known_names)}" if unknown else ""
        raise type(e)(f"simple_bind error. Arguments:\n{listed}{e}{hint}") from e


class _Store:
    """Where the arrays of a simple_bind come from; `places` are contexts of arguments that have one of their own."""

    def __init__(
        self,
        ctx: Context,
        places: Mapping[str, Context],
        shared_names: list[str],
        shared: Executor | None,
        buffer: dict[str, NDArray] | None,
    ) -> None:
        self.ctx = ctx
        self.places = places
        self.buffer = buffer
        self.shared: dict[str, NDArray] = {}
        if shared is not None:
            self.shared = {n: a for n, a in shared.arg_dict.items() if n in shared_names}
            self.shared.update(
                (f"grad of {n}", a) for n, a in shared.grad_dict.items() if n in shared_names and a is not None
            )
            self.shared.update(shared.aux_dict)

    def array(self, argument: str, shape: tuple[int, ...], dtype: str, what: str = "") -> NDArray:
        """A shared array when it fits, else zeros; `what` tells others of an argument from itself."""
        from symc.ndarray import zeros
        from symc.ndarray.fit import require_fit

        name = what + argument
        for found in (self.shared.get(name), (self.buffer or {}).get(name)):
            if found is None:
                continue
            require_fit(f"shared_buffer[{name!r}]", found)
            if found.shape == shape and found._dtype == dtype:
                return found
        made = zeros(shape, self.places.get(argument, self.ctx), dtype)
        if self.buffer is not None:
            self.buffer[name] = made
        return made


def _infer(
    symbol: Symbol, shapes: Mapping[str, Sequence[int]], dtypes: Mapping[str, str], is_cut: bool = False
) -> Graph:
    """The graph with all shapes and dtypes; what is given wins over the variables' own attributes.

    is_cut   leaves open what only values decide
    """
    require_present((n.op, n.name, n.origin) for n in symbol.nodes())
    read, _ = notation()
    known = {n: read(s) for n, s in shapes.items()}
    graph = to_graph(symbol, arg_shapes=known, arg_dtypes=dtypes)
    return infer_dtype(graph.with_facts(shape=partial_shapes(graph)) if is_cut else infer_shape(graph))


def _converts_gradient(graph: Graph, value: Value) -> bool:
    """Whether one operator alone reads an argument, and brings its gradient to the dtype of whatever array is bound."""
    readers = [node for node in graph.nodes for v in node.inputs if v == value]
    return len(readers) == 1 and readers[0].operator.converts_gradient and readers[0].inputs[0] == value


def _require_placement(symbol: Symbol, ctx: Context, group2ctx: Mapping[str, Context] | None) -> None:
    """Raises where the context of a group of nodes (attribute ctx_group) is missing, or no other name for `ctx`.

    A symbol runs on one device; all contexts of the CPU are that device, so that arrays alone have places.
    """
    if not group2ctx:
        return
    if not isinstance(group2ctx, Mapping) or not all(isinstance(c, Context) for c in group2ctx.values()):
        raise ArgumentTypeError(f"group2ctx must be a dict of group name to Context, got {group2ctx!r}")
    for group in sorted({attrs["ctx_group"] for attrs in symbol.attr_dict().values() if "ctx_group" in attrs}):
        if group not in group2ctx:
            raise ArgumentError(
                f"The device assignment not found for group {group}; group2ctx names {', '.join(map(str, group2ctx))}"
            )
        group2ctx[group].require_device()
        if not group2ctx[group].is_same_device(ctx):
            raise ArgumentError(
                f"group2ctx puts group {group} on {group2ctx[group]}, but a symbol runs on one device, here {ctx}"
            )


def _places(symbol: Symbol, group2ctx: Mapping[str, Context]) -> dict[str, Context]:
    """The contexts of inputs by name, of those that belong to a group of nodes."""
    groups = {name: attrs["ctx_group"] for name, attrs in symbol.attr_dict().items() if "ctx_group" in attrs}
    return {name: group2ctx[group] for name, group in groups.items() if group in group2ctx}


def _require_gradients(graph: Graph, reqs: Mapping[str, str], ctx: Context) -> None:
    """Raises GradientError when a gradient asked for would flow through an operator that has none.

    Other refusals wait for `backward`, as in MXNet; so only graphs with such an operator are differentiated here.
    """
    if any(node.op is not None and not node.op.is_differentiable for node in graph.nodes):
        from symc.passes.base import PassContext  # here: binding needs neither otherwise
        from symc.passes.gradient import gradient

        gradient(graph, PassContext(ctx.device.backend, dict(reqs)))


def _arrays(what: str, given: Any, names: Sequence[str], is_missing_allowed: bool = False) -> dict[str, Any]:
    """Arrays by name, from a list in order or a dict."""
    from symc.ndarray import NDArray

    if isinstance(given, list):
        if len(given) != len(names):
            raise ArgumentError(f"Length of {what} does not match the number of arguments")
        found = list(zip(names, given))
    elif isinstance(given, dict):
        missing = [n for n in names if n not in given]
        if missing and not is_missing_allowed:
            raise ArgumentError(f"key `{missing[0]}` is missing in `{what}`")
        found = [(n, given.get(n)) for n in names]
    else:
        raise ArgumentTypeError("Only accept list of NDArrays or dict of str to NDArray")
    arrays: dict[str, Any] = {}
    for name, array in found:
        if not isinstance(array, NDArray) and not (array is None and is_missing_allowed):
            raise ArgumentTypeError(
                f"Only accept list of NDArrays or dict of str to NDArray; {what} has {type(array)} for {name}"
            )
        if arrays.setdefault(name, array) is not array:
            raise ArgumentError(f"two arguments are called {name}, but {what} holds different arrays for them")
    return arrays


def _grad_reqs(grad_req: Any, names: Sequence[str]) -> dict[str, str]:
    """What to do with the gradient of each argument: "write", "add" or "null"."""
    if isinstance(grad_req, str):
        reqs = dict.fromkeys(names, grad_req)
    elif isinstance(grad_req, list):
        if len(grad_req) != len(names):
            raise ArgumentError(
                f"The length of grad_req list does not match the number of input arguments, "
                f"expected {len(names)}, provided {len(grad_req)}"
            )
        reqs = dict(zip(names, grad_req))
    elif isinstance(grad_req, dict):
        reqs = {n: grad_req.get(n, "null") for n in names}
    else:
        raise ArgumentTypeError(f"grad_req must be a string, a list or a dict, got {type(grad_req)}")
    for req in reqs.values():
        if req not in GRAD_REQS:
            raise ArgumentError(f"grad_req must be in {GRAD_REQS}, got {req!r}")
    return reqs


def _simple_grad_reqs(grad_req: Any, names: Sequence[str]) -> dict[str, str]:
    if grad_req is None:
        return dict.fromkeys(names, "null")
    if isinstance(grad_req, (list, dict)) and not grad_req:
        raise ArgumentError(f"grad_req in simple_bind cannot be an empty {type(grad_req).__name__}")
    values = [grad_req] if isinstance(grad_req, str) else grad_req.values() if isinstance(grad_req, dict) else grad_req
    for req in values:
        if req not in GRAD_REQS:
            raise ArgumentError(
                f"grad_req={req} is not a valid input in simple_bind; only 'null', 'write', and 'add' are supported"
            )
    return _grad_reqs(grad_req, names)
