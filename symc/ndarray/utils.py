"""`mx.nd.utils`: `array`, `empty`, `load`, `save` and `zeros`, where MXNet keeps those of all storage types."""

from __future__ import annotations

from .creation import array, empty, zeros
from .serialize import load, load_frombuffer, save

__all__ = ["array", "empty", "load", "load_frombuffer", "save", "zeros"]
