"""The updates of many weights as one operator, which becomes the updates of each.

Sources: src/operator/optimizer_op-inl.h, contrib/{preloaded_multi_sgd,multi_lamb,adamw}-inl.h of MXNet 1.9.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from symc.core.errors import ParameterError, ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import is_known, mx_text, size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.tensor import Lowering
from symc.ops.rules.terms import Term

from .rule import MixedPrecision, Rates, Stepping, Updating
from .updates import MP_ADAMW, MP_SGD, MP_SGD_MOM, AdamWUpdate, SgdMomUpdate, SgdUpdate


@declares_parameters
class MultiUpdate(Op):
    """Inputs are those of `single` for the first weight, for the second, ..., then the arrays that all share.

    Gives the new weights and overwrites the states of all.
    """

    variadic = "num_weights"
    single: ClassVar[type[Updating]]

    @property
    def n_weights(self) -> int:
        return getattr(self, self.variadic)

    @classmethod
    def n_each(cls) -> int:
        """Inputs of one weight."""
        return len(cls.single.arguments) - len(cls.single.arrays)

    @classmethod
    def counted(cls, n_inputs: int) -> int:
        return (n_inputs - len(cls.single.arrays)) // cls.n_each()

    def of(self, k: int) -> Updating:
        """The update of one weight."""
        raise NotImplementedError

    def parts(self, values: Sequence[Any]) -> list[list[Any]]:
        """What belongs to each weight of something known for all inputs."""
        each = self.n_each()
        shared = values[each * self.n_weights :]
        return [[*values[k * each : (k + 1) * each], *shared] for k in range(self.n_weights)]

    def argument_names(self) -> tuple[str, ...]:
        return tuple(f"arg{k}" for k in range(self.n_weights * self.n_each() + len(self.single.arrays)))

    def result_names(self) -> tuple[str, ...]:
        states = (f"{state}{k}" for k in range(self.n_weights) for state in self.single.states)
        return (*(f"output{k}" for k in range(self.n_weights)), *states)

    def n_visible(self) -> int:
        return self.n_weights

    def updated_by_every_run(self) -> dict[str, int]:
        states = [self.single.arguments.index(n) for n in self.single.states]
        places = [f"arg{k * self.n_each() + p}" for k in range(self.n_weights) for p in states]
        return {name: self.n_weights + k for k, name in enumerate(places)}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return self._infer("infer_shape", ins, outs)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return self._infer("infer_dtype", ins, outs)

    def _infer(self, rule: str, ins: list, outs: list) -> tuple[list, list]:
        n_shared, n_states = len(self.single.arrays), len(self.single.states)
        found_ins, weights, states = [], [], []
        shared = ins[len(ins) - n_shared :]
        for k, part in enumerate(self.parts(ins)):
            first = self.n_weights + k * n_states
            part_ins, part_outs = getattr(self.of(k), rule)(part, [outs[k], *outs[first : first + n_states]])
            found_ins += part_ins[: len(part_ins) - n_shared]
            weights.append(part_outs[0])
            states += part_outs[1:]
        return [*found_ins, *shared], [*weights, *states]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        made = [self._made(g, k, part) for k, part in enumerate(self.parts(x))]
        return [*(values[0] for values in made), *(state for values in made for state in values[1:])]

    def _made(self, g: GraphBuilder, k: int, x: Sequence[Value]) -> Sequence[Value]:
        """As `updated`; a float32 weight is its own copy: MXNet's operators of many weights leave the other alone."""
        if not issubclass(self.single, MixedPrecision) or g.dtype(x[0]) != "float32":
            return self.updated(g, k, x)
        at = self.single.arguments.index("weight32")
        return [*self.updated(g, k, [*x[:at], x[0], *x[at + 1 :]])[:-1], x[at]]

    def updated(self, g: GraphBuilder, k: int, x: Sequence[Value]) -> Sequence[Value]:
        """The new weight and states of weight number k."""
        node = g.apply(self.of(k), x)
        return [node[i] for i in range(node.n_outputs)]


def require_each(rule: MultiUpdate, *names: str) -> None:
    """Raises ParameterError unless the named parameters have a number for each weight."""
    for name in names:
        if len(getattr(rule, name)) != rule.n_weights:
            raise ParameterError(
                f"operator {rule.name}: {name} has {len(getattr(rule, name))} numbers for {rule.n_weights} weights"
            )


# -- SGD --------------------------------------------------------------------------------------------------------------


