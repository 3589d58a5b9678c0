"""What MXNet keeps under `mx.contrib`."""

from __future__ import annotations

from symc.ndarray import contrib as ndarray
from symc.symbol import contrib as symbol

from . import amp as amp
from . import autograd as autograd
from . import io as io
from . import onnx as onnx
from . import quantization as quantization
from . import svrg_optimization as svrg_optimization
from . import tensorboard as tensorboard
from . import text as text

nd, sym, quant = ndarray, symbol, quantization
