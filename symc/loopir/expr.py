"""What one element of a tensor is: index arithmetic and scalar expressions, both immutable.

Expressions are interned: structurally equal expressions are the same object, so a shared sub-expression is computed
once by every walker that memoises on identity.

>>> i = Axis("i", 4)
>>> str(load("x", (i * 2 + 1,), "float32") + 1.0)
'add(x[2*i + 1], 1.0)'
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from symc.core.errors import DTypeError

from .prims import COMBINERS, PRIMS

INDEX_DTYPE = "int64"
_NO_AXES: frozenset[Axis] = frozenset()


@dataclass(frozen=True)
class Affine:
    """sum(coefficient * axis) + constant, in elements; terms are sorted by axis name and have no zero coefficient."""

    terms: tuple[tuple[Axis, int], ...] = ()
    constant: int = 0

    @staticmethod
    def of(value: IndexLike) -> Affine:
        """An Affine from an axis, an integer or an Affine."""
        if isinstance(value, Affine):
            return value
        if isinstance(value, Axis):
            return Affine(((value, 1),))
        return Affine((), int(value))

    def __add__(self, other: IndexLike) -> Affine:
        other = Affine.of(other)
        sums = dict(self.terms)
        for axis, coefficient in other.terms:
            sums[axis] = sums.get(axis, 0) + coefficient
        terms = sorted(((a, c) for a, c in sums.items() if c), key=lambda t: t[0].name)
        return Affine(tuple(terms), self.constant + other.constant)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine()
        return Affine(tuple((a, c * factor) for a, c in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: IndexLike) -> Affine:
        return self + Affine.of(other) * -1

    def __rsub__(self, other: IndexLike) -> Affine:
        return Affine.of(other) - self

    def coefficient(self, axis: Axis) -> int:
        """The factor of one axis; 0 when it does not occur."""
        return dict(self.terms).get(axis, 0)

    def axes(self) -> Iterator[Axis]:
        return (axis for axis, _ in self.terms)

    def __str__(self) -> str:
        parts = [axis.name if c == 1 else f"{c}*{axis.name}" for axis, c in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts)


@dataclass(frozen=True)
class Axis:
    """A loop variable running over range(extent)."""

    name: str
    extent: int

    def __add__(self, other: IndexLike) -> Affine:
        return Affine.of(self) + other

    __radd__ = __add__

    def __sub__(self, other: IndexLike) -> Affine:
        return Affine.of(self) - other

    def __rsub__(self, other: IndexLike) -> Affine:
        return Affine.of(other) - Affine.of(self)

    def __mul__(self, factor: int) -> Affine:
        return Affine.of(self) * factor

    __rmul__ = __mul__

    def __neg__(self) -> Affine:
        return Affine.of(self) * -1

    def __str__(self) -> str:
        return self.name


class Expr:
    """One scalar value: `op` names a primitive, or is one of

    const   `data` is the number, printed into the kernel
    param   `data` is the number, read by the kernel at run time, so that kernels differing in it are the same
    load    `data` is (buffer, index); an index component is an Affine or an integer Expr
    index   `data` is the Affine whose value it is
    cast    `args[0]` converted to `dtype`
    reduce  `data` is (combiner, axes); `args[0]` is combined over the axes
    """

    __slots__ = ("__weakref__", "_free", "args", "data", "dtype", "op")

    op: str
    args: tuple[Expr, ...]
    data: Any
    dtype: str
    _free: frozenset[Axis] | None  # once `free_axes` was asked

    def __new__(cls, op: str, args: tuple[Expr, ...], data: Any, dtype: str) -> Expr:
        key = (op, tuple(id(a) for a in args), type(data), repr(data) if isinstance(data, float) else data, dtype)
        found = _interned.get(key)
        if found is None:
            found = super().__new__(cls)
            found.op, found.args, found.data, found.dtype = op, args, data, dtype
            found._free = None
            _interned[key] = found
        return found

    def __reduce__(self) -> tuple[type[Expr], tuple[Any, ...]]:
        return Expr, (self.op, self.args, self.data, self.dtype)  # interned where it is read, too

    def __add__(self, other: ExprLike) -> Expr:
        return prim("add", self, other)

    def __radd__(self, other: ExprLike) -> Expr:
        return prim("add", other, self)

    def __sub__(self, other: ExprLike) -> Expr:
        return prim("sub", self, other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return prim("sub", other, self)

    def __mul__(self, other: ExprLike) -> Expr:
        return prim("mul", self, other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return prim("mul", other, self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return prim("div", self, other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return prim("div", other, self)

    def __neg__(self) -> Expr:
        return prim("neg", self)

    def __gt__(self, other: ExprLike) -> Expr:
        return prim("gt", self, other)

    def __ge__(self, other: ExprLike) -> Expr:
        return prim("ge", self, other)

    def __lt__(self, other: ExprLike) -> Expr:
        return prim("lt", self, other)

    def __le__(self, other: ExprLike) -> Expr:
        return prim("le", self, other)

    def __bool__(self) -> bool:
        raise TypeError("an Expr has no truth value: use prim('select', ...)")

    def __str__(self) -> str:
        """The expression; what occurs more than once is named first: {t0 = exp(x[i]); div(t0, add(t0, 1.0))}."""
        order = list(walk(self))
        n_uses: dict[Expr, int] = {}
        for e in order:
            for operand in operands_of(e):
                n_uses[operand] = n_uses.get(operand, 0) + 1
        texts: dict[Expr, str] = {}
        named: list[str] = []
        for e in order:
            texts[e] = e._text(texts)
            if n_uses.get(e, 0) > 1 and e.args:
                named.append(f"t{len(named)} = {texts[e]}")
                texts[e] = f"t{len(named) - 1}"
        return f"{{{'; '.join([*named, texts[self]])}}}" if named else texts[self]

    def _text(self, texts: dict[Expr, str]) -> str:
        """This node over the texts of its operands."""
        if self.op == "const":
            return repr(self.data)
        if self.op == "param":
            return f"${self.data!r}"
        if self.op == "load":
            buffer, index = self.data
            return f"{buffer}[{', '.join(texts[i] if isinstance(i, Expr) else str(i) for i in index)}]"
        if self.op == "index":
            return f"({self.data})"
        if self.op == "cast":
            return f"{self.dtype}({texts[self.args[0]]})"
        if self.op == "reduce":
            combiner, axes = self.data
            ranges = ", ".join(f"{a.name}<{a.extent}" for a in axes)
            return f"{combiner}[{ranges}]({texts[self.args[0]]})"
        return f"{self.op}({', '.join(texts[a] for a in self.args)})"

    __repr__ = __str__


_interned: WeakValueDictionary[tuple, Expr] = WeakValueDictionary()

IndexLike = Affine | Axis | int
ExprLike = Expr | float | int


def const(value: float | int | bool, dtype: str) -> Expr:
    """A number that is part of the formula (0, 1, 2): it is printed into the kernel."""
    number: Any = float(value) if dtype.startswith("float") else bool(value) if dtype == "bool" else int(value)
    return Expr("const", (), number, dtype)


def param(value: float | int, dtype: str) -> Expr:
    """A number that belongs to one node (eps, a scalar operand, 1/n): the kernel reads it at run time."""
    return Expr("param", (), float(value) if dtype.startswith("float") else int(value), dtype)


def load(buffer: str, index: tuple[IndexLike | Expr, ...], dtype: str) -> Expr:
    """One element of a buffer; `dtype` is the type arithmetic sees (16-bit floats are widened by the load)."""
    parts = tuple(i if isinstance(i, Expr) else Affine.of(i) for i in index)
    return Expr("load", (), (buffer, parts), dtype)


def index_value(index: IndexLike | Expr) -> Expr:
    """The value of an index as an int64; one that is computed has it already."""
    return index if isinstance(index, Expr) else Expr("index", (), Affine.of(index), INDEX_DTYPE)


def cast(x: Expr, dtype: str) -> Expr:
    """`x` converted to `dtype` as C does: floats truncate toward zero, integers wrap modulo 2**bits."""
    return x if x.dtype == dtype else Expr("cast", (x,), None, dtype)


def rounded(x: Expr, is_half: Callable[[str], bool] = lambda buffer: False) -> Expr:
    """A float32 as float16 holds it; `x` itself where it is such a number anyway.

    is_half   whether a buffer holds float16
    """
    return x if _is_rounded(x, is_half) else cast(cast(x, "float16"), "float32")


# Of float16 numbers these give float16 numbers.
_CHOOSING = frozenset("maximum minimum neg abs sign floor ceil trunc round rint select".split())


def _is_rounded(root: Expr, is_half: Callable[[str], bool]) -> bool:
    waiting = [root]
    while waiting:
        e = waiting.pop()
        if e.op in _CHOOSING or (e.op == "reduce" and e.data[0] in ("max", "min")):
            waiting += e.args[1:] if e.op == "select" else e.args
        elif not (
            (e.op == "cast" and e.args[0].dtype in ("float16", "bool"))
            or (e.op == "const" and e.data in (0.0, 0.5, 1.0, 2.0))
            or (e.op == "load" and is_half(e.data[0]))
        ):
            return False
    return True


def unrounded(x: Expr) -> Expr:
    """What `rounded` rounds: a store into float16 does it anyway, and a limit rounds to that of what is rounded."""
    if x.op in ("maximum", "minimum"):
        return Expr(x.op, tuple(map(unrounded, x.args)), x.data, x.dtype)
    is_rounding = x.op == "cast" and x.args[0].op == "cast" and x.args[0].dtype == "float16"
    return x.args[0].args[0] if is_rounding and x.args[0].args[0].dtype == "float32" else x


def reduce(combiner: str, axes: tuple[Axis, ...], body: Expr) -> Expr:
    """`body` combined ("sum", "prod", "max", "min") over all values of `axes`."""
    if combiner not in COMBINERS:
        raise ValueError(f"unknown combiner {combiner!r}")
    return Expr("reduce", (body,), (combiner, axes), body.dtype)


def prim(name: str, *operands: ExprLike) -> Expr:
    """A primitive applied to expressions; Python numbers take the dtype of the other operands.

    Raises DTypeError when operand types differ: symc never converts silently.
    """
    spec = PRIMS[name]
    if len(operands) != spec.arity:
        raise TypeError(f"{name} takes {spec.arity} operands, got {len(operands)}")
    value_operands = operands[1:] if spec.result == "choice" else operands
    dtypes = {o.dtype for o in value_operands if isinstance(o, Expr)}
    if len(dtypes) != 1:
        raise DTypeError(f"{name}: operand types {sorted(dtypes)} differ")
    (dtype,) = dtypes
    args = tuple(o if isinstance(o, Expr) else const(o, dtype) for o in operands)
    return Expr(name, args, None, spec.result if spec.result in ("bool", "float32") else dtype)


def select(condition: Expr, then: ExprLike, otherwise: ExprLike) -> Expr:
    """`then` where the condition holds, else `otherwise`."""
    return prim("select", condition, then, otherwise)


def clamped(x: Expr, low: float, high: float) -> Expr:
    """A float between two numbers; NaN becomes the lower one."""
    above = select(prim("gt", x, low), x, low)
    return select(prim("lt", above, high), above, high)


def bounds_of(x: Expr) -> tuple[float, float] | None:
    """The numbers that `x` is clamped between, if it is."""
    if not _is_choice(x, "lt") or not _is_choice(x.args[1], "gt"):
        return None
    return x.args[1].args[2].data, x.args[2].data


def _is_choice(x: Expr, comparison: str) -> bool:
    """Whether `x` is y where y compares with a constant so, else the constant."""
    return x.op == "select" and x.args[2].op == "const" and x.args[0] == Expr(comparison, x.args[1:], None, "bool")


def operands_of(expr: Expr) -> tuple[Expr, ...]:
    """The expressions an expression reads: its arguments, and for a load its computed index components."""
    return expr.args if expr.op != "load" else tuple([i for i in expr.data[1] if isinstance(i, Expr)])


def walk(
    *roots: Expr, known: Iterable[Expr] = (), below: Callable[[Expr], Sequence[Expr]] = operands_of
) -> Iterator[Expr]:
    """Every distinct sub-expression that is not `known`, before its users what is `below` it: what it reads."""
    seen = set(known)
    begun: set[Expr] = set()  # what lies in the stack again, under its operands
    stack = [*reversed(roots)]
    while stack:
        expr = stack.pop()
        if expr in begun:
            begun.discard(expr)
            yield expr
        elif expr not in seen:
            seen.add(expr)
            ahead = [a for a in below(expr) if a not in seen]
            if ahead:
                begun.add(expr)
                stack.append(expr)
                stack.extend(reversed(ahead))
            else:
                yield expr


def free_axes(expr: Expr) -> frozenset[Axis]:
    """The axes whose value the expression depends on and does not bind itself."""
    if expr._free is None:
        for e in walk(expr, below=lambda e: [a for a in operands_of(e) if a._free is None]):
            e._free = _free_axes(e)
    assert expr._free is not None
    return expr._free


def _free_axes(e: Expr) -> frozenset[Axis]:
    """`free_axes` of an expression whose operands know theirs."""
    below = [a._free or _NO_AXES for a in operands_of(e)]
    found = _NO_AXES.union(*below)
    if e.op == "load":
        return found | {axis for i in e.data[1] if isinstance(i, Affine) for axis in i.axes()}
    if e.op == "index":
        return frozenset(e.data.axes())
    if e.op == "reduce":
        return found - set(e.data[1])
    return next((axes for axes in below if axes == found), found)  # one set for all of a long chain


def substitute(root: Expr, buffer: str, function: Callable[..., Expr]) -> Expr:
    """`root` with every load of a buffer replaced by `function(*index)`: how a producer is fused into a kernel."""
    new: dict[Expr, Expr] = {}
    for e in walk(root):
        if e.op == "load" and e.data[0] == buffer:
            new[e] = function(*(new.get(i, i) if isinstance(i, Expr) else i for i in e.data[1]))
        elif any(a in new for a in e.args):
            new[e] = Expr(e.op, tuple(new.get(a, a) for a in e.args), e.data, e.dtype)
    return new.get(root, root)
