"""`mx.nd.CachedOp`: a symbol as a function of arrays, compiled for each combination of shapes it is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.context import Context, current_context
from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError, GradientError
from symc.ir.absent import require_present
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.ir.infer import infer_dtype, infer_shape
from symc.ndarray import tape
from symc.ndarray.custom import filled
from symc.ndarray.eager import EagerGraph
from symc.ndarray.fit import require_fit
from symc.ndarray.generator import generator
from symc.ndarray.invoke import targets_of, write
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import allocation
from symc.ops.control.call import Call
from symc.symbol.graph import to_graph

from .cut import Cut, where_cut
from .holding import Holding
from .monitor import OpHook

if TYPE_CHECKING:
    from symc.runtime.function import GraphFunction
    from symc.runtime.instance import Instance
    from symc.symbol import Symbol

MOST_BLOCKS = 64  # combinations of shapes and mode that are kept by one CachedOp
MOST_APART = 8  # of these that prepare parameters on a device whose programs share nothing; others prepare nothing


class CachedOp:
    """Calls a symbol with its inputs in the order of `list_inputs()`; `out=` receives the outputs.

    The symbol runs as one compiled graph; where only values decide a shape (boolean_mask) it is cut in two. While
    recording it is one operator of the recording: a program whose forward part leaves in memory what its backward part
    reads, as in an Executor.

    flags    pairs of name and value, as MXNet's; "param_indices" are the positions of inputs that hardly ever are other
             arrays than in the call before: what they alone decide is computed when they were written. "inline_limit"
             and "static_alloc" decide what `autograd.get_symbol` shows, the others nothing
    """

    def __init__(self, sym: Symbol, flags: Any = ()) -> None:
        require_present((n.op, n.name, n.origin) for n in sym.nodes())
        self._symbol = sym
        self.names = sym.list_inputs()
        self._n_inputs = len(self.names)
        given = dict(flags)
        self._held = frozenset(given.get("param_indices", ()))
        self._inline_limit = 0 if given.get("static_alloc") else given.get("inline_limit", 2)
        self._cut = self._where_cut()
        self._blocks: BoundedCache[tuple, _Block] = BoundedCache(MOST_BLOCKS)
        self._hook: OpHook | None = None
        self._recent: Holding | None = None  # what predicted last; the next call mostly gives the same parameters

    def _where_cut(self) -> Cut | None:
        """At the first operator whose shape only values decide."""
        at = where_cut(self._symbol)
        if at is None:
            return None
        return Cut(self._symbol, at, {self.names[k] for k in self._held}, CachedOp)

    def __call__(self, *args: NDArray, out: NDArray | Sequence[NDArray] | None = None, **kwargs: Any) -> Any:
        """The outputs: an array, or a list of several.

        Raises ArgumentError for another number of inputs, ShapeError and DTypeError where they do not fit.
        """
        return self.call(args, out)

    def call(self, args: Sequence[NDArray], out: NDArray | Sequence[NDArray] | None = None) -> Any:
        """The same for a sequence of inputs."""
        mode = tape.mode
        recent = self._recent
        if recent is not None and out is None and not (mode.recording or mode.training) and len(args) == self._n_inputs:
            results = recent.again(args)
            if results is not None:
                return results[0] if len(results) == 1 else results
        if len(args) != self._n_inputs:
            raise ArgumentError(
                f"CachedOp: expected {len(self.names)} inputs ({', '.join(self.names)}), got {len(args)}"
            )
        for name, value in zip(self.names, args):
            if not isinstance(value, NDArray):
                require_fit(f"CachedOp: input {name}", value)
        if self._cut is not None:
            if out is not None and mode.recording:
                tape.refuse_in_place(args, targets_of("CachedOp", out))
            results = self._cut(args) if out is None else write("CachedOp", self._cut(args), out)
            return results[0] if len(results) == 1 else results
        key = (mode.training, *[(a._shape, a._dtype.num) for a in args])
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks.put(key, self._prepare(args))
        results = block.recorded(args, out) if mode.recording else block(args, out)
        if self._hook is not None:
            block.tell(self._hook, args)
        elif not mode.recording:
            self._recent = block.recent
        return results[0] if len(results) == 1 else results

    def _register_op_hook(self, callback: Callable[..., None], monitor_all: bool = False) -> None:
        """Calls `callback(name, operator, array)` after each call, for every output (and input) of every operator."""
        self._hook = OpHook(callback, monitor_all)
        self._recent = None
        for part in self._cut.parts if self._cut is not None else ():
            part._register_op_hook(callback, monitor_all)

    def _prepare(self, args: Sequence[NDArray]) -> _Block:
        shapes = {n: a.shape for n, a in zip(self.names, args)}
        dtypes = {n: a._dtype.name for n, a in zip(self.names, args)}
        graph = infer_dtype(infer_shape(to_graph(self._symbol, tape.is_training(), shapes, dtypes)))
        inputs = {node.name: node for node in graph.inputs}
        for name, array in zip(self.names, args):
            value = inputs[name][0]
            require_fit(f"CachedOp: input {name}", array, graph.shape(value), graph.dtype(value))
        g = GraphBuilder.over(graph)
        heads: dict[Value, Output] = {}
        for kind, name, value in graph.outputs:
            own = g("_copy", value) if value in heads else value  # every head gets a gradient of its own
            heads[own] = Output(kind, name, own)
        body = finish(g, list(heads.values()), inputs=[inputs[name] for name in self.names])
        is_shared = _place_of(args).is_host  # what is prepared; see runtime/session.py
        held = self._held if is_shared or len(self._blocks) < MOST_APART else frozenset()
        return _Block(body, held, self._inline_limit)


class _Block:
    """The symbol for inputs of some shapes, in one mode."""

    def __init__(self, body: Graph, held: frozenset[int], inline_limit: int) -> None:
        self._body = body
        self._held = held
        self._inline_limit = inline_limit
        self._holding: dict[Context, Holding | None] = {}  # where the inputs that are held lie
        self._inputs = list(body.inputs)
        self._run = EagerGraph(body, [node[0] for node in self._inputs])
        self._trainable = [k for k, node in enumerate(self._inputs) if node.role != "aux"]
        self._results = [(allocation(shape, dtype), shape, dtype) for shape, dtype in self._run.out_facts]
        self._trained: BoundedCache[tuple, tuple[Call, GraphFunction | None]] = BoundedCache(16)
        self.recent: Holding | None = None  # what predicted last

    def __call__(self, args: Sequence[NDArray], out: NDArray | Sequence[NDArray] | None) -> list[NDArray]:
        """The outputs, in `out` where given."""
        made = self._predicted(args) if self._held and not self._body.training else self._computed(args)
        return made if out is None else write("CachedOp", made, out)

    def tell(self, hook: OpHook, args: Sequence[NDArray]) -> None:
        """Tells a hook what a call with these inputs computes."""
        hook(self._body, {n.name: x for n, x in zip(self._inputs, args)}, _place_of(args))

    def _predicted(self, args: Sequence[NDArray]) -> list[NDArray]:
        """The outputs, by what the inputs that are held have prepared."""
        place = args[0]._context
        if place not in self._holding:
            self._holding[place] = Holding.of(self._body, place, self._held) if self._run.is_compiled else None
        holding = self.recent = self._holding[place]
        return self._computed(args) if holding is None else holding(args)

    def recorded(self, args: Sequence[NDArray], out: NDArray | Sequence[NDArray] | None) -> list[NDArray]:
        """The same; what leads to a variable is recorded."""
        wanted = tuple([k for k in self._trainable if tape.source_of(args[k]) is not None])
        if not wanted:
            return self(args, out)
        if out is not None:
            tape.refuse_in_place(args, targets_of("CachedOp", out))
        place = args[0].context
        op, function = self._training((wanted, place), args)
        if function is None:  # an input whose gradient is refused may be one that no gradient passes on from
            carrying = tuple([k for k in wanted if tape.carries(tape.source_of(args[k]))])
            if carrying and carrying != wanted:
                op, function = self._training((carrying, place), args)
        if function is None:
            left, made = None, self._computed(args)
        else:
            made = [NDArray._over(make(shape, dtype), place) for make, shape, dtype in self._results]
            kept = [y.detach() for y in made]  # the recording that `made` belong to must not be in their own way
            seed = int(generator().integers(0, 2**62)) if function.is_random else 0
            addresses = {k: args[k]._address_on(place) for k in function.read}, [y._address for y in made]
            left = _Left(function, function.forward(*addresses, seed, owner=(args, kept)), op, args, kept)
        results = made if out is None else write("CachedOp", made, out)
        tape.record(op, args, made, results, self._body.training, left)
        return results

    def _training(
        self, key: tuple[tuple[int, ...], Context], args: Sequence[NDArray]
    ) -> tuple[Call, GraphFunction | None]:
        """What `_train` made for the inputs that are wanted, holding what is held of these."""
        op, function = self._trained.obtain(key, lambda: self._train(*key, args))
        if function is None:
            return op, None
        holding = function.holding(args)
        return (op, function) if holding is function else self._trained.put(key, (op, holding))

    def _train(
        self, wanted: tuple[int, ...], place: Context, args: Sequence[NDArray]
    ) -> tuple[Call, GraphFunction | None]:
        """The operator on the tape, and its program; without one, its gradient is that of its body.

        That is so where an array is empty, and where an operator has no gradient: then, as in MXNet, `backward` is
        what refuses.
        """
        op = Call(bodies=(self._body,), wanted=wanted, inline_limit=self._inline_limit)
        if any(0 in self._body.shape(v) for v in self._body.facts.shape):
            return op, None
        from symc.runtime.function import GraphFunction

        try:
            names = [self._inputs[k].name for k in wanted]
            return op, GraphFunction(self._body, place.device, names, {k: args[k] for k in self._held})
        except GradientError:
            return op, None

    def _computed(self, args: Sequence[NDArray]) -> list[NDArray]:
        return self._run(args, _place_of(args))


class _Left:
    """What a training program's forward part left, and its backward part (see tape.Left)."""

    def __init__(
        self,
        function: GraphFunction,
        instance: Instance,
        op: Call,
        args: Sequence[NDArray],
        results: Sequence[NDArray],
    ) -> None:
        self._function = function
        self._instance = instance
        self._op = op
        self._args = args
        self._results = results

    def gradients(
        self, dy: Sequence[NDArray | None], into: Mapping[int, NDArray], is_last: bool
    ) -> Mapping[int, NDArray]:
        terms = filled(dy, self._results)
        found = {k: into[k] if k in into else self._args[k]._room() for k in self._op.wanted}
        instance = self._instance if is_last else self._function.copied(self._instance)
        place = _place_of(self._args)
        addresses = [d._address_on(place) for d in terms], [x._address for x in found.values()]
        self._function.backward(instance, *addresses, owner=(terms, found))
        for k in self._function.updated:
            self._args[k]._touch()
        self._function.release(instance)
        return found


def _place_of(args: Sequence[NDArray]) -> Context:
    """Where a call with these inputs runs."""
    return args[0]._context if args else current_context()
