"""`mx.init`: what parameters start as; an initializer decides by the parameter's name and writes into its array.

init = mx.init.Xavier(magnitude=2)
init(mx.init.InitDesc("fc_weight"), weight)    # the rule of the class
init(mx.init.InitDesc("fc_bias"), bias)        # 0: biases, gammas and betas have rules of their own
mx.sym.Variable("w", init=mx.init.One())       # this parameter's own rule, wherever it is initialized
"""

from .base import InitDesc, Initializer, alias, create, register
from .choice import Load, Mixed
from .recurrent import FusedRNN, LSTMBias
from .rules import Bilinear, Constant, MSRAPrelu, Normal, One, Orthogonal, Uniform, Xavier, Zero

__all__ = [
    "Bilinear", "Constant", "FusedRNN", "InitDesc", "Initializer", "LSTMBias", "Load", "MSRAPrelu", "Mixed", "Normal",
    "One", "Orthogonal", "Uniform", "Xavier", "Zero", "alias", "create", "register",
]  # fmt: skip
