"""The updates of optimizers with their rates as an input: a schedule then changes numbers, and no program."""

from __future__ import annotations

from symc.ir.op import declares_parameters, op, param
from symc.loopir.tensor import Lowering

from . import updates
from .rule import Rates, Stepping, Update, Updating


@declares_parameters
class Rated(Updating):
    """An update that reads learning rate, weight decay and the gradient's factor from `rates`, three numbers."""

    is_internal = True
    arrays = ("rates",)
    lr: float = param(0.0, doc="not read: `rates` has it")

    def rates(self, t: Lowering, dtype: str) -> Rates:
        return Rates(*(self.array(t, "rates", k, dtype) for k in range(3)))


def _rated(base: type[Stepping]) -> type[Updating]:
    name = f"_rated_{base.name}"
    body = {"__doc__": f"{base.name} with its rates in an array.", "__module__": __name__, "states": base.states}
    made = type(name.title().replace("_", ""), (Rated, base), body)
    return op(name)(declares_parameters(made))


# By the name of the operator whose rates are parameters.
RATED: dict[str, type[Updating]] = {
    base.name: _rated(base)
    for base in vars(updates).values()
    if isinstance(base, type) and issubclass(base, Update) and hasattr(base, "name") and base.name != "ftml_update"
}
