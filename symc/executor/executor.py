"""The Executor: a symbol bound to arrays.  MXNet's contract (forward, backward, outputs, the dictionaries), and a call.

ex = sym.simple_bind(mx.cpu(), data=(1, 3, 224, 224))
ex.forward(is_train=False, data=x)      # MXNet: outputs are overwritten by the next forward
y, = ex(data=x)                         # fresh arrays, safe from several threads at once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from symc.context import Context
from symc.core.arrivals import arrivals
from symc.core.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError, SymcError
from symc.core.shapes import FullShape
from symc.ir.infer import infer_dtype, infer_shape
from symc.ir.kernels import head_number
from symc.ndarray.generator import generator
from symc.ndarray.ndarray import NDArray, as_numpy
from symc.ndarray.storage import zeros_aligned

from .arrays import BoundArrays
from .bound import Bound
from .head_gradients import checked, listed
from .monitor import Monitor
from .programs import Mode, Programs, Shapes
from .reshape import resized, shared

if TYPE_CHECKING:
    from symc.runtime.compiler import Compiled
    from symc.symbol.symbol import Symbol
    from symc.visualization.plot import NetworkPlot


class Executor:
    """A symbol with its arrays; compiles itself when it first runs, once for predicting and once for training.

    arg_dict, grad_dict, aux_dict   the bound arrays by name (gradients not asked for are None); assigning another
                                    array of the same shape and dtype binds that one instead
    outputs                         what the last `forward` computed
    """

    def __init__(
        self,
        symbol: Symbol,
        ctx: Context,
        arg_arrays: Mapping[str, NDArray],
        grad_arrays: Mapping[str, NDArray | None] | None,
        grad_req: Mapping[str, str],
        aux_arrays: Mapping[str, NDArray],
    ) -> None:
        ctx.require_device()
        self._symbol = symbol
        self._ctx = ctx
        self._is_on_host = ctx.is_host
        self._has_gradients = grad_arrays is not None
        gradients = {name: (grad_arrays or {}).get(name) for name in arg_arrays}
        self._arguments = BoundArrays("argument", arg_arrays, self)
        self._gradients = BoundArrays("gradient", gradients, self)
        self._states = BoundArrays("auxiliary state", aux_arrays, self)
        self._grad_req = {
            n: grad_req.get(n, "null") if self.grad_dict[n] is not None else "null" for n in self.arg_dict
        }
        self._programs = Programs(symbol, ctx, self.arg_dict, self.grad_dict, self.aux_dict, self._grad_req)
        self._outputs: list[NDArray] | None = None
        self._last: Bound | None = None
        self._is_spent = False  # whether backward has used up what forward left for it
        self._predict: Bound | None = None
        self._key: int | None = None  # of the random numbers since the last forward; drawn when they are first needed
        self._monitor: Monitor | None = None

    def __reduce__(self) -> NoReturn:
        raise ArgumentError(
            "an Executor is tied to its arrays and their memory, so it can be neither pickled nor copied; pickle its "
            "symbol and the arrays of arg_dict and aux_dict, and bind them anew"
        )

    # -- the arrays ---------------------------------------------------------------------------------------------------

    @property
    def arg_dict(self) -> dict[str, NDArray]:
        """Arguments by name."""
        return self._arguments

    @property
    def grad_dict(self) -> dict[str, NDArray | None]:
        """Gradients by name; None where none was asked for."""
        return self._gradients

    @property
    def aux_dict(self) -> dict[str, NDArray]:
        """Auxiliary states by name."""
        return self._states

    @property
    def arg_arrays(self) -> list[NDArray]:
        """Arguments in the order of `symbol.list_arguments()`."""
        return [self.arg_dict[n] for n in self._symbol.list_arguments()]

    @property
    def grad_arrays(self) -> list[NDArray | None] | None:
        """Gradients in the order of the arguments, None where there is none; None when `bind` was given none."""
        return [self.grad_dict[n] for n in self._symbol.list_arguments()] if self._has_gradients else None

    @property
    def aux_arrays(self) -> list[NDArray]:
        """Auxiliary states in the order of `symbol.list_auxiliary_states()`."""
        return [self.aux_dict[n] for n in self._symbol.list_auxiliary_states()]

    @property
    def outputs(self) -> list[NDArray]:
        """The outputs; the next `forward` overwrites them."""
        if self._outputs is None:
            graph = infer_dtype(infer_shape(self._programs.graph(False)))
            self._outputs = self._zeros((graph.shape(o.value), np.dtype(graph.dtype(o.value))) for o in graph.outputs)
        return list(self._outputs)

    def _zeros(self, heads: Iterable[tuple[FullShape, np.dtype]]) -> list[NDArray]:
        return [NDArray(zeros_aligned(shape, dtype), self._ctx) for shape, dtype in heads]

    @property
    def output_dict(self) -> dict[str, NDArray]:
        """Outputs by name."""
        names = self._symbol.list_outputs()
        if len(set(names)) != len(names):
            raise ArgumentError(f'There are multiple outputs with name "{_first_double(names)}"')
        return dict(zip(names, self.outputs))

    # -- running ------------------------------------------------------------------------------------------------------

    def forward(self, is_train: bool = False, **kwargs: Any) -> list[NDArray]:
        """Computes the outputs; keyword arguments are copied into the arguments of that name first.

        Raises ArgumentTypeError for an unknown name, ArgumentError for a shape other than the bound one.
        """
        self._start(is_train, kwargs)
        wants_gradient = is_train and self._wants_gradient
        try:
            bound = self._bound(bool(is_train), with_gradient=wants_gradient)
        except GradientError:  # as in MXNet, `backward` is what refuses
            bound, wants_gradient = self._bound(True), False
        self._key = None
        self._run_forward(bound)
        self._last = bound if wants_gradient else None
        if self._monitor is not None:
            arrays = {**self.arg_dict, **self.aux_dict}
            self._monitor.forward(self._programs.graph(bool(is_train)), arrays, self._key or 0, self._ctx)
        return self.outputs

    def backward(self, out_grads: Any = None, is_train: bool = True) -> None:
        """Adds up or writes the gradients that `grad_req` asks for, and updates auxiliary states.

        out_grads   gradient of each output: an NDArray, a list or a dict by output name; loss outputs need none
        is_train    False: the gradients of the predicting network, which updates no state
        Called again without a forward in between, or in another mode than forward, it computes the forward again, from
        the arrays as they are by then; random numbers stay the same.
        Raises GradientError when a head gradient is needed and missing.
        """
        bound = self._bound(bool(is_train), with_gradient=True)
        if bound is not self._last:
            kept = [o.copy() for o in self.outputs]
            self._run_forward(bound)
            for array, value in zip(self.outputs, kept):
                array._take(value)
            self._last = bound
        self._feed_head_gradients(bound, out_grads)
        bound.refresh()
        if self._is_spent:  # a backward before this one overwrote intermediates; the random numbers stay the same
            bound.instance.run("forward")
        self._is_spent = True
        bound.instance.run("backward")
        self._touch_written_by_backward(bound)
        if arrivals.are_awaited:
            arrivals.complete()
        if self._monitor is not None:
            arrays = {**self.arg_dict, **self.aux_dict, **self._programs.head_gradients}
            graph = self._programs.graph(bool(is_train))
            self._monitor.backward(graph, self._grad_req, arrays, self._key or 0, self._ctx)

    def __call__(self, *args: Any, **kwargs: Any) -> list[NDArray]:
        """The outputs for the given arguments as fresh arrays, predicting; safe from several threads at once.

        Arguments are arrays (NDArray, NumPy, anything with DLPack or `__array__`), by name or in the order of
        `list_arguments()`; those left out keep their bound values.  Other shapes than the bound ones are allowed:
        the program for them is made once (its kernels are shared).
        """
        if args:
            kwargs = self._by_name(args, kwargs)
        bound = self._predict
        if bound is None:
            bound = self._predict = self._bound(False)
        expected = bound.expected(tuple(kwargs))
        if expected is not None:
            if self._is_on_host:
                given = [v._host if type(v) is NDArray else v for v in kwargs.values()]
            else:
                given = [v._on(self._ctx) if isinstance(v, NDArray) else v for v in kwargs.values()]
            made = bound.call(expected, given, self._ctx)
            if made is not None:
                return made
        arrays = {name: as_numpy(value, f"argument {name}") for name, value in kwargs.items()}
        if any(a.shape != self._shape_of(n) or n in bound.parameters for n, a in arrays.items()):
            return self._call_apart(arrays, bound.parameters)
        return bound.call_converted(arrays, self._ctx)

    def _by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a call is given, by name; raises ArgumentTypeError for too many arrays."""
        names = self._symbol.list_arguments()
        if len(args) > len(names):
            raise ArgumentTypeError(f"expected at most {len(names)} arguments, got {len(args)}")
        return {**dict(zip(names, args)), **kwargs}

    def _argument(self, name: str) -> NDArray:
        if name not in self._arguments:
            raise ArgumentTypeError(f"Unknown argument {name}; expected one of {', '.join(self.arg_dict)}")
        return self._arguments[name]

    def _shape_of(self, name: str) -> FullShape:
        return self._argument(name).shape

    def _call_apart(self, arrays: dict[str, np.ndarray], parameters: frozenset[str]) -> list[NDArray]:
        """A call by a program of its own: for other shapes than the bound ones, or with parameters among the arrays."""
        shapes = tuple(sorted((n, a.shape) for n, a in arrays.items()))
        if all(shape == self._shape_of(n) for n, shape in shapes):
            shapes = ()
        try:
            bound = self._programs.get(Mode(False, False, shapes, not parameters.isdisjoint(arrays)))
        except (ArgumentError, ShapeError) as e:
            given = ", ".join(f"{n} {s} (bound: {self.arg_dict[n].shape})" for n, s in shapes if n in self.arg_dict)
            raise type(e)(f"calling with {given}: {e}") from e
        return bound.call_converted(arrays, self._ctx)

    def _start(self, is_train: bool, given: Mapping[str, Any]) -> None:
        """Checks what `forward` is given, and copies arrays into the arguments."""
        if not isinstance(is_train, (bool, int, np.bool_)):
            raise ArgumentTypeError(
                f"forward: is_train must be True or False, got {type(is_train).__name__}; arrays are given by name: "
                f"forward({next(iter(self.arg_dict), 'data')}=...)"
            )
        for name, value in given.items():
            self._assign(name, value)

    def _assign(self, name: str, value: Any) -> None:
        array = self._argument(name)
        given = value if isinstance(value, NDArray) else as_numpy(value, f"argument {name}")
        if given.shape != array.shape:
            raise ArgumentError(f"Shape not match! Argument {name}, need: {array.shape}, received: {given.shape}")
        array._take(given)

    def _run_forward(self, bound: Bound) -> None:
        bound.refresh()
        if bound.session.program.is_random:
            if self._key is None:
                self._key = int(generator().integers(0, 2**62))
            bound.instance.reseed(self._key)
        if self._outputs is None:  # the program knows what would have to be inferred
            self._outputs = self._zeros((head.shape, head.dtype) for head in bound.heads)
        bound.point_heads(self.outputs)
        self._is_spent = True  # should an interrupt end the run
        bound.instance.run("forward")
        self._touch_written_by_forward(bound)
        self._is_spent = False

    def _touch_written_by_forward(self, bound: Bound) -> None:
        for array in self.outputs:
            array._touch()
        self._touch_states(bound)

    def _touch_written_by_backward(self, bound: Bound) -> None:
        for slot in bound.session.program.slots:
            if slot.place in ("gradient", "update"):
                bound.session.bound[slot.place, slot.key]._touch()
        self._touch_states(bound)

    def _touch_states(self, bound: Bound) -> None:
        """What Python ran may have written to any state."""
        if bound.session.program.call_names:
            for array in self.aux_dict.values():
                array._touch()

    def _feed_head_gradients(self, bound: Bound, out_grads: Any) -> None:
        names = self._symbol.list_outputs()
        given = listed(out_grads, names)
        needed = {head_number(key): key for key in bound.session.program.needs("head_gradient")}
        for k, key in sorted(needed.items()):
            target = self._programs.head_gradients[key]
            target._take(checked(given[k], k, names[k], target.shape))

    # -- changing what is bound ---------------------------------------------------------------------------------------

    def copy_params_from(
        self,
        arg_params: Mapping[str, NDArray],
        aux_params: Mapping[str, NDArray] | None = None,
        allow_extra_params: bool = False,
    ) -> None:
        """Copies parameters into the bound arrays; raises ArgumentError for names that are not bound."""
        for kind, given, known in (
            ("arguments", arg_params, self.arg_dict),
            ("auxiliary states", aux_params or {}, self.aux_dict),
        ):
            for name, value in given.items():
                if name in known:
                    array = as_numpy(value, f"parameter {name}")
                    if array.shape != known[name].shape:
                        raise ArgumentError(
                            f"copying parameter {name}: it has shape {array.shape}, bound is {known[name].shape}"
                        )
                    known[name][:] = array
                elif not allow_extra_params:
                    raise ArgumentError(f'Find name "{name}" that is not in the {kind}')

    def reshape(self, partial_shaping: bool = False, allow_up_sizing: bool = False, **kwargs: FullShape) -> Executor:
        """An executor for other input shapes that shares this one's arrays where they fit, outputs included.

        It has this one's monitor and number of threads.

        partial_shaping   arguments not named may change their shape too
        allow_up_sizing   arrays that grow may be allocated anew
        Raises SymcError when an array would have to grow, or to change unasked.
        """
        arg_shapes, out_shapes, aux_shapes = self._symbol.infer_shape(**kwargs)
        if arg_shapes is None or aux_shapes is None or out_shapes is None:
            raise SymcError("reshape: insufficient argument shapes provided")
        is_allowed = {n: partial_shaping or n in kwargs for n in (*self.arg_dict, *self.aux_dict)}

        def fitted(name: str, array: NDArray, shape: FullShape) -> NDArray:
            return resized(name, array, shape, is_allowed[name], allow_up_sizing)

        args, grads = {}, {}
        for name, shape in zip(self._symbol.list_arguments(), arg_shapes):
            args[name] = fitted(name, self.arg_dict[name], shape)
            grad = self.grad_dict[name]
            grads[name] = None if grad is None else fitted(name, grad, shape)
        states = zip(self._symbol.list_auxiliary_states(), aux_shapes)
        aux = {name: fitted(name, self.aux_dict[name], shape) for name, shape in states}
        made = Executor(self._symbol, self._ctx, args, grads, self._grad_req, aux)
        made._outputs = [shared(array, shape) for array, shape in zip(self.outputs, out_shapes)]
        made._programs.n_threads = self._programs.n_threads
        if self._monitor is not None:
            made.set_monitor_callback(self._monitor.callback, self._monitor.is_all)
        return made

    def set_monitor_callback(self, callback: Callable[[str, NDArray], None], monitor_all: bool = False) -> None:
        """Calls `callback(name, array)` for every result of every node after each forward, and for what every node
        gives back to its inputs after each backward (see executor/monitor.py for the names).

        monitor_all   also for the inputs of the nodes.  Each forward and backward then runs a second program.
        The name is text and the array an NDArray, where MXNet gives bytes and the address of a handle.
        """
        self._monitor = Monitor(callback, monitor_all)

    def set_num_threads(self, n_threads: int | None) -> None:
        """Threads of the native runner for this executor; None = the process's default.  Results do not change.

        Raises ArgumentError outside 1..256.
        """
        from symc.runtime.cpu.native import thread_count

        thread_count(n_threads)
        self._programs.n_threads = n_threads
        self._take_arrays_anew()

    def _require_no_output(self, what: str, array: NDArray) -> None:
        """Raises ArgumentError for an array, called `what`, that shares memory with an output: a run would read what it
        has overwritten."""
        if any(np.may_share_memory(array._memory, output._memory) for output in self._outputs or ()):
            raise ArgumentError(f"{what} is memory of an output, which every forward overwrites; bind a copy of it")

    def _take_arrays_anew(self) -> None:
        """Makes the next run use what the dictionaries hold now; nothing is compiled again."""
        self._programs.forget()
        self._predict = self._last = None

    # -- looking inside -----------------------------------------------------------------------------------------------

    def compiled(self, is_train: bool = False) -> Compiled:
        """The program that predicts or trains, what it was lowered from, and the backend; compiled now if need be."""
        return self._bound(is_train, with_gradient=is_train and self._wants_gradient).session.compiled

    def explain(self, is_train: bool = False) -> str:
        """A table of the compiled program: step, kernel, fused nodes, shapes, schedule and why."""
        from symc.runtime.report import explain

        compiled = self.compiled(is_train)
        return explain(compiled.lowered, compiled.remarks)

    def source(self, is_train: bool = False) -> str:
        """The generated source of every kernel."""
        from symc.runtime.report import source

        return source(self.compiled(is_train).lowered)

    def memory_plan(self, is_train: bool = False) -> Any:
        """Where every intermediate lies; planned, naive and lower-bound bytes."""
        from symc.runtime.memory_report import MemoryReport

        return MemoryReport.of(self.compiled(is_train).lowered)

    def profile(self, is_train: bool = False, n_runs: int = 10) -> Any:
        """Time per step over some runs: prints as a table, exports a Chrome trace.

        Training, each run is a forward and a backward, which writes gradients and states as `backward` does.
        """
        from symc.runtime.profile import profile

        bound = self._bound(is_train, with_gradient=is_train and self._wants_gradient)
        self._run_forward(bound)
        self._is_spent = True
        try:
            return profile(bound.session.compiled.lowered, bound.instance, n_runs)
        finally:
            self._touch_written_by_forward(bound)
            self._touch_written_by_backward(bound)

    def plot(self, title: str = "program", n_runs: int = 0) -> NetworkPlot:
        """A drawing of the program that predicts: kernel calls, what they compute, and times over `n_runs` runs."""
        from symc.visualization.plot import plot_program
        from symc.visualization.program import Owners

        profile = self.profile(n_runs=n_runs) if n_runs > 0 else None
        return plot_program(Owners(self._symbol, self.compiled(False).lowered, profile), title)

    def debug_str(self) -> str:
        """The symbol's nodes, the compiled program, and how much memory it takes beside the bound arrays.

        Scripts read that from MXNet's last two lines; symc's programs have no memory beyond the first of them.
        """
        totals = f"Total {self._allocated_mb} MB allocated\nTotal 0 TempSpace resource requested\n"
        return f"{self._symbol.debug_str()}\n{self.explain(self._wants_gradient)}\n{totals}"

    @property
    def _allocated_mb(self) -> int:
        """Memory beside the bound arrays in MB, rounded up."""
        plan = self.memory_plan(self._wants_gradient)
        return -(-(plan.planned_bytes + plan.prepared_bytes + plan.output_bytes) // (1 << 20))

    def get_optimized_symbol(self) -> Symbol:
        """The symbol after algebra and merging of equal nodes; see `symc.symbol.lift.optimized`.

        What comes after (layouts, folded weights, fused kernels) is not made of MXNet's operators: see `explain`.
        """
        from symc.passes.base import PassContext
        from symc.symbol.lift import optimized

        graph = self._programs.graph(self._wants_gradient)
        return optimized(self._symbol, graph, PassContext(self._ctx.device.backend))

    @property
    def _wants_gradient(self) -> bool:
        return any(req != "null" for req in self._grad_req.values())

    def _bound(self, is_train: bool, shapes: Shapes = (), with_gradient: bool = False) -> Bound:
        return self._programs.get(Mode(is_train, with_gradient, shapes))


def _first_double(names: Sequence[str]) -> str:
    return next(n for k, n in enumerate(names) if n in names[:k])
