"""`mx.operator`: operators written in Python.

@mx.operator.register("square")
class SquareProp(mx.operator.CustomOpProp):     # what the operator looks like; its methods say shapes and dtypes
    def create_operator(self, ctx, shapes, dtypes):
        return Square()                         # a CustomOp: forward and backward

y = mx.sym.Custom(x, op_type="square")          # also mx.nd.Custom
"""

from __future__ import annotations

import itertools
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from symc.core.bounded import BoundedCache
from symc.core.dtypes import code_of, dtype_name
from symc.core.errors import CustomError, DTypeError, ShapeError, SymcError, UnknownOperatorError
from symc.core.shapes import Shape, from_mxnet, from_numpy_style, is_empty, is_known, to_mxnet, unify
from symc.core.timeline import timeline
from symc.ir.op import DTypes, Shapes, lookup
from symc.loopir.callout import Seen
from symc.ndarray import tape
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import require_dense
from symc.ops.control.custom import Arrays, Custom, definitions
from symc.symbol.functions import make_function

from .context import Context, context_of, current_context
from .functions import names

__all__ = [
    "CustomOp", "CustomOpProp", "NDArrayOp", "NumpyOp", "OperatorArguments", "PythonOp",
    "get_all_registered_operators", "get_operator_arguments", "register",
]  # fmt: skip

PropClass = TypeVar("PropClass", bound=type)
_PACKAGE = Path(__file__).parent
_numbers = itertools.count()  # of PythonOps


class CustomOp:
    """Base of operators written in Python; arrays are memory of the running program, valid during the call."""

    def forward(
        self, is_train: bool, req: list[str], in_data: list[NDArray], out_data: list[NDArray], aux: list[NDArray]
    ) -> None:
        """Computes `out_data` from `in_data`; may write to the states `aux`.

        req   what to do with each result: "null" (nobody reads it) or "write", see `assign`
        """

    def backward(
        self,
        req: list[str],
        out_grad: list[NDArray],
        in_data: list[NDArray],
        out_data: list[NDArray],
        in_grad: list[NDArray],
        aux: list[NDArray],
    ) -> None:
        """Computes `in_grad`; arrays that `declare_backward_dependency` left out are empty."""

    def assign(self, dst: NDArray, req: str, src: Any) -> None:
        """Writes or adds `src` to `dst` as `req` says: "null", "write", "inplace" or "add"."""
        if req in ("write", "inplace"):
            dst[:] = src
        elif req == "add":
            dst[:] += src