@declares_parameters
class MultiSgd(MultiUpdate):
    """SGD with rates as numbers."""

    lrs: tuple[float, ...] = param(doc="learning rates")
    wds: tuple[float, ...] = param(doc="weight decays")
    rescale_grad: float = param(1.0, doc="factor of the gradients")
    clip_gradient: float = param(-1.0, doc="limit of the gradients' size; negative: none")
    num_weights: int = param(1, low=1, high=MAX_PORTS, doc="number of weights")

    def of(self, k: int) -> Updating:
        require_each(self, "lrs", "wds")
        return self.single(lr=self.lrs[k], wd=self.wds[k], **self.common())

    def common(self) -> dict[str, float]:
        """Parameters that all weights share."""
        return {"rescale_grad": self.rescale_grad, "clip_gradient": self.clip_gradient}


@declares_parameters
class MultiSgdMom(MultiSgd):
    """SGD with momentum."""

    parameter_order = ("lrs", "wds", "momentum", "rescale_grad", "clip_gradient", "num_weights")
    momentum: float = param(0.0, doc="decay of the momentum")

    def common(self) -> dict[str, float]:
        return {**super().common(), "momentum": self.momentum}


@declares_parameters
class PreloadedSgd(MultiUpdate):
    """SGD with rates in two arrays, `lrs` and `wds`, the last inputs."""

    rescale_grad: float = param(1.0, doc="factor of the gradients")
    clip_gradient: float = param(-1.0, doc="limit of the gradients' size; negative: none")
    num_weights: int = param(1, low=1, high=MAX_PORTS, doc="number of weights")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for name, rates in zip(self.single.arrays, ins[len(ins) - len(self.single.arrays) :]):
            if is_known(rates) and size_of(rates) != self.n_weights:
                raise ShapeError(
                    f"{name} of shape {mx_text(rates)}, expected a number for each of {self.n_weights} weights"
                )
        return super().infer_shape(ins, outs)

    def of(self, k: int) -> Updating:
        return self.single(index=k, **self.common())

    def common(self) -> dict[str, float]:
        """Parameters that all weights share."""
        return {"rescale_grad": self.rescale_grad, "clip_gradient": self.clip_gradient}


@declares_parameters
class PreloadedSgdMom(PreloadedSgd):
    """SGD with momentum."""

    parameter_order = ("momentum", "rescale_grad", "clip_gradient", "num_weights")
    momentum: float = param(0.0, doc="decay of the momentum")

    def common(self) -> dict[str, float]:
        return {**super().common(), "momentum": self.momentum}


@declares_parameters
class Preloaded(Updating):
    """An update whose rates are number `index` of two arrays."""

    is_internal = True
    arrays = ("lrs", "wds")
    lr: float = param(0.0, doc="not read: `lrs` has it")
    index: int = param(doc="number of the weight")

    def rates(self, t: Lowering, dtype: str) -> Rates:
        lr, wd = (self.array(t, name, self.index, dtype) for name in self.arrays)
        return Rates(lr, wd, *self.numbers(dtype, "rescale_grad"))


def preloaded(base: type[Stepping]) -> type[Updating]:
    """The same update with its rates in arrays."""
    name = f"_preloaded_{base.name}"
    body = {"__doc__": f"{base.name} with rates in arrays.", "__module__": __name__, "states": base.states}
    made = type(name.title().replace("_", ""), (Preloaded, base), body)
    return op(name)(declares_parameters(made))


_SGD: tuple[tuple[type[MultiUpdate], type[MultiUpdate], str, type[Stepping]], ...] = (
    (MultiSgd, PreloadedSgd, "sgd_update", SgdUpdate),
    (MultiSgdMom, PreloadedSgdMom, "sgd_mom_update", SgdMomUpdate),
    (MultiSgd, PreloadedSgd, "mp_sgd_update", MP_SGD),
    (MultiSgdMom, PreloadedSgdMom, "mp_sgd_mom_update", MP_SGD_MOM),
)


def _register(name: str, rule: type[MultiUpdate], single: type[Updating], doc: str) -> None:
    body = {"single": single, "__doc__": f"{doc}  MXNet operator {name}.", "__module__": __name__}
    op(name)(type(name.title().replace("_", ""), (rule,), body))


for _numbers, _arrays, _name, _single in _SGD:
    _register(f"multi_{_name}", _numbers, _single, f"{_single.name} of many weights.")
    _register(
        f"preloaded_multi_{_name}", _arrays, preloaded(_single), f"{_single.name} of many weights, rates in arrays."
    )


# -- AdamW, LAMB ------------------------------------------------------------------------------------------------------


