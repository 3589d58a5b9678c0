"""Arithmetic on 8-bit integers with ranges."""

from . import quantize as quantize