class CustomOpProp:
    """Base of the classes that say what an operator looks like; made with the attributes of a node, as strings.

    need_top_grad   whether backward reads the gradients of the results
    """

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad

    def infer_shape(self, in_shape: list[list[int]]) -> tuple:
        """Shapes of arguments, results and (optional) states; an unknown shape is [], an unknown extent 0."""
        return in_shape, (in_shape[0],) * len(self.list_outputs()), ()

    def infer_type(self, in_type: list[Any]) -> tuple:
        """NumPy types of arguments, results and (optional) states; an unknown one is None."""
        n_results, n_states = len(self.list_outputs()), len(self.list_auxiliary_states())
        return in_type, [in_type[0]] * n_results, [in_type[0]] * n_states

    def infer_storage_type(self, in_stype: list[str]) -> tuple:
        """Storage types, all "default": the one kind there is."""
        n_results, n_states = len(self.list_outputs()), len(self.list_auxiliary_states())
        return in_stype, ["default"] * n_results, ["default"] * n_states

    def infer_storage_type_backward(
        self,
        ograd_stype: list[str],
        in_stype: list[str],
        out_stype: list[str],
        igrad_stype: list[str],
        aux_stype: list[str],
    ) -> tuple:
        """The same for backward."""
        return tuple(["default"] * len(s) for s in (ograd_stype, in_stype, out_stype, igrad_stype, aux_stype))

    def list_outputs(self) -> list[str]:
        """Names of the results."""
        return ["output"]

    def list_arguments(self) -> list[str]:
        """Names of the arguments; one that is not given becomes a variable `<node>_<name>`."""
        return ["data"]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the states."""
        return []

    def declare_backward_dependency(self, out_grad: list[int], in_data: list[int], out_data: list[int]) -> list[int]:
        """Of these numbers, one for each array, those of the arrays that backward reads."""
        return [*(out_grad if self.need_top_grad_ else ()), *in_data, *out_data]

    def create_operator(self, ctx: Context, in_shapes: list[list[int]], in_dtypes: list[int]) -> CustomOp:
        """The operator for arguments and states of these shapes and dtypes (MXNet's codes); keeps its own state."""
        return CustomOp()


def register(reg_name: str) -> Callable[[PropClass], PropClass]:
    """Registers a CustomOpProp under the name that `op_type` gives; the last one registered counts."""

    def registered(prop_class: PropClass) -> PropClass:
        definitions[reg_name] = lambda attributes: _Definition(reg_name, prop_class, attributes)
        return prop_class

    return registered


class PythonOp:
    """What MXNet had before CustomOp: an object that is operator and definition of a node, without states.

    need_top_grad   whether backward reads the gradients of the results
    """

    _hint = "_python"  # of automatic names

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad
        warnings.warn(f"{type(self).__name__} has been deprecated. Please use CustomOp", stacklevel=2)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.get_symbol(*args, **kwargs)

    def get_symbol(self, *args: Any, **kwargs: Any) -> Any:
        """A node of it over symbols; its JSON is of use in this process alone."""
        op_type = f"{type(self).__name__}_{next(_numbers)}"
        register(op_type)(type("_OldProp", (_OldProp,), {"of": self}))
        return make_function(Custom, self._hint)(*args, op_type=op_type, **kwargs)

    def forward(self, in_data: list[Any], out_data: list[Any]) -> None:
        """Computes `out_data` from `in_data`."""
        out_data[0][:] = in_data[0]

    def backward(self, out_grad: list[Any], in_data: list[Any], out_data: list[Any], in_grad: list[Any]) -> None:
        """Computes `in_grad`."""
        in_grad[0][:] = 1.0

    def infer_shape(self, in_shape: list[list[int]]) -> tuple:
        """Shapes of arguments and results."""
        return in_shape, [in_shape[0]]

    def list_outputs(self) -> list[str]:
        """Names of the results."""
        return ["output"]

    def list_arguments(self) -> list[str]:
        """Names of the arguments."""
        return ["data"]

    def need_top_grad(self) -> bool:
        """Whether backward reads the gradients of the results."""
        return self.need_top_grad_


class NumpyOp(PythonOp):
    """Its methods take NumPy arrays, which are the program's memory."""

    _hint = "_native"


class NDArrayOp(PythonOp):
    """Its methods take NDArrays."""

    _hint = "_ndarray"

    def declare_backward_dependency(self, out_grad: list[int], in_data: list[int], out_data: list[int]) -> list[int]:
        """As of a CustomOpProp."""
        return [*(out_grad if self.need_top_grad() else ()), *in_data, *out_data]


class _OldProp(CustomOpProp):
    """A PythonOp as a CustomOpProp, and as its operator."""

    of: PythonOp

    def __init__(self) -> None:
        super().__init__(self.of.need_top_grad())

    def list_arguments(self) -> list[str]:
        return self.of.list_arguments()

    def list_outputs(self) -> list[str]:
        return self.of.list_outputs()

    def infer_shape(self, in_shape: list[list[int]]) -> tuple:
        return self.of.infer_shape(in_shape)

    def declare_backward_dependency(self, out_grad: list[int], in_data: list[int], out_data: list[int]) -> list[int]:
        declared = getattr(self.of, "declare_backward_dependency", super().declare_backward_dependency)
        return declared(out_grad, in_data, out_data)

    def create_operator(self, ctx: Context, in_shapes: list[list[int]], in_dtypes: list[int]) -> Any:
        return self

    def forward(self, is_train: int, req: list[str], in_data: list, out_data: list, aux: list) -> None:
        """As a CustomOp."""
        self.of.forward(in_data=in_data, out_data=out_data)

    def backward(self, req: list[str], out_grad: list, in_data: list, out_data: list, in_grad: list, aux: list) -> None:
        """As a CustomOp."""
        self.of.backward(out_grad=out_grad, in_data=in_data, out_data=out_data, in_grad=in_grad)


def get_all_registered_operators() -> list[str]:
    """The names of all operators, as they were registered."""
    return sorted({registered for table in names().values() for registered in table.values()})


class OperatorArguments(NamedTuple):
    """The inputs and parameters of an operator: how many, their names, and their types as text."""

    narg: int
    names: list[str]
    types: list[str]


def get_operator_arguments(op_name: str) -> OperatorArguments:
    """What an operator takes, its inputs first; raises UnknownOperatorError."""
    cls = lookup(op_name)
    if cls is None:
        raise UnknownOperatorError(f"Operator {op_name} is not registered")
    inputs = {"data": "NDArray-or-Symbol[]"} if cls.variadic else dict.fromkeys(cls.arguments, "NDArray-or-Symbol")
    taken = {**inputs, **{name: p.type_text for name, p in cls.params().items()}}
    return OperatorArguments(len(taken), list(taken), list(taken.values()))


class _Definition:
    """What a CustomOpProp says about the operator of a node (see ops.control.custom.Definition)."""

    def __init__(self, op_type: str, prop_class: type, attributes: Mapping[str, str]) -> None:
        self.op_type = op_type
        with self.calling("__init__"):
            self.prop = prop_class(**attributes)
        self.arguments = self._names("list_arguments")
        self.results = self._names("list_outputs")
        self.states = self._names("list_auxiliary_states")
        numbers = iter(range(2 * len(self.results) + len(self.arguments)))
        groups = [[next(numbers) for _ in part] for part in (self.results, self.arguments, self.results)]
        with self.calling("declare_backward_dependency"):
            self.dependencies = tuple(dict.fromkeys(int(k) for k in self.prop.declare_backward_dependency(*groups)))
        if not all(0 <= k <= groups[2][-1] for k in self.dependencies):
            raise self.fault("declare_backward_dependency", f"gave {self.dependencies}, expected some of {groups}")
        self._storage_types()
        self._inferred_shapes: BoundedCache[tuple, tuple[Shapes, Shapes]] = BoundedCache(64)
        self._inferred_dtypes: BoundedCache[tuple, tuple[DTypes, DTypes]] = BoundedCache(64)

    def fault(self, method: str, what: str, kind: type[SymcError] = CustomError) -> SymcError:
        """The error about something that a method did."""
        return kind(f"custom operator {self.op_type}: {method} {what}")

    @contextmanager
    def calling(self, method: str, kind: type[SymcError] = CustomError, node: str = "") -> Iterator[None]:
        """Around a call of the user's code: what it raises becomes the cause of one error that says where."""
        try:
            yield
        except Exception as error:
            of = f" of node {node}" if node else ""
            raise self.fault(f"{method}{of}", f"raised {type(error).__name__}: {error}{_place(error)}", kind) from error

    def _names(self, method: str) -> tuple[str, ...]:
        with self.calling(method):
            found = tuple(map(str, getattr(self.prop, method)()))
        if method == "list_outputs" and not found:
            raise self.fault(method, "gave no names; an operator has at least one result")
        return found

    def _storage_types(self) -> None:
        """All arrays are dense; raises where the operator would have others of those."""
        with self.calling("infer_storage_type"):
            for part in self.prop.infer_storage_type(["default"] * len(self.arguments)):
                for stype in part:
                    require_dense(stype)

    def infer_shape(self, ins: Sequence[Shape | None]) -> tuple[Shapes, Shapes]:
        n_arguments = len(self.arguments)
        if self.arguments and not any(shape is not None for shape in ins[:n_arguments]):
            return list(ins), [None] * len(self.results)
        key = tuple(ins[:n_arguments])
        known = self._inferred_shapes.get(key)
        if known is None:
            known = self._inferred_shapes.put(key, self._asked_shapes(key))
        found, outs = known
        return [unify(a, b) for a, b in zip(ins, found)], outs

    def _asked_shapes(self, ins: tuple[Shape | None, ...]) -> tuple[Shapes, Shapes]:
        is_complete = all(map(is_known, ins))
        try:
            with self.calling("infer_shape", ShapeError):
                found = self.prop.infer_shape([list(to_mxnet(shape)) for shape in ins])
        except ShapeError:
            if is_complete:
                raise
            return [None] * (len(ins) + len(self.states)), [None] * len(self.results)  # it needs to know more
        parts = self._parts("infer_shape", found, ShapeError)
        with self.calling("infer_shape", ShapeError):
            read = from_numpy_style if is_complete and any(map(is_empty, ins)) else from_mxnet  # is 0 an extent?
            arguments, results, states = ([read(shape) for shape in part] for part in parts)
        return [*arguments, *states], results

    def infer_dtype(self, ins: Sequence[str | None]) -> tuple[DTypes, DTypes]:
        n_arguments = len(self.arguments)
        if self.arguments and not any(ins[:n_arguments]):
            return list(ins), [None] * len(self.results)
        key = tuple(ins[:n_arguments])
        known = self._inferred_dtypes.get(key)
        if known is None:
            known = self._inferred_dtypes.put(key, self._asked_dtypes(key))
        found, outs = known
        for name, given, d in zip((*self.arguments, *self.states), ins, found):
            if given is not None and d is not None and given != d:
                raise self.fault("infer_type", f"wants {d} for {name}, which is {given}", DTypeError)
        return found, outs

    def _asked_dtypes(self, ins: tuple[str | None, ...]) -> tuple[DTypes, DTypes]:
        with self.calling("infer_type", DTypeError):
            found = self.prop.infer_type([None if d is None else np.dtype(d).type for d in ins])
        parts = self._parts("infer_type", found, DTypeError)
        arguments, results, states = ([None if d is None else dtype_name(d) for d in part] for part in parts)
        return [*arguments, *states], results

    def _parts(self, method: str, found: Any, kind: type[SymcError]) -> tuple[list, list, list]:
        """What an inference gave, for arguments, results and states."""
        if not isinstance(found, (tuple, list)) or len(found) not in (2, 3):
            raise self.fault(method, f"must return 2 or 3 lists, got {found!r}", kind)
        parts = (*map(list, found), []) if len(found) == 2 else tuple(map(list, found))
        for what, names_, part in zip(
            ("arguments", "results", "states"), (self.arguments, self.results, self.states), parts
        ):
            if len(part) != len(names_):
                raise self.fault(method, f"gave {len(part)} entries for the {what} {', '.join(names_)}", kind)
        return parts  # type: ignore[return-value]

    def array(self, seen: Seen) -> NDArray:
        return NDArray(seen.array, context_of(seen.memory))

    def running(self, ins: Arrays) -> _Running:
        context = ins[0].context if ins else current_context()
        with self.calling("create_operator"):
            operator = self.prop.create_operator(context, [list(x.shape) for x in ins], [code_of(x.dtype) for x in ins])
        if not hasattr(operator, "forward"):
            raise self.fault("create_operator", f"gave {operator!r}, expected a CustomOp")
        return _Running(self, operator, context)


class _Running:
    """A CustomOp at work (see ops.control.custom.Running)."""

    def __init__(self, definition: _Definition, operator: CustomOp, context: Context) -> None:
        self._definition = definition
        self._operator = operator
        self._context = context

    def forward(
        self, node: str, is_training: bool, wanted: Sequence[bool], ins: Arrays, outs: Arrays, states: Arrays
    ) -> None:
        with self._calling("forward", node, is_training) as lent:
            self._operator.forward(
                is_train=int(is_training),  # type: ignore[arg-type]  # as in MXNet
                req=_requests(wanted),
                in_data=lent(ins),
                out_data=lent(outs, "fill"),
                aux=lent(states, "change"),
            )

    def backward(
        self, node: str, is_training: bool, wanted: Sequence[bool], seen: Arrays, in_grads: Arrays, states: Arrays
    ) -> None:
        n_results, n_arguments = len(self._definition.results), len(self._definition.arguments)
        with self._calling("backward", node, is_training) as lent:
            arrays = lent(seen)
            self._operator.backward(
                req=_requests(wanted),
                out_grad=arrays[:n_results],
                in_data=arrays[n_results : n_results + n_arguments],
                out_data=arrays[n_results + n_arguments :],
                in_grad=lent(in_grads, "fill"),
                aux=lent(states, "change"),
            )

    @contextmanager
    def _calling(self, method: str, node: str, is_training: bool) -> Iterator[Callable[..., list[Any]]]:
        """As in MXNet nothing is recorded, the mode is that of the run, and its device the current one.

        Gives a function that makes of arrays what the operator takes, to read, to change or to fill them.
        """
        name = "_backward_" * (method == "backward") + self._definition.op_type
        takes_numpy = isinstance(self._operator, _OldProp) and isinstance(self._operator.of, NumpyOp)
        changed: list[NDArray] = []
        filled: list[NDArray] = []

        def lent(arrays: Sequence[NDArray], use: str = "read") -> list[Any]:
            if not takes_numpy:
                return list(arrays)
            if use == "read":
                return [x._host for x in arrays]
            (changed if use == "change" else filled).extend(arrays)
            return [x._writable() if use == "change" else x._memory for x in arrays]

        with (
            tape.scope(False, is_training),
            self._context,
            self._definition.calling(method, node=node),
            timeline.custom(name),
        ):
            yield lent
        for array in changed:
            array._touch()
        for array in filled:
            array._filled()


def _requests(wanted: Sequence[bool]) -> list[str]:
    return ["write" if is_wanted else "null" for is_wanted in wanted]


def _place(error: Exception) -> str:
    """Where the user's code was when it raised, or called what raised."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _PACKAGE not in Path(f.filename).parents]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
