"""Kernels by other names: equal ones become the same expressions, whatever their axes and buffers were called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .expr import INDEX_DTYPE, Affine, Axis, Expr, free_axes, operands_of, param, walk
from .kernel import Contraction, LoopKernel, Nest, Store, Template

# What gains nothing from knowing an integer operand beforehand; a division does.
_COUNTING = frozenset("add sub mul minimum maximum lt le gt ge eq ne select".split())


def nameless(kernel: LoopKernel) -> LoopKernel:
    """The kernel with axes and buffers named by position, so that one schedule serves all that become equal by that.

    Buffers whose names mean something ("@seed") keep them.
    """
    names = {b.name: b.name if b.name.startswith("@") else f"b{k}" for k, b in enumerate(kernel.buffers)}
    buffers = tuple([replace(b, name=names[b.name]) for b in kernel.buffers])
    if isinstance(kernel, Template):
        ins, outs, scratch = (tuple(map(names.__getitem__, part)) for part in (kernel.ins, kernel.outs, kernel.scratch))
        return replace(kernel, ins=ins, outs=outs, scratch=scratch, buffers=buffers)
    stores = tuple(renamed(kernel.stores, names))
    if isinstance(kernel, Nest):
        return replace(kernel, buffers=buffers, stores=stores)
    assert isinstance(kernel, Contraction)
    written = tuple(map(names.__getitem__, kernel.written))
    lhs, rhs = names[kernel.lhs], names[kernel.rhs]
    return replace(kernel, lhs=lhs, rhs=rhs, buffers=buffers, stores=stores, written=written)


def renamed(stores: Sequence[Store], buffers: Mapping[str, str] | None = None) -> list[Store]:
    """Stores with axes named i<position>, those of a reduction r<height>_<position>_<extent>, and other buffers."""
    axes: dict[Axis, Axis] = {}
    for store in stores:
        for axis in store.axes:
            axes.setdefault(axis, Axis(f"i{len(axes)}", axis.extent))
    rename = _Renamer(buffers or {})
    return [
        Store(
            rename.buffer(s.buffer),
            tuple(rename.component(i, axes) for i in s.index),
            rename.expr(s.value, axes),
            tuple(axes[a] for a in s.axes),
            s.mode,
        )
        for s in stores
    ]


def with_axes(expr: Expr, names: Mapping[Axis, Axis]) -> Expr:
    """An expression with all its free axes named anew, those of reductions as in `renamed`."""
    return _Renamer({}).expr(expr, names)


class _Renamer:
    """Renames buffers and loop axes.

    The height of a reduction (how many are nested inside) keeps an inner axis from capturing an outer one.
    """

    def __init__(self, buffers: Mapping[str, str]) -> None:
        self.buffers = buffers
        self.done: dict[tuple, dict[Expr, Expr]] = {}
        self.heights: dict[Expr, int] = {}

    def buffer(self, name: str) -> str:
        return self.buffers.get(name, name)

    def component(self, index: Affine | Expr, names: Mapping[Axis, Axis]) -> Affine | Expr:
        if isinstance(index, Expr):
            return self.expr(index, names)
        return Affine(tuple(sorted([(names[a], c) for a, c in index.terms], key=lambda t: t[0].name)), index.constant)

    def expr(self, root: Expr, names: Mapping[Axis, Axis]) -> Expr:
        # A body that does not depend on the reductions around it is renamed once for all of them.
        free = free_axes(root)
        names = {axis: name for axis, name in names.items() if axis in free}
        done = self.done.setdefault(tuple(names.items()), {})
        # Operands first, so that long chains do not recurse; bodies of reductions have other names.
        for e in _outside_reductions(root):
            if e not in done:
                done[e] = self._rebuild(e, names, done)
        return done[root]

    def _rebuild(self, e: Expr, names: Mapping[Axis, Axis], done: Mapping[Expr, Expr]) -> Expr:
        if e.op == "load":
            buffer, index = e.data
            return Expr("load", (), (self.buffer(buffer), tuple([self.component(i, names) for i in index])), e.dtype)
        if e.op == "index":
            return Expr("index", (), self.component(e.data, names), e.dtype)
        if e.op == "reduce":
            combiner, axes = e.data
            height = self._height(e)
            inner = {**names, **{a: Axis(f"r{height}_{k}_{a.extent}", a.extent) for k, a in enumerate(axes)}}
            bounds = (
                Expr("bound", tuple(_word(self.expr(a, names)) for a in b.args), inner[b.data], b.dtype)
                for b in e.args[1:]
            )
            body = self.expr(e.args[0], inner)
            return Expr("reduce", (body, *bounds), (combiner, tuple(inner[a] for a in axes)), e.dtype)
        if not e.args:
            return e
        args = tuple([done[a] for a in e.args])
        return Expr(e.op, tuple(map(_word, args)) if e.op in _COUNTING else args, e.data, e.dtype)

    def _height(self, root: Expr) -> int:
        if root not in self.heights:
            for e in walk(root, below=lambda e: [a for a in operands_of(e) if a not in self.heights]):
                inside = max((self.heights[a] for a in operands_of(e)), default=0)
                self.heights[e] = inside + (e.op == "reduce")
        return self.heights[root]


def _word(e: Expr) -> Expr:
    """A count or position of one call as a number read at run time, so that the next extent needs no other kernel."""
    return param(e.data, e.dtype) if e.op == "const" and e.dtype == INDEX_DTYPE and abs(e.data) > 1 else e


def _outside_reductions(root: Expr) -> list[Expr]:
    """Sub-expressions, operands first, without the bodies of reductions."""

    def below(e: Expr) -> tuple[Expr, ...]:
        return operands_of(e) if e.op != "reduce" else tuple(a for b in e.args[1:] for a in b.args)

    return list(walk(root, below=below))
