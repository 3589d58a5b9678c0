"""Matrix products and convolutions on the CPU: one register-tiled kernel for each structure, extents at run time."""

from .packing import Packing
from .schedule import can_store, gradient_buffer, is_depthwise, packing, schedule_contraction, why_not_store

__all__ = ["Packing", "can_store", "gradient_buffer", "is_depthwise", "packing", "schedule_contraction",
           "why_not_store"]
