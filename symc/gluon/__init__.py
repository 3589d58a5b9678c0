"""`mx.gluon`: networks written as Python classes, run operator by operator or hybridized as compiled graphs."""

from symc.gluon.block import Block, HybridBlock, SymbolBlock
from symc.gluon.parameter import Constant, DeferredInitializationError, Parameter, ParameterDict, tensor_types

from . import contrib, data, loss, model_zoo, nn, rnn, utils
from .trainer import Trainer

__all__ = [
    "Block", "Constant", "DeferredInitializationError", "HybridBlock", "Parameter", "ParameterDict", "SymbolBlock",
    "Trainer", "contrib", "data", "loss", "model_zoo", "nn", "rnn", "tensor_types", "utils",
]  # fmt: skip
