"""What optimizer updates share: the new weight from weight, gradient and states, which every run overwrites.

Hyperparameters are read by the kernel at run time, so that a changing learning rate compiles nothing.
Source: src/operator/optimizer_op-inl.h of MXNet 1.9.1.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, prim
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import require_float
from symc.ops.rules.numbers import number, single
from symc.ops.rules.shapes import unify_all


def clipped(x: Expr, limit: Expr) -> Expr:
    """x kept within -limit .. limit."""
    return prim("maximum", prim("minimum", x, limit), -limit)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1."""
    return cast(x > 0, x.dtype) - cast(x < 0, x.dtype)


class Rates(NamedTuple):
    """What a schedule changes from step to step."""

    lr: Expr
    wd: Expr
    rescale: Expr  # factor of the gradient


@declares_parameters
class Updating(Op):
    """Gives one array from inputs and states of the same shape, and overwrites the states.

    leading    names of the inputs before the states
    trailing   names of the inputs after them
    arrays     names of further inputs: arrays of a few numbers, of any shape
    """

    leading: ClassVar[tuple[str, ...]] = ("weight", "grad")
    states: ClassVar[tuple[str, ...]] = ()
    trailing: ClassVar[tuple[str, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "arguments" not in vars(cls):
            cls.arguments = (*cls.leading, *cls.states, *cls.trailing, *cls.arrays)
        cls.results = ("output", *cls.states)
        cls.needs_elements = cls.arrays

    @property
    def positions(self) -> list[int]:
        """Of the inputs that have the output's shape: leading ones, states, trailing ones."""
        return [self.arguments.index(n) for n in (*self.leading, *self.states, *self.trailing)]

    def n_visible(self) -> int:
        return 1

    def updated_by_every_run(self) -> dict[str, int]:
        return {name: k + 1 for k, name in enumerate(self.states)}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify_all([*(ins[k] for k in self.positions), *outs])
        return [shape if k in self.positions else s for k, s in enumerate(ins)], [shape] * len(outs)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([*(ins[k] for k in self.positions), *outs])
        require_float(self, dtype)
        return [dtype if k in self.positions else d for k, d in enumerate(ins)], [dtype] * len(outs)

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        """An element of the output and of each new state, from one of each input of the output's shape."""
        raise NotImplementedError

    def lower(self, t: Lowering) -> None:
        def result(k: int, *i: IndexLike) -> Expr:
            return self.update(t, *(t.ins[p](*i) for p in self.positions))[k]

        for k in range(1 + len(self.states)):
            t.map(partial(result, k), output=k)

    def array(self, t: Lowering, name: str, k: int = 0, dtype: str = "float32") -> Expr:
        """Number k of one of the `arrays`."""
        x = t.ins[self.arguments.index(name)]
        return cast(x(*[0] * (x.rank - 1), k) if x.rank else x(), dtype)

    def numbers(self, dtype: str, *names: str) -> list[Expr]:
        """Parameters as numbers the kernel reads, rounded to float32 as MXNet keeps them."""
        return [number(single(getattr(self, name)), dtype) for name in names]


@declares_parameters
class Stepping(Updating):
    """A weight after one step of an optimizer, whose mathematics is `step`."""

    clip_gradient: float = param(-1.0, doc="limit of the gradient's size; negative: none")

    def rates(self, t: Lowering, dtype: str) -> Rates:
        """Of this update."""
        raise NotImplementedError

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        """The new weight and states."""
        raise NotImplementedError

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        weight, grad, *states = operands
        return self.step(self.rates(t, weight.dtype), weight, grad, *states)

    def clip(self, grad: Expr) -> Expr:
        """The gradient kept within its limit."""
        return grad if self.clip_gradient < 0 else clipped(grad, *self.numbers(grad.dtype, "clip_gradient"))

    def decayed(self, rates: Rates, weight: Expr, grad: Expr) -> Expr:
        """The rescaled gradient with weight decay, clipped together."""
        return self.clip(rates.rescale * grad + rates.wd * weight)

    def rescaled(self, rates: Rates, grad: Expr) -> Expr:
        """The rescaled gradient, clipped; weight decay comes later."""
        return self.clip(rates.rescale * grad)


@declares_parameters
class Update(Stepping):
    """A step whose rates are parameters."""

    lr: float = param(doc="learning rate")
    wd: float = param(0.0, doc="weight decay")
    rescale_grad: float = param(1.0, doc="factor of the gradient")

    def rates(self, t: Lowering, dtype: str) -> Rates:
        return Rates(*self.numbers(dtype, "lr", "wd", "rescale_grad"))


def mixed_dtypes(
    rule: Updating, ins: DTypes, outs: DTypes, narrow: tuple[str, ...] = ("weight", "grad", "output")
) -> tuple[DTypes, DTypes]:
    """The named inputs and outputs have one dtype, all others are float32."""
    known = [*zip(rule.arguments, ins), *zip(rule.results, outs)]
    found = same_dtype([d for name, d in known if name in narrow])
    require_float(rule, found)
    same_dtype(["float32", *(d for name, d in known if name not in narrow)])
    filled: DTypes = [found if name in narrow else "float32" for name, _ in known]
    return filled[: len(ins)], filled[len(ins) :]


class MixedPrecision(Updating):
    """The same update on a float32 copy of the weight, `weight32`; weight and gradient may be narrower."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return mixed_dtypes(self, ins, outs)

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        weight, grad, *states, master = operands
        new, *others = super().update(t, master, cast(grad, master.dtype), *states)
        return cast(new, weight.dtype), *others, new


def mixed(name: str, base: type[Stepping], aliases: tuple[str, ...] = ()) -> type[Stepping]:
    """Registers an update in mixed precision."""
    body = {
        "__doc__": f"{base.name} on a float32 copy of the weight.  MXNet operator {name}.",
        "__module__": base.__module__,
        "states": (*base.states, "weight32"),
        "is_internal": False,
    }
    return op(name, aliases)(type(name.title().replace("_", ""), (MixedPrecision, base), body))
