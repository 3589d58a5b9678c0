"""`mx.gluon.block`: Block, HybridBlock and SymbolBlock, of which networks are made."""

from symc.gluon.parameter import DeferredInitializationError, Parameter, ParameterDict

from .block import Block
from .hybrid import HybridBlock
from .scope import BlockScope as _BlockScope
from .structure import flatten as _flatten
from .structure import regroup as _regroup
from .symbol import SymbolBlock

__all__ = ["Block", "HybridBlock", "SymbolBlock"]
