"""HybridBlock: a block that runs operator by operator, or, hybridized, as one compiled graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from symc import ndarray, symbol
from symc.context import Context
from symc.core.errors import ArgumentError, ConflictError, SymcError
from symc.executor.cached_op import CachedOp
from symc.gluon.parameter import DeferredInitializationError, Parameter, ParameterDict
from symc.model import params_path
from symc.ndarray import NDArray
from symc.symbol import Symbol

from .block import Block
from .structure import Format, agree, flatten, leaves_of, regroup


class HybridBlock(Block):
    """Base of networks that are written once for arrays and symbols: a subclass overrides `hybrid_forward(F, x, ...)`.

    F is `mx.nd` or `mx.sym`; the block's own parameters come as keyword arguments. Called with symbols it gives
    symbols. After `hybridize()` the first call traces it into a graph, which all later calls run.
    """

    def __init__(self, prefix: str | None = None, params: ParameterDict | None = None) -> None:
        super().__init__(prefix=prefix, params=params)
        self._cached_graph: tuple = ()  # inputs and outputs, as symbols
        self._cached_op: CachedOp | None = None
        # What the graph's inputs are, in order: (True, position among the arguments) or (False, parameter).
        self._cached_op_args: list[tuple[bool, Any]] = []
        self._known: _Known | None = None
        self._in_format: Format = None
        self._out_format: Format = None
        self._active = False
        self._flags: list[tuple[str, Any]] = []
        self._callback: Callable[..., None] | None = None
        self._monitor_all = False
        self._backend: str | None = None
        self._backend_opts: dict[str, Any] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, HybridBlock):
            self._clear_cached_op()

    def __getstate__(self) -> dict[str, Any]:
        """All but the compiled graph: a copy compiles one of its own when it is first called."""
        return {**vars(self), "_cached_op": None, "_known": None}

    def register_child(self, block: Block, name: str | None = None) -> None:
        """Makes another HybridBlock a child; raises ArgumentError for any other block."""
        if not isinstance(block, HybridBlock):
            raise ArgumentError(
                f"Children of HybridBlock must also be HybridBlock, but {block} has type {type(block)}. "
                "If you are using Sequential, please try HybridSequential instead."
            )
        super().register_child(block, name)
        self._clear_cached_op()

    def hybridize(
        self,
        active: bool = True,
        backend: str | None = None,
        clear: bool = True,
        static_alloc: bool = False,
        static_shape: bool = False,
        inline_limit: int = 2,
        forward_bulk_size: int | None = None,
        backward_bulk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Runs this block and all below as compiled graphs from now on; `active=False` goes back.

        backend          handed to `Symbol.optimize_for`, with the further keywords
        clear            forgets the graph that was traced
        static_alloc ..  accepted as in MXNet: symc plans memory and prepares a graph for its shapes anyway
        """
        if kwargs:
            self._backend_opts = kwargs
        self._backend = backend
        self._active = active
        flags = {
            "static_alloc": static_alloc,
            "static_shape": static_shape,
            "inline_limit": inline_limit,
            "forward_bulk_size": forward_bulk_size,
            "backward_bulk_size": backward_bulk_size,
        }
        self._flags = [(name, value) for name, value in flags.items() if value is not None]
        if clear:
            self._clear_cached_op()
        if (active and self._forward_hooks) or self._forward_pre_hooks:
            warnings.warn(
                f'"{self}" is being hybridized while still having forward hook/pre-hook. '
                f'If "{self}" is a child of HybridBlock, the hooks will not take effect.',
                stacklevel=2,
            )
        super().hybridize(active, **flags)

    def cast(self, dtype: Any) -> None:
        """Casts all parameters."""
        self._clear_cached_op()
        super().cast(dtype)

    # -- calling ------------------------------------------------------------------------------------------------------

    def forward(self, x: Any, *args: Any) -> Any:
        """The outputs for arrays or for symbols; raises ArgumentError for both at once, or for neither."""
        if isinstance(x, NDArray) and all(map(_is_array, args)):  # what is called most often needs no further look
            return self._call_cached_op(x, *args) if self._active else self._by_operators(x._context, x, *args)
        leaves = leaves_of((x, *args))
        if not leaves:
            raise ArgumentError(
                "In HybridBlock, there must be one NDArray or one Symbol in the input. "
                f"Please check the type of the args. Got {', '.join(type(a).__name__ for a in (x, *args))}."
            )
        is_symbolic = isinstance(leaves[0], Symbol)
        if any(isinstance(leaf, Symbol) != is_symbolic for leaf in leaves):
            raise ArgumentError(
                "In HybridBlock, we do not support mixed NDArrays and Symbols types for the input. "
                "Please check the type of the args."
            )
        if is_symbolic:
            with self.name_scope():
                return self.hybrid_forward(symbol, x, *args, **{k: p.var() for k, p in self._reg_params.items()})
        if self._active:
            return self._call_cached_op(x, *args)
        return self._by_operators(leaves[0].context, x, *args)

    def _by_operators(self, place: Context, *args: Any) -> Any:
        with place:
            return self.hybrid_forward(ndarray, *args, **self._own_arrays(place, *args))

    def hybrid_forward(self, F: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs by functions of F, which is `mx.nd` or `mx.sym`; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override hybrid_forward")

    def _own_arrays(self, place: Context, *args: Any) -> dict[str, NDArray]:
        """Its parameters' arrays on a context; what waits for a shape gets it from the arguments."""
        try:
            return {name: p.data(place) for name, p in self._reg_params.items()}
        except DeferredInitializationError:
            self._deferred_infer_shape(*args)
            for parameter in self.params.values():
                parameter._finish_deferred_init()
        return {name: p.data(place) for name, p in self._reg_params.items()}

    def _call_cached_op(self, *args: Any) -> Any:
        if self._cached_op is None:
            self._build_cache(*args)
        is_flat = self._in_format == [0] * len(args) and all(map(_is_array, args))
        given = args if is_flat else self._leaves(args)
        place = given[0]._context
        if len(given) > 1:
            _require_one_context(given)
        known = self._known
        if known is None or known.place is not place or known.held_at != Parameter.last_held:
            known = self._known = _Known.of(self._cached_op_args, place)
        inputs = known.inputs.copy()
        for position, k in known.given:
            inputs[position] = given[k]
        for position, parameter in known.asked:
            inputs[position] = parameter.data(place)
        assert self._cached_op is not None
        out = self._cached_op.call(inputs)
        return out if self._out_format == 0 else regroup([out] if isinstance(out, NDArray) else out, self._out_format)

    def _leaves(self, args: Sequence[Any]) -> list[NDArray]:
        """The arrays among the arguments, which must be nested as those that were traced."""
        flat, form = flatten(args, "input")
        if not agree(self._in_format, form):
            raise ArgumentError(
                "The argument structure of HybridBlock does not match the cached version. "
                f"Stored format = {self._in_format}, input format = {form}"
            )
        return [x for x in flat if x is not None]

    # -- the graph ----------------------------------------------------------------------------------------------------

    def _get_graph(self, *args: Any) -> tuple[list[Symbol], Symbol]:
        """The block as a graph: variables `data`, or `data0`, `data1`, ..., and the outputs."""
        if not self._cached_graph:
            flat, self._in_format = flatten(args, "input")
            n_given = sum(x is not None for x in flat)
            if n_given == 0:
                raise ArgumentError(f"All args are None and we do not support such a case. Received args={args}")
            names = iter(["data"] if n_given == 1 else [f"data{k}" for k in range(n_given)])
            inputs = [None if x is None else symbol.var(next(names)) for x in flat]
            parameters = {name: p.var() for name, p in self._reg_params.items()}
            with self.name_scope():
                out = self.hybrid_forward(symbol, *regroup(inputs, self._in_format), **parameters)
            heads, self._out_format = flatten(out, "output")
            self._cached_graph = [x for x in inputs if x is not None], symbol.Group(heads)
        return self._cached_graph

    def _build_cache(self, *args: Any) -> None:
        """Makes the graph ready to be called: finds its inputs, initializes the parameters that wait for a shape."""
        data, out = self._get_graph(*args)
        positions = {x.name: k for k, x in enumerate(data)}
        parameters = self.collect_params()
        input_names = out.list_inputs()
        self._check_inputs(input_names, positions, parameters)
        used = [parameters[name] for name in input_names if name not in positions]
        try:
            for parameter in used:
                parameter.data()
        except DeferredInitializationError:
            self._deferred_infer_shape(*args)
            for parameter in used:
                parameter._finish_deferred_init()
        if self._backend:
            out = self._optimized(out, positions, parameters, flatten(args, "input")[0])
            self._cached_graph = data, out
        self._cached_op_args = [
            (True, positions[name]) if name in positions else (False, parameters[name]) for name in out.list_inputs()
        ]
        self._known = None
        held = [k for k, (is_given, x) in enumerate(self._cached_op_args) if not is_given and _keeps(x)]
        self._cached_op = CachedOp(out, [("param_indices", held), *self._flags])
        if self._callback is not None:
            self._cached_op._register_op_hook(self._callback, self._monitor_all)

    def _check_inputs(self, input_names: Sequence[str], positions: dict[str, int], parameters: ParameterDict) -> None:
        """Warns of arguments and parameters that the graph does not use; raises ConflictError for strange inputs."""
        wanted = set(input_names)
        for name in input_names:
            if name not in positions and name not in parameters.keys():  # noqa: SIM118  a ParameterDict is no dict
                raise ConflictError(f"Unknown input to HybridBlock: {name}")
        unused_data = [f"{k}-th" for name, k in positions.items() if name not in wanted]
        if unused_data:
            warnings.warn(
                f"The {', '.join(unused_data)} input to HybridBlock is not used by any computation. Is this intended?",
                stacklevel=5,
            )
        unused = [name for name in parameters.keys() if name not in wanted]  # noqa: SIM118
        if unused:
            warnings.warn(
                f"Parameter {', '.join(unused)} is not used by any computation. Is this intended?", stacklevel=5
            )

    def _optimized(self, out: Symbol, positions: dict[str, int], parameters: ParameterDict, args: list) -> Symbol:
        """The graph after `Symbol.optimize_for`."""

        def arrays(names: Sequence[str]) -> dict[str, NDArray]:
            return {n: args[positions[n]] if n in positions else parameters[n].data() for n in names}

        arguments, states = arrays(out.list_arguments()), arrays(out.list_auxiliary_states())
        assert self._backend is not None
        return out.optimize_for(self._backend, arguments, states, args[0].context, **self._backend_opts)

    def optimize_for(self, x: Any, *args: Any, backend: str | None = None, clear: bool = False, **kwargs: Any) -> None:
        """Hybridizes for a backend and prepares the graph for these arguments, without running it."""
        if not backend:
            raise ArgumentError('Must specify "backend" to optimize_for')
        self.hybridize(True, backend, clear, **kwargs)
        if not leaves_of((x, *args)):
            raise ArgumentError(
                "In HybridBlock, there must be one NDArray or one Symbol in the input. "
                "Please check the type of the args."
            )
        _require_one_context([a for a in leaves_of((x, *args)) if isinstance(a, NDArray)])
        self._build_cache(x, *args)

    def _saved_graph(self) -> dict[str, Any]:
        if not self._cached_graph:
            return {"hybridized": False}
        inputs, out = self._cached_graph
        formats = {"in_format": self._in_format, "out_format": self._out_format}
        return {**formats, "inputs": [x.tojson() for x in inputs], "symbol": out.tojson(), "hybridized": True}

    def _restore_graph(self, content: dict[str, Any]) -> None:
        if not content["hybridized"]:
            return
        self._clear_cached_op()
        self._in_format, self._out_format = content["in_format"], content["out_format"]
        inputs = [symbol.load_json(x) for x in content["inputs"]]
        self._cached_graph, self._active = (inputs, symbol.load_json(content["symbol"])), True

    def _clear_cached_op(self) -> None:
        self._cached_graph = ()
        self._cached_op = None
        self._cached_op_args = []

    # -- inference ----------------------------------------------------------------------------------------------------

    def _deferred_infer_shape(self, *args: Any) -> None:
        try:
            self.infer_shape(*args)
        except Exception as e:  # whatever the user's hybrid_forward raises when it sees symbols
            raise ArgumentError(f"Deferred initialization failed because shape cannot be inferred. {e}") from e

    def infer_shape(self, *args: Any) -> None:
        """Decides the shapes of all parameters from those of the arguments."""
        self._infer("infer_shape", "shape", args)

    def infer_type(self, *args: Any) -> None:
        """Decides the dtypes of all parameters from those of the arguments."""
        self._infer("infer_type", "dtype", args)

    def _infer(self, function: str, attribute: str, args: Sequence[Any]) -> None:
        inputs, out = self._get_graph(*args)
        given = [x for x in flatten(args, "input")[0] if x is not None]
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            facts = {x.name: getattr(a, attribute) for x, a in zip(inputs, given)}
            of_arguments, _, of_states = getattr(out, function)(**facts)
        if of_arguments is None:
            raise ArgumentError(str(seen[0].message) if seen else f"{function} did not decide the {attribute}s")
        found = dict(zip(out.list_arguments(), of_arguments)) | dict(zip(out.list_auxiliary_states(), of_states))
        for parameter in self.collect_params().values():
            setattr(parameter, attribute, found[parameter.name])

    # -- files and hooks ----------------------------------------------------------------------------------------------

    def export(self, path: str, epoch: int = 0, remove_amp_cast: bool = True) -> None:
        """Writes `<path>-symbol.json` and `<path>-<epoch as 4 digits>.params`, which `SymbolBlock.imports` reads.

        Raises SymcError before the hybridized block has been called.
        """
        if not self._cached_graph:
            raise SymcError(
                "Please first call block.hybridize() and then run forward with this block at least once before "
                "calling export."
            )
        inputs, out = self._cached_graph
        out.save(f"{path}-symbol.json", remove_amp_cast=remove_amp_cast)
        states, given = set(out.list_auxiliary_states()), {x.name for x in inputs}
        parameters = self.collect_params()
        names = [name for name in out.list_inputs() if name not in given]
        arrays = {f"{'aux' if name in states else 'arg'}:{name}": parameters[name]._reduce() for name in names}
        ndarray.save(params_path(path, epoch), arrays)

    def register_op_hook(self, callback: Callable[..., None], monitor_all: bool = False) -> None:
        """Calls `callback(name, operator, array)` for every output of every operator of the hybridized block.

        Names are bytes, as MXNet's. monitor_all tells inputs, too.
        """
        self._callback = callback
        self._monitor_all = monitor_all
        if self._cached_op is not None:
            self._cached_op._register_op_hook(callback, monitor_all)
        super().register_op_hook(callback, monitor_all)


class _Known(NamedTuple):
    """The inputs of a graph that are parameters, as arrays, so that a call does not ask each parameter for its own.

    held_at   the value of `Parameter.last_held` for which this is true
    inputs    with holes where the arguments of a call go
    given     position of the hole, position among the arguments
    asked     position and parameter where a derived class makes another array whenever it is asked
    """

    place: Context
    held_at: int
    inputs: list[Any]
    given: list[tuple[int, int]]
    asked: list[tuple[int, Parameter]]

    @staticmethod
    def of(args: Sequence[tuple[bool, Any]], place: Context) -> _Known:
        """For the inputs that `HybridBlock._cached_op_args` tells, on a context."""
        held_at = Parameter.last_held  # before the arrays are asked for: another thread may change them meanwhile
        inputs = [None if is_given or not _keeps(x) else x.data(place) for is_given, x in args]
        given = [(k, x) for k, (is_given, x) in enumerate(args) if is_given]
        asked = [(k, x) for k, (is_given, x) in enumerate(args) if not is_given and not _keeps(x)]
        return _Known(place, held_at, inputs, given, asked)


def _keeps(parameter: Parameter) -> bool:
    """Whether its array is the one it holds: GluonNLP derives one that drops elements anew each time."""
    return type(parameter).data is Parameter.data


def _is_array(x: Any) -> bool:
    return isinstance(x, NDArray)


def _require_one_context(arrays: Sequence[NDArray]) -> None:
    first = arrays[0]._context
    if any(a._context is not first and a._context != first for a in arrays):
        contexts = {a.context for a in arrays}
        raise ArgumentError(
            "Find multiple contexts in the input, After hybridized, the HybridBlock only supports one input context. "
            "You can print the ele.ctx in the input arguments to inspect their contexts. "
            f"Find all contexts = {contexts}"
        )
