"""`mx.optimizer.contrib`: where MXNet has GroupAdaGrad, too."""

from .adaptive import GroupAdaGrad

__all__ = ["GroupAdaGrad"]
