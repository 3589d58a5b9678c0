"""The built-in zoo: classic networks as MXNet's example symbols build them, by name, with seeded weights.

>>> from symc import models
>>> model = models.get("resnet-18").with_seed(0)
>>> model.shapes
{'data': (1, 3, 224, 224)}
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from symc.attribute import AttrScope
from symc.core.errors import ArgumentError
from symc.core.shapes import FullShape
from symc.name import NameManager
from symc.symbol import Symbol

from .model import Model
from .weights import Params

__all__ = ["Model", "get", "init_params", "names"]

IMAGE: FullShape = (1, 3, 224, 224)
DIGIT: FullShape = (1, 1, 28, 28)

# name -> module of this package, arguments of its `build` beside the number of classes, input shape, usual classes
_ZOO: dict[str, tuple[str, tuple[int, ...], FullShape, int]] = {
    "mlp": ("mlp", (), DIGIT, 10),
    "lenet": ("lenet", (), DIGIT, 10),
    "resnet-18": ("resnet", (18,), IMAGE, 1000),
    "resnet-50": ("resnet", (50,), IMAGE, 1000),
    "inception-bn": ("inception_bn", (), IMAGE, 1000),
    "mobilenet": ("mobilenet", (), IMAGE, 1000),
    "squeezenet": ("squeezenet", (), IMAGE, 1000),
    "vgg-16": ("vgg", (16,), IMAGE, 1000),
}


def names() -> list[str]:
    """The networks `get` knows."""
    return list(_ZOO)


def get(name: str, num_classes: int | None = None) -> Model:
    """A network without weights; `num_classes` defaults to what it is usually trained for (1000, digits 10).

    Raises ArgumentError for an unknown name.
    """
    if name not in _ZOO:
        raise ArgumentError(f"no model {name!r} in the zoo; there are {', '.join(names())}")
    module, arguments, shape, usual_classes = _ZOO[name]
    family = importlib.import_module(f".{module}", __name__)
    with NameManager(), AttrScope():
        symbol = family.build(num_classes or usual_classes, *arguments)
    for node in symbol.nodes():
        node.origin = f"built-in network {name}"  # instead of the line that called this function
    return Model(name, symbol, {"data": shape})


def init_params(symbol: Symbol, shapes: Mapping[str, FullShape], seed: int = 0) -> tuple[Params, Params]:
    """Seeded weights of a symbol with inputs of these shapes: arguments that are no inputs, and auxiliary states."""
    model = Model("", symbol, shapes).with_seed(seed)
    return dict(model.arg_params), dict(model.aux_params)
