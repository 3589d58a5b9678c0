"""`mx.contrib.svrg_optimization`: gradients with less variance (Johnson and Zhang, NIPS 2013), for modules."""

from . import svrg_module, svrg_optimizer

__all__ = ["svrg_module", "svrg_optimizer"]
