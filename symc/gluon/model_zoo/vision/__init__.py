"""`mx.gluon.model_zoo.vision`: networks for images, by function or by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from symc.core.errors import ArgumentError

from .alexnet import *  # noqa: F403
from .alexnet import alexnet
from .densenet import *  # noqa: F403
from .densenet import densenet_spec, get_densenet
from .inception import *  # noqa: F403
from .inception import inception_v3
from .mobilenet import *  # noqa: F403
from .mobilenet import get_mobilenet, get_mobilenet_v2
from .resnet import *  # noqa: F403
from .resnet import get_resnet, resnet_spec
from .squeezenet import *  # noqa: F403
from .squeezenet import VERSIONS, get_squeezenet
from .vgg import *  # noqa: F403
from .vgg import get_vgg, vgg_spec

MULTIPLIERS = (1.0, 0.75, 0.5, 0.25)


def _models() -> dict[str, Callable[..., Any]]:
    """What makes each network, by its name."""
    found: dict[str, Callable[..., Any]] = {"alexnet": alexnet, "inceptionv3": inception_v3}
    found |= {f"resnet{n}_v{v}": partial(get_resnet, v, n) for v in (1, 2) for n in resnet_spec}
    found |= {f"vgg{n}": partial(get_vgg, n) for n in vgg_spec}
    found |= {f"vgg{n}_bn": partial(get_vgg, n, batch_norm=True) for n in vgg_spec}
    found |= {f"densenet{n}": partial(get_densenet, n) for n in densenet_spec}
    found |= {f"squeezenet{v}": partial(get_squeezenet, v) for v in VERSIONS}
    found |= {f"mobilenet{m}": partial(get_mobilenet, m) for m in MULTIPLIERS}
    return found | {f"mobilenetv2_{m}": partial(get_mobilenet_v2, m) for m in MULTIPLIERS}


def get_model(name: str, **kwargs: Any) -> Any:
    """A network by name, `get_model("resnet18_v1", classes=10)`; raises ArgumentError for an unknown one.

    pretrained    with trained weights, of the folder `root` or fetched; put on `ctx`
    """
    models = _models()
    if name.lower() not in models:
        listed = "\n\t".join(sorted(models))
        raise ArgumentError(f"Model {name} is not supported. Available options are\n\t{listed}")
    return models[name.lower()](**kwargs)
