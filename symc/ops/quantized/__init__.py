"""Arithmetic on 8-bit integers with ranges."""

from . import calibrate as calibrate
from . import elements as elements
from . import fused as fused
from . import fused_attention as fused_attention
from . import layers as layers
from . import quantize as quantize
from . import recurrent as recurrent
