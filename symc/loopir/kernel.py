"""What a kernel is: buffers in memory, and what is stored into them.

A `Nest` is a list of stores over loop axes; a `Contraction` is a sum of products over sliding windows whose result is
stored the same way; a `Template` is irregular work, such as sorting.  None says in which order, with which vectors or
threads it runs: that is the schedule's job, and a contraction only carries along what a device decided (`Plan`).

>>> x = Buffer.dense("x", (2, 3), "float32"); y = Buffer.dense("y", (3, 2), "float32")
>>> i, j = Axis("i", 3), Axis("j", 2)
>>> print(Nest((x, y), (Store("y", (i, j), load("x", (j, i), "float32"), (i, j)),)).text())
nest
  x: float32[2, 3] strides (3, 1)
  y: float32[3, 2] strides (2, 1)
  for i<3, j<2: y[i, j] = x[j, i]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import GraphError, ShapeError
from symc.core.shapes import FullShape, row_major_strides, size_of

from .expr import Affine, Axis, Expr, free_axes, load, walk
from .routine import Routine

ContractionKind = Literal["forward", "data_gradient", "weight_gradient"]
SEED = "@seed"  # an int64[1] the runtime changes before every run: the key of random numbers
ACCUMULATOR = "@acc"  # the buffer name under which a contraction's stores read the finished sum


@dataclass(frozen=True)
class Buffer:
    """A strided view of memory: `strides` and `offset` in elements."""

    name: str
    shape: FullShape
    dtype: str
    strides: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def dense(name: str, shape: FullShape, dtype: str) -> Buffer:
        """A row-major buffer that owns its memory."""
        return Buffer(name, shape, dtype, row_major_strides(shape))

    @property
    def size_bytes(self) -> int:
        return size_of(self.shape) * ITEM_SIZE[self.dtype]

    def __str__(self) -> str:
        at = f" at {self.offset}" if self.offset else ""
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}] strides {self.strides}{at}"


@dataclass(frozen=True)
class Store:
    """for axes: buffer[index] = value   (or += value, in the order of the axes, when mode is "add")."""

    buffer: str
    index: tuple[Affine | Expr, ...]
    value: Expr
    axes: tuple[Axis, ...]
    mode: Literal["set", "add"] = "set"

    def __post_init__(self) -> None:
        parts = tuple(i if isinstance(i, Expr) else Affine.of(i) for i in self.index)
        object.__setattr__(self, "index", parts)

    def __str__(self) -> str:
        sign = "=" if self.mode == "set" else "+="
        ranges = ", ".join(f"{a.name}<{a.extent}" for a in self.axes)
        head = f"for {ranges}: " if ranges else ""
        return f"{head}{self.buffer}[{', '.join(map(str, self.index))}] {sign} {self.value}"

    def is_at(self, index: tuple[Affine | Expr, ...]) -> bool:
        """Whether an index is the one it stores at, where an axis of extent 1 counts as the constant 0."""
        single = {axis for axis in self.axes if axis.extent == 1}

        def plain(i: Affine | Expr) -> Affine | Expr:
            return i if isinstance(i, Expr) else Affine(tuple(t for t in i.terms if t[0] not in single), i.constant)

        return all(plain(a) == plain(b) for a, b in zip(index, self.index))


@dataclass(frozen=True)
class Nest:
    """Loop nests run one after the other; stores over equal axes may share their loops.

    distance_bytes  how much is written between the results and who reads them, where that is known: 0 where it is not
    """

    buffers: tuple[Buffer, ...]
    stores: tuple[Store, ...]
    distance_bytes: int = 0
    operands: ClassVar[tuple[str, ...]] = ()  # buffers read as a whole, besides what the stores load
    written: ClassVar[tuple[str, ...]] = ()  # buffers filled as a whole, besides what the stores write
    work_flops: ClassVar[int] = 0  # arithmetic besides that of the stores

    def text(self) -> str:
        """The printed form, one line a buffer and one a store."""
        return "\n".join(["nest", *(f"  {b}" for b in self.buffers), *(f"  {s}" for s in self.stores)])


@dataclass(frozen=True)
class Window:
    """Sliding windows over the spatial axes: input position = output position * stride + tap * dilate - pad."""

    in_extents: tuple[int, ...]
    out_extents: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilate: tuple[int, ...]
    pad: tuple[int, ...]

    @staticmethod
    def none() -> Window:
        """No spatial axes: a plain matrix product."""
        return Window((), (), (), (), (), ())

    @property
    def n_taps(self) -> int:
        return size_of(self.kernel)

    @property
    def n_seen(self) -> int:
        """How many pairs of an output position and a tap lie in the data, not in the padding."""
        axes = zip(self.in_extents, self.out_extents, self.kernel, self.stride, self.dilate, self.pad)
        return math.prod(_seen(*axis) for axis in axes)


def _seen(n_in: int, n_out: int, n_taps: int, stride: int, dilate: int, pad: int) -> int:
    """The pairs along one axis: of each tap, how many positions from the first that sees data to the last."""
    starts = (pad - tap * dilate for tap in range(n_taps))
    spans = (min(n_out - 1, (start + n_in - 1) // stride) - max(0, -(-start // stride)) + 1 for start in starts)
    return sum(max(0, span) for span in spans)


class Packing(Protocol):
    """An arrangement of a contraction's right operand; hashable, and equal ones can be shared.

    shape    of the arranged operand, which is dense
    routine  what is left to do, in place, after `nest`
    """

    @property
    def shape(self) -> FullShape: ...

    @property
    def routine(self) -> Routine | None: ...

    def nest(self, source: Buffer, packed: Buffer) -> Nest:
        """Fills `packed` from the logical operand `source`, whatever its strides."""

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """The logical operand inside an arranged one: undoes `nest` and `routine`."""


class Plan(Protocol):
    """How a device computes a contraction, as far as others must know.

    packing  how the right operand lies; None: as its buffer says
    is_in_place  whether it does already, so that nothing is to be copied
    scratch  the shape of memory in the dtype of the left operand that the kernel needs while it runs, or ()
    work_flops  multiplications and additions where they are not those of the definition, else None
    """

    @property
    def packing(self) -> Packing | None: ...

    @property
    def is_in_place(self) -> bool: ...

    @property
    def scratch(self) -> FullShape: ...

    @property
    def work_flops(self) -> int | None: ...


@dataclass(frozen=True)
class Contraction:
    """A sum of products over windows; the geometry of an (often trivial) convolution.

    With data x (N, C, *in), weight w (O, C / groups, *kernel) and result y (N, O, *out), `kind` says which of the
    three is computed from the other two:

    forward          y[n, o, q] = sum over c, tap of  x[n, c, q * stride + tap * dilate - pad] * w[o, c, tap]
    data_gradient    x[n, c, p] = sum over o, tap of  y[n, o, q] * w[o, c, tap]    (p = q * stride + tap * dilate - pad)
    weight_gradient  w[o, c, tap] = sum over n, q of  x[n, c, p] * y[n, o, q]

    `lhs` and `rhs` name the two operands (forward: x, w; data_gradient: y, w; weight_gradient: x, y).  `stores` run
    over the axes of the computed tensor in the order written above and read the sum as `@acc[]`.  A device's `plan` may
    give `rhs` a packing, and ask for scratch memory, which `written` names.
    With a `stack`, all three tensors have one more axis in front, of that extent: so many independent contractions.
    `distance_bytes` is that of a `Nest`.
    With several `sections`, channels of the result fall into so many of equal length.  Stores then run over the
    channels of one section, and read the sums of all: of the same channel of section k as `@acc[k]`.
    `read_sections`: into how many equal ones its channels fall for whoever reads the result, the same channel of each
    at a time.
    """

    kind: ContractionKind
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    window: Window
    lhs: str
    rhs: str
    buffers: tuple[Buffer, ...]
    stores: tuple[Store, ...]
    plan: Plan | None = None
    written: tuple[str, ...] = ()
    stack: int | None = None
    distance_bytes: int = 0
    sections: int = 1
    read_sections: int = 1

    @property
    def operands(self) -> tuple[str, ...]:
        """The two factors."""
        return (self.lhs, self.rhs)

    @property
    def packing(self) -> Packing | None:
        """How `rhs` lies; None: as its buffer says."""
        return None if self.plan is None else self.plan.packing

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is convolved alone (one channel of one group is a matrix product)."""
        return self.stack is None and 1 < self.groups == self.in_channels == self.out_channels

    @property
    def work_flops(self) -> int:
        """Multiplications and additions of its plan or else of the definition, without those of padding."""
        if self.plan is not None and self.plan.work_flops is not None:
            return self.plan.work_flops
        n_stacked = 1 if self.stack is None else self.stack
        return 2 * n_stacked * self.batch * self.out_channels * (self.in_channels // self.groups) * self.window.n_seen

    @property
    def problem(self) -> str:
        """Its extents, in words."""
        w = self.window
        stack = "" if self.stack is None else f" stack={self.stack}"
        sections = "" if self.sections == 1 else f" sections={self.sections}"
        return (
            f"{self.kind}{stack}{sections} batch={self.batch} channels={self.in_channels}->{self.out_channels} "
            f"groups={self.groups} in={w.in_extents} out={w.out_extents} kernel={w.kernel} stride={w.stride} "
            f"dilate={w.dilate} pad={w.pad}"
        )

    def text(self) -> str:
        """The printed form."""
        head = f"contraction {self.problem} lhs={self.lhs} rhs={self.rhs}{' packed' if self.packing else ''}"
        return "\n".join([head, *(f"  {b}" for b in self.buffers), *(f"  {s}" for s in self.stores)])


@dataclass(frozen=True)
class Template:
    """A routine on dense buffers: reads `ins` as a whole, fills `outs`, and may leave anything in `scratch`."""

    routine: Routine
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    scratch: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    stores: ClassVar[tuple[Store, ...]] = ()

    @property
    def operands(self) -> tuple[str, ...]:
        """The buffers it reads."""
        return self.ins

    @property
    def written(self) -> tuple[str, ...]:
        """The buffers whose content it replaces."""
        return self.outs + self.scratch

    @property
    def n_parts(self) -> int:
        """Into how many independent parts the work is cut."""
        return self.routine.n_parts(self._in_shapes)

    @property
    def work_flops(self) -> int:
        return self.routine.work_flops(self._in_shapes)

    @property
    def _in_shapes(self) -> list[FullShape]:
        return [buffer_of(self, name).shape for name in self.ins]

    def text(self) -> str:
        """The printed form: the routine with its parameters, then one line a buffer."""
        using = f" using {', '.join(self.scratch)}" if self.scratch else ""
        head = f"template {self.routine}: {', '.join(self.ins)} -> {', '.join(self.outs)}{using}"
        return "\n".join([head, *(f"  {b}" for b in self.buffers)])


LoopKernel = Nest | Contraction | Template


def accumulator(dtype: str, section: int | None = None) -> Expr:
    """The finished sum, as the stores of a contraction read it: of one of several sections where there are some."""
    return load(ACCUMULATOR, () if section is None else (section,), dtype)


def section_of(total: Expr) -> int:
    """The section whose finished sum an expression reads."""
    (index,) = total.data[1] or (Affine(),)
    return int(index.constant)


def buffer_of(kernel: LoopKernel, name: str) -> Buffer:
    """The buffer of that name."""
    return next(b for b in kernel.buffers if b.name == name)


def loads_of(expr: Expr) -> list[Expr]:
    """Every distinct load inside an expression, in evaluation order."""
    return [e for e in walk(expr) if e.op == "load"]


def verify(kernel: LoopKernel) -> None:
    """Raises GraphError when a kernel names an unknown buffer, leaves an axis unbound, or can step outside a buffer.

    ShapeError when it would read or write at computed positions of a buffer that has none.
    """
    declared = {b.name: b for b in kernel.buffers}
    if len(declared) != len(kernel.buffers):
        raise GraphError(f"a buffer is declared twice\n{kernel.text()}")
    for name in (*kernel.operands, *kernel.written):
        if name not in declared:
            raise GraphError(f"unknown buffer {name!r} in: {kernel.text()}")
    if isinstance(kernel, Template):
        _check_template(kernel)
    if isinstance(kernel, Contraction):
        _check_plan(kernel)
    for store in kernel.stores:
        unbound = free_axes(store.value) - set(store.axes)
        if unbound:
            raise GraphError(f"axes {sorted(a.name for a in unbound)} are not bound by a loop in: {store}")
        if store.buffer not in declared:
            raise GraphError(f"unknown buffer {store.buffer!r} in: {store}")
        does_run = all(a.extent for a in store.axes)
        if does_run:
            _check_range(declared[store.buffer], store.index, store)
        for read in loads_of(store.value):
            name, index = read.data
            if name == ACCUMULATOR and isinstance(kernel, Contraction):
                if section_of(read) >= kernel.sections:
                    raise GraphError(f"there are {kernel.sections} sections of sums in: {store}")
                continue
            if name not in declared:
                raise GraphError(f"unknown buffer {name!r} in: {store}")
            if does_run and all(a.extent for a in free_axes(read)):
                _check_range(declared[name], index, store)


def _check_template(template: Template) -> None:
    """Every buffer dense, and no operand overwritten."""
    for b in template.buffers:
        if not _is_dense(b):
            raise GraphError(f"buffer {b.name!r} must be dense in: {template.text()}")
    if set(template.operands) & set(template.written):
        raise GraphError(f"an operand is overwritten in: {template.text()}")


def _check_plan(c: Contraction) -> None:
    """A packed operand and scratch memory as the plan wants them."""
    if c.plan is None:
        return
    wanted = dict.fromkeys(c.written, c.plan.scratch)
    if c.plan.packing is not None:
        wanted[c.rhs] = c.plan.packing.shape
    for name, shape in wanted.items():
        buffer = buffer_of(c, name)
        if buffer.shape != shape or not _is_dense(buffer):
            raise GraphError(f"{buffer}; its plan wants it dense, of shape {shape}, in: {c.text()}")
    if bool(c.written) != bool(c.plan.scratch):
        raise GraphError(f"scratch {c.written}; its plan wants shape {c.plan.scratch} in: {c.text()}")


def _is_dense(b: Buffer) -> bool:
    return not b.offset and all(n == 1 or s == d for n, s, d in zip(b.shape, b.strides, row_major_strides(b.shape)))


def _check_range(buffer: Buffer, index: tuple[Affine | Expr, ...], where: Store) -> None:
    """Affine components must stay inside the buffer; computed ones are the operator's promise (it clamps them)."""
    if len(index) != len(buffer.shape):
        raise GraphError(f"{buffer.name} has {len(buffer.shape)} axes, indexed with {len(index)} in: {where}")
    for component, extent in zip(index, buffer.shape):
        if extent == 0:
            raise ShapeError(f"there is no position in an axis of extent 0: {buffer.name} has shape {buffer.shape}")
        if isinstance(component, Expr):
            continue
        reach = [(a.extent - 1) * c for a, c in component.terms]
        low = component.constant + sum(r for r in reach if r < 0)
        high = component.constant + sum(r for r in reach if r > 0)
        if low < 0 or high >= extent:
            raise GraphError(f"{buffer.name}: index {component} spans {low}..{high} of extent {extent} in: {where}")