@op("_multi_adamw_update", aliases=("_contrib_multi_adamw_update",))
class MultiAdamW(MultiUpdate):
    """_adamw_update of many weights; the last input is the gradients' factor.  MXNet operator _multi_adamw_update."""

    single: ClassVar[type[Updating]] = AdamWUpdate
    parameter_order = ("lrs", "beta1", "beta2", "epsilon", "wds", "etas", "clip_gradient", "num_weights")
    lrs: tuple[float, ...] = param(doc="learning rates")
    beta1: float = param(0.9, doc="decay of the means")
    beta2: float = param(0.999, doc="decay of the variances")
    epsilon: float = param(1e-8, doc="added to the roots of the variances")
    wds: tuple[float, ...] = param(doc="weight decays")
    etas: tuple[float, ...] = param(doc="factors of rates and decays")
    clip_gradient: float = param(-1.0, doc="limit of the gradients' size; negative: none")
    num_weights: int = param(1, low=1, high=MAX_PORTS, doc="number of weights")

    def of(self, k: int) -> Updating:
        require_each(self, "lrs", "wds", "etas")
        common = {n: getattr(self, n) for n in ("beta1", "beta2", "epsilon", "clip_gradient")}
        return self.single(lr=self.lrs[k], wd=self.wds[k], eta=self.etas[k], **common)


@op("_multi_mp_adamw_update", aliases=("_contrib_multi_mp_adamw_update",))
class MultiMpAdamW(MultiAdamW):
    """_mp_adamw_update of many weights.  MXNet operator _multi_mp_adamw_update."""

    single: ClassVar[type[Updating]] = MP_ADAMW


class _LambOperands(Updating):
    states = ("mean", "var")


class _MpLambOperands(MixedPrecision):
    states = ("mean", "var", "weight32")


@op("_multi_lamb_update", aliases=("_contrib_multi_lamb_update",))
class MultiLamb(MultiUpdate):
    """Both phases of LAMB for many weights.  MXNet operator _multi_lamb_update."""

    single: ClassVar[type[Updating]] = _LambOperands
    variadic = "num_tensors"
    learning_rates: tuple[float, ...] = param(doc="learning rates")
    beta1: float = param(0.9, doc="decay of the means")
    beta2: float = param(0.999, doc="decay of the variances")
    epsilon: float = param(1e-6, doc="added to the roots of the variances")
    wds: tuple[float, ...] = param(doc="weight decays")
    rescale_grad: float = param(1.0, doc="factor of the gradients")
    lower_bound: float = param(-1.0, doc="least norm of a weight; negative: none")
    upper_bound: float = param(-1.0, doc="greatest norm of a weight; negative: none")
    clip_gradient: float = param(-1.0, doc="limit of the gradients' size; negative: none")
    bias_correction: bool = param(True, doc="whether means and variances are divided by 1 - beta ** t")
    step_count: tuple[int, ...] = param(doc="numbers of this update, from 1")
    num_tensors: int = param(1, low=1, high=MAX_PORTS, doc="number of weights")

    def of(self, k: int) -> Updating:
        require_each(self, "learning_rates", "wds", "step_count")
        return self.single()

    def updated(self, g: GraphBuilder, k: int, x: Sequence[Value]) -> Sequence[Value]:
        common = ("beta1", "beta2", "epsilon", "bias_correction", "rescale_grad", "clip_gradient")
        is_mixed = self.single is _MpLambOperands
        prefix, master = ("mp_", x[4:]) if is_mixed else ("", [])
        direction = g.node(
            f"{prefix}lamb_update_phase1",
            *x,
            t=self.step_count[k],
            wd=self.wds[k],
            **{n: getattr(self, n) for n in common},
        )
        norms = [Term(g, v).cast(g.dtype(direction[0]))("norm").value for v in (x[0], direction[0])]
        step = g.node(
            f"{prefix}lamb_update_phase2",
            x[0],
            direction[0],
            *norms,
            *master,
            lr=self.learning_rates[k],
            lower_bound=self.lower_bound,
            upper_bound=self.upper_bound,
        )
        return [step[0], direction[1], direction[2], *([step[1]] if is_mixed else [])]


@op("_multi_mp_lamb_update", aliases=("_contrib_multi_mp_lamb_update",))
class MultiMpLamb(MultiLamb):
    """The same on float32 copies of the weights.  MXNet operator _multi_mp_lamb_update."""

    single: ClassVar[type[Updating]] = _MpLambOperands


@op("reset_arrays")
class ResetArrays(Op):
    """Overwrites all inputs with zeros.  MXNet operator reset_arrays."""

    variadic = "num_arrays"
    num_arrays: int = param(low=1, high=MAX_PORTS, doc="number of arrays")

    def result_names(self) -> tuple[str, ...]:
        return tuple(f"output{k}" for k in range(self.num_arrays))

    def n_visible(self) -> int:
        return 0

    def updated_by_every_run(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.argument_names())}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shapes = [unify(i, o) for i, o in zip(ins, outs)]
        return shapes, list(shapes)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtypes = [same_dtype(pair) for pair in zip(ins, outs)]
        return dtypes, list(dtypes)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [g("zeros_like", v) for v in x]
