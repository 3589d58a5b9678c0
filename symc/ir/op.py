"""The operator: one class holds everything about it; other places may derive from it, never restate it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from symc.core.errors import DTypeError, ShapeError
from symc.core.lazy import lazy
from symc.core.params import Param, param, params_of, parse_params
from symc.core.shapes import Shape, is_empty, mx_text, unify

if TYPE_CHECKING:
    import numpy as np

    from symc.loopir.tensor import Lowering

    from .builder import GraphBuilder
    from .graph import Graph, Value

__all__ = ["Op", "Shapes", "declares_parameters", "DTypes", "lookup", "op", "operators", "param"]

Shapes = list["Shape | None"]
DTypes = list["str | None"]

OpClass = TypeVar("OpClass", bound="type[Op]")


def declares_parameters(cls: OpClass) -> OpClass:
    """Decorates a base class that declares parameters of its own; `op` does it for an operator.

    They are the fields of a dataclass; its methods are those of Op.  Generating them for each class would take half the
    time in which all operators are imported.
    """
    return dataclass(init=False, repr=False, eq=False)(cls)  # type: ignore[return-value]


def _defaults(cls: type[Op]) -> dict[str, Any]:
    """Every field of an operator class with its default, MISSING where it has none."""
    found = cls.__dict__.get("_fields")
    if found is None:
        found = cls._fields = {f.name: f.default for f in fields(cls)}
    return found


@dataclass(init=False, repr=False, eq=False)
class Op:
    """Base of every operator; an instance is the operator with its parameters, frozen and hashable.

    Class attributes say how it looks from outside; methods say what it means.  Lists of inputs hold the arguments
    first, then the auxiliary states.
    """

    name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    family: ClassVar[str] = ""  # the family file it lives in, e.g. "elementwise"
    arguments: ClassVar[tuple[str, ...]] = ("data",)
    aux: ClassVar[tuple[str, ...]] = ()  # states that training updates in place
    results: ClassVar[tuple[str, ...]] = ("output",)
    trained: ClassVar[frozenset[str]] = frozenset()  # arguments that hold parameters rather than data
    parameter_order: ClassVar[tuple[str, ...]] = ()  # MXNet's, where declaring them gives another order
    needs_elements: ClassVar[tuple[str, ...]] = ()  # inputs an output is picked from: empty only where it is empty
    variadic: ClassVar[str | None] = None  # the parameter that counts the inputs (MXNet's key_var_num_args)
    part: ClassVar[str] = "arg"  # what counted inputs are called, before their numbers

    # Traits that passes ask for.
    is_elementwise: ClassVar[bool] = False  # every output element depends on one element of each (broadcast) input
    is_view: ClassVar[bool] = False  # the output is the first input's memory under another shape
    is_assembly: ClassVar[bool] = False  # the output is put together from boxes copied from inputs
    is_random: ClassVar[bool] = False  # two equal nodes give different values
    calls_out: ClassVar[bool] = False  # runs Python code of the user, which may do anything: once for each node and run
    is_loss: ClassVar[bool] = False  # supplies its own gradient: needs no head gradient
    is_differentiable: ClassVar[bool] = True  # False: as in MXNet, binding for a gradient through it is refused
    is_rowwise: ClassVar[bool] = False  # row n of the output depends on row n of the first input, and on all others
    takes_bfloat16: ClassVar[bool] = False  # its data and weight, the first two inputs, may be bfloat16 beside float32
    is_differentiated_expanded: ClassVar[bool] = False  # its gradient is that of what it expands to
    converts_gradient: ClassVar[bool] = False  # the first input's gradient may be bound in any float dtype, as in MXNet
    is_left: ClassVar[bool] = False  # read on the way back alone, but computed on the way forward, beside its inputs
    is_internal: ClassVar[bool] = False  # made by passes; not offered to users
    n_bodies: ClassVar[int] = 0  # how many graphs a node of it holds
    undecidable: ClassVar[str] = ""  # why no shape can be inferred for the output: it depends on values

    _fields: ClassVar[dict[str, Any]]  # see _defaults

    def __init__(self, **given: Any) -> None:
        values = {**_defaults(type(self)), **given}
        wrong = [n for n, v in values.items() if v is MISSING or n not in self._fields]
        if wrong:
            what = ", ".join(f"{n} is {'missing' if n in self._fields else 'unknown'}" for n in wrong)
            raise TypeError(f"{type(self).__name__}: {what}")
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What a subclass checks of its parameters."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to {name} of an operator; dataclasses.replace makes another one")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete {name} of an operator")

    def _values(self) -> tuple[Any, ...]:
        held = self.__dict__
        return tuple([held[name] for name in self._fields])

    def __eq__(self, other: object) -> bool:
        return self.__class__ is other.__class__ and self._values() == other._values()

    @lazy
    def _hash(self) -> int:
        return hash(self._values())

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes it again of its parameters: there a hash, which is held, is another number."""
        return partial(type(self), **dict(zip(self._fields, self._values()))), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in zip(self._fields, self._values()))})"

    @property
    def scale_shift_axis(self) -> int | None:
        """The axis c when the operator is data * scale[c] + shift[c] (inputs in that order), else None."""
        return None

    @property
    def layer_stride(self) -> tuple[int, ...] | None:
        """The distance of the output's positions on the first input, of a layer that slides over it; else None."""
        return None

    @property
    def is_pointwise_layer(self) -> bool:
        """Whether such a layer reads the first input at those positions alone."""
        return False

    def with_layer_stride(self, stride: tuple[int, ...]) -> Op:
        """The same layer with another stride: every n-th output position of the layer with an n-th of the stride."""
        raise NotImplementedError(f"{self.name} is no sliding layer")

    @property
    def has_loss(self) -> bool:
        """Whether it has a gradient even where none flows into its results: a loss, or a body that holds one."""
        return self.is_loss

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs that a node of it holds; operators that have any declare a field of this name."""
        return ()

    def with_bodies(self, bodies: tuple[Graph, ...]) -> Op:
        """The same operator with other bodies."""
        return replace(self, bodies=bodies)  # type: ignore[call-arg]

    def under_np_shape(self) -> Op:
        """The same operator with shapes as `np_shape` has them: () is a number, 0 an extent.

        Operators whose parameters or inputs mean other shapes there declare a field `is_exact`.
        """
        return replace(self, is_exact=True) if "is_exact" in self._fields else self  # type: ignore[call-arg]

    # -- how it looks from outside -------------------------------------------------------------------------------

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        """An instance from parameters as MXNet strings or Python objects; raises ParameterError."""
        return cls(**parse_params(cls, given, cls.name))

    @classmethod
    def is_there(cls, given: Mapping[str, str]) -> bool:
        """Whether what a file's parameters name is there: of operators that users write, some are and some are not."""
        return True

    @classmethod
    def params(cls) -> dict[str, Param]:
        """The declared parameters by name."""
        return params_of(cls)

    def argument_names(self) -> tuple[str, ...]:
        """Names of the arguments this instance takes, in order; a missing one becomes a variable."""
        if self.variadic:
            return tuple(f"{self.part}{i}" for i in range(getattr(self, self.variadic)))
        return self.arguments

    @classmethod
    def counted(cls, n_inputs: int) -> int:
        """The value of the parameter that counts the inputs, for so many of them."""
        return n_inputs

    @classmethod
    def tensor_names(cls) -> tuple[str, ...]:
        """Everything that an instance may take, in the order of the operator's functions."""
        return cls.arguments + cls.aux

    def input_names(self) -> tuple[str, ...]:
        """Arguments, then auxiliary states."""
        return self.argument_names() + self.aux

    def result_names(self) -> tuple[str, ...]:
        """Names of all outputs, hidden ones last."""
        return self.results

    @lazy
    def n_produced(self) -> int:
        """How many outputs there are, hidden ones too; held, for a compilation asks some 80 times for each node."""
        return len(self.result_names())

    def n_visible(self) -> int:
        """How many outputs users see."""
        return len(self.result_names())

    def n_listed(self) -> int:
        """How many outputs there are for MXNet, hidden ones included."""
        return len(self.result_names())

    def initial_attrs(self, input_name: str) -> dict[str, str]:
        """Attributes MXNet gives to a variable created for one input (`__init__` of moving statistics)."""
        return {}

    def given_params(self) -> dict[str, Any]:
        """Parameters that differ from their defaults, for printing."""
        known = params_of(type(self))
        return {n: getattr(self, n) for n, p in known.items() if p.is_required or getattr(self, n) != p.default}

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.given_params().items())})"

    # -- what it means --------------------------------------------------------------------------------------------

    def checked_shapes(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        """`infer_shape`; raises ShapeError as well for an extent below 0, as parameters may ask for, and for an output
        with elements from an input without any it needs.
        """
        ins, outs = self.infer_shape(ins, outs)
        for shape in outs:
            if shape and any(n is not None and n < 0 for n in shape):
                raise ShapeError(f"a result would have shape {mx_text(shape)}: expected no extent below 0")
        for name, shape in zip(self.input_names() if self.needs_elements else (), ins):
            if name in self.needs_elements and is_empty(shape) and not any(map(is_empty, outs)):
                raise ShapeError(f"{name} of shape {mx_text(shape)} has no elements for a result of {mx_text(outs[0])}")
        return ins, outs

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        """Partial shapes refined in both directions; pure; raises ShapeError only on contradiction.

        The default: every input and output has the same shape.
        """
        shape: Shape | None = None
        for s in (*ins, *outs):
            shape = unify(shape, s)
        return [shape] * len(ins), [shape] * len(outs)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        """Partial dtypes refined in both directions; the default: one dtype for all inputs and outputs."""
        dtype = same_dtype((*ins, *outs))
        return [dtype] * len(ins), [dtype] * len(outs)

    def lower(self, t: Lowering) -> None:
        """Defines each output: index -> scalar expression, or a contraction (see loopir.tensor.Lowering)."""
        raise NotImplementedError(f"{self.name} has no lowering")

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """The same outputs from simpler operators, or None when the operator lowers directly."""
        return None

    def simplify(self, g: GraphBuilder, x: Sequence[Value]) -> Sequence[Value] | None:
        """Equal outputs for less work (x * 1 -> x), or None; must keep shapes and dtypes."""
        return None

    def absorb_scale_shift(
        self, g: GraphBuilder, x: Sequence[Value], scale: Value, shift: Value, axis: int
    ) -> Sequence[Value] | None:
        """This operator followed by `* scale[c] + shift[c]` along `axis`, folded into its parameters; None = cannot."""
        return None

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Gradients of the arguments from inputs, outputs and head gradients; None = no path.

        A head gradient is None where nothing flows into that output.
        """
        return [None] * len(x)

    @property
    def passes_gradient(self) -> bool:
        """Whether what flows into its results may reach an input: not through floor, argmax or BlockGrad."""
        states_none = type(self).gradient is Op.gradient and not self.is_differentiated_expanded
        return not states_none or any(self.refuses_gradient(name, "write") for name in self.input_names())

    def kept(self, x: Sequence[np.ndarray]) -> np.ndarray:
        """Of an undecidable operator: which slices along axis 0 of the first input it keeps, given the inputs."""
        raise NotImplementedError(f"{self.name} does not tell what it keeps")

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        """What MXNet looks for in the values of the inputs before it computes: texts of errors, each with a number of
        elements, (1,), that must be 0.
        """
        return []

    def refuses_gradient(self, argument: str, req: str) -> bool:
        """Whether an error is raised when the gradient of an argument is asked for, by "write" or "add".

        The default: where MXNet has none; and where an internal operator (the gradient of another) states none.
        """
        return not self.is_differentiable or (self.is_internal and type(self).gradient is Op.gradient)

    def update_aux(self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value]) -> dict[str, Value]:
        """New values of auxiliary states, or of other inputs (by name), after a training step."""
        return {}

    def updated_by_every_run(self) -> dict[str, int]:
        """The states (by name) that every run overwrites with one of the results: an optimizer's momentum."""
        return {}


def same_dtype(dtypes: Sequence[str | None]) -> str | None:
    """The one known dtype among several; raises DTypeError when two differ."""
    known = {d for d in dtypes if d is not None}
    if len(known) > 1:
        raise DTypeError(f"expected one dtype, got {', '.join(sorted(known))}")
    return known.pop() if known else None


_registry: dict[str, type[Op]] = {}
_homes: dict[str, ModuleType | None] = {}  # the module that registered each name
_canonical: dict[str, type[Op]] = {}


def op(name: str, aliases: tuple[str, ...] = ()) -> Callable[[OpClass], OpClass]:
    """Registers an operator class under its canonical MXNet name and its aliases."""

    def register(cls: OpClass) -> OpClass:
        if any("param" in getattr(v, "metadata", ()) for v in vars(cls).values()):
            cls = declares_parameters(cls)
        cls.name, cls.aliases = name, aliases
        cls.family = cls.__module__.rsplit(".", 1)[-1]
        cls.__doc__ = inspect.cleandoc(cls.__doc__ or "")
        for key in (name, *aliases):
            # An import that Ctrl-C ended is thrown away, and with it what it registered.
            if key in _registry and _homes[key] is sys.modules.get(_registry[key].__module__):
                raise ValueError(f"operator {key} is registered twice: {_registry[key]} and {cls}")
            _registry[key], _homes[key] = cls, sys.modules.get(cls.__module__)
        _canonical[name] = cls
        return cls

    return register


def lookup(name: str) -> type[Op] | None:
    """The operator class of a canonical name or alias; None when symc does not have it."""
    return _registry.get(name)


def operators(internal: bool = False) -> Iterator[type[Op]]:
    """Every operator class by canonical name."""
    return (cls for _, cls in sorted(_canonical.items()) if internal or not cls.is_internal)


def registered_names() -> dict[str, type[Op]]:
    """Every name and alias with its class."""
    return dict(_registry)


def check_rank(shape: Shape | None, low: int, high: int | None, what: str) -> None:
    """Raises ShapeError when a known shape's rank lies outside low..high."""
    if shape is not None and not (low <= len(shape) and (high is None or len(shape) <= high)):
        span = f"{low}" if high == low else f"{low} to {high}" if high is not None else f"at least {low}"
        raise ShapeError(f"{what} must have {span} dimensions, got {len(shape)}: {shape}")
