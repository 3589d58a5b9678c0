"""`mx.optimizer`: how weights follow their gradients, by name; `Updater` applies one and keeps its states."""

from . import contrib, optimizer
from .adam import FTML, Adam, Adamax, Nadam
from .adaptive import AdaDelta, AdaGrad, Ftrl, GroupAdaGrad, RMSProp
from .layerwise import LAMB, LARS
from .optimizer import Optimizer, Test, create, register
from .sgd import DCASGD, LBSGD, NAG, SGD, SGLD, Signum, ccSGD
from .updater import Updater, get_updater

__all__ = [
    "AdaDelta", "AdaGrad", "Adam", "Adamax", "DCASGD", "FTML", "Ftrl", "GroupAdaGrad", "LAMB", "LARS", "LBSGD", "NAG",
    "Nadam", "Optimizer", "RMSProp", "SGD", "SGLD", "Signum", "Test", "Updater", "ccSGD", "create", "get_updater",
    "register",
]  # fmt: skip
