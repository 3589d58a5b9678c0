"""Cases of 8-bit integers with ranges; the ranges are the second and third of the points."""

from __future__ import annotations

from .cases import Case

FLOATS = (0.7, -2.0, 2.5, 0.31, -1.3, 1.9, 3.1, -2.7, 0.0, -0.4)
WIDE = (-100_000, -4, 40, 3_000_000, 2**31 - 200, -(2**30), 77_777_777)
EIGHT = (-127, -2, 3, 100, -1, 0, 64)
CALIBRATIONS = [{}, *({"min_calib_range": low, "max_calib_range": high} for low, high in ((-1.0, 2.0), (0.0, 1.5)))]
TYPES = ("int8", "uint8", "auto")
RANGED = ((5, 4), (1,), (1,))

CASES = [
    *(Case("_contrib_quantize", RANGED, {"out_type": t}, points=FLOATS, grads=()) for t in ("int8", "uint8")),
    *(Case("_contrib_quantize_v2", ((5, 7),), {"out_type": t, **c}, domain=(-3, 3), grads=())
      for t in TYPES for c in CALIBRATIONS),
    *(Case("_contrib_requantize", RANGED, {"out_type": t, **c}, ("int32", "float32", "float32"), points=WIDE, grads=())
      for t in TYPES for c in CALIBRATIONS[t == "uint8":]),
    Case("_contrib_dequantize", RANGED, {}, ("int8", "float32", "float32"), points=EIGHT, grads=()),
    Case("_contrib_dequantize", RANGED, {}, ("uint8", "float32", "float32"), points=(7, 0, 3, 255, 100), grads=()),
]  # fmt: skip
ORACLE: dict = {}
