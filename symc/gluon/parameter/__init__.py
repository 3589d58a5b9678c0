"""`mx.gluon.parameter`: a block's parameters, and the dicts that hold them by name."""

from symc.ndarray import NDArray
from symc.symbol import Symbol

from .constant import Constant
from .dictionary import ParameterDict
from .parameter import DeferredInitializationError, Parameter

__all__ = ["Constant", "DeferredInitializationError", "Parameter", "ParameterDict", "tensor_types"]

tensor_types = (Symbol, NDArray)
