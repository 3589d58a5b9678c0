"""Cases of 8-bit integers with ranges; the ranges are the second and third of the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Tuple

from .cases import Case

FLOATS = (0.7, -2.0, 2.5, 0.31, -1.3, 1.9, 3.1, -2.7, 0.0, -0.4)
WIDE = (-100_000, -4, 40, 3_000_000, 2**31 - 200, -(2**30), 77_777_777)
EIGHT = (-127, -2, 3, 100, -1, 0, 64)
CALIBRATIONS = [{}, *({"min_calib_range": low, "max_calib_range": high} for low, high in ((-1.0, 2.0), (0.0, 1.5)))]
TYPES = ("int8", "uint8", "auto")
RANGED = ((5, 4), (1,), (1,))

BYTES = ("uint8", "int8")
PAIRS = [(a, b) for a in BYTES for b in BYTES]
SPREAD = (-120.0, 200.0)


def ranged(name: str, shapes: Sequence[Tuple[int, ...]], params: dict, dtypes: Tuple[str, ...]) -> Case:
    """Tensors of 8-bit integers, then both ends of each one's range."""
    return Case(
        f"_contrib_quantized_{name}",
        (*shapes, *[(1,)] * (2 * len(shapes))),
        params,
        (*dtypes, *["float32"] * (2 * len(shapes))),
        SPREAD if "int8" not in dtypes else (-120.0, 127.0),
        grads=(),
    )


def layer(name: str, shapes: Tuple[Tuple[int, ...], ...], params: dict, dtype: str, no_bias: bool) -> Case:
    """Data, weight and, unless there is no bias, one."""
    bias = () if no_bias else ((shapes[1][0],),)
    shapes = (*shapes, *bias)
    return ranged(name, shapes, {**params, "no_bias": no_bias}, (dtype, *["int8"] * (len(shapes) - 1)))


CASES = [
    *(Case("_contrib_quantize", RANGED, {"out_type": t}, points=FLOATS, grads=()) for t in ("int8", "uint8")),
    *(Case("_contrib_quantize_v2", ((5, 7),), {"out_type": t, **c}, domain=(-3, 3), grads=())
      for t in TYPES for c in CALIBRATIONS),
    *(Case("_contrib_quantize_v2", ((5, 7),), {"out_type": t, **c}, given, (0, 100), grads=())
      for given in ("int8", "uint8") for t in TYPES for c in CALIBRATIONS),
    *(Case("_contrib_requantize", RANGED, {"out_type": t, **c}, ("int32", "float32", "float32"), points=WIDE, grads=())
      for t in TYPES for c in CALIBRATIONS[t == "uint8":]),
    Case("_contrib_requantize", RANGED, {"out_type": "uint8", "min_calib_range": -2.0, "max_calib_range": 1.5},
         ("int32", "float32", "float32"), points=WIDE, grads=()),
    Case("_contrib_dequantize", RANGED, {}, ("int8", "float32", "float32"), points=EIGHT, grads=()),
    Case("_contrib_dequantize", RANGED, {}, ("uint8", "float32", "float32"), points=(7, 0, 3, 255, 100), grads=()),
    *(Case("_contrib_quantize_asym", ((2, 3, 5),), c, grads=()) for c in CALIBRATIONS),
    *(layer("conv", ((2, c, 5, 6), (3, c, 3, 2)), {"kernel": (3, 2), "num_filter": 3, **p}, "uint8", no_bias)
      for c, p, no_bias in ((4, {"pad": (1, 1), "stride": (2, 1)}, False), (3, {"dilate": (1, 3)}, True))),
    layer("conv", ((1, 2, 3, 4, 3), (2, 2, 2, 2, 2)), {"kernel": (2, 2, 2), "num_filter": 2}, "uint8", True),
    *(layer("fully_connected", shapes, {"num_hidden": 3, **p}, t, no_bias) for t in BYTES
      for shapes, p, no_bias in ((((4, 7), (3, 7)), {}, False), (((2, 3, 5), (3, 5)), {"flatten": False}, True))),
    *(ranged("pooling", ((2, 3, 7, 8),), {"kernel": (3, 3), **p}, (t,)) for t in BYTES for p in (
        {"pool_type": "max", "stride": (2, 2), "pad": (1, 1)},
        {"pool_type": "max", "kernel": (1, 1), "stride": (4, 4), "pooling_convention": "full"},
        {"pool_type": "avg", "stride": (2, 2), "pad": (1, 1)},
        {"pool_type": "avg", "stride": (3, 3), "pooling_convention": "full"},
        {"pool_type": "avg", "pad": (1, 1), "count_include_pad": False},
        {"pool_type": "avg", "global_pool": True})),
    ranged("flatten", ((3, 2, 4),), {}, ("int8",)),
    ranged("act", ((3, 5),), {"act_type": "relu"}, ("int8",)),
    *(ranged("concat", ((2, 3, 4), (2, 1, 4)), {"num_args": 2, "dim": 1}, t) for t in PAIRS),
    ranged("concat", ((2, 3), (4, 3), (1, 3)), {"num_args": 3, "dim": 0}, ("int8", "uint8", "int8")),
    *(ranged("elemwise_add", ((3, 7), (3, 7)), c, t) for t in PAIRS for c in CALIBRATIONS),
    *(ranged("elemwise_mul", ((3, 7), (3, 7)), c, ("int8", "int8"))
      for c in (*CALIBRATIONS, {"enable_float_output": True})),
    *(Case("_contrib_quantized_batch_norm", ((2, 3, 4, 2), *[(3,)] * 4, (1,), (1,)), {**CALIBRATIONS[1], **p},
           (t, *["float32"] * 6), (0.5, 100.0), grads=())
      for t in BYTES for p in ({}, {"fix_gamma": False, "eps": 0.01})),
    *(Case("_contrib_calibrate_entropy", ((n,), (n + 1,)), {"num_quantized_bins": bins}, domain=(0, 300), grads=())
      for n, bins in ((41, 7), (101, 15))),
    Case("_contrib_calibrate_entropy", ((61,), (62,)), {"num_quantized_bins": 9}, grads=(),
         points=(0, 0, 3, 1, 5, 0, 9, 12, 0, 40, 77, 90, 100, 61, 40, 22, 0, 0, 4, 1, 0)),
    Case("_contrib_quantized_embedding", ((7,), (5, 3), (1,), (1,)), {"input_dim": 5, "output_dim": 3},
         ("float32", "int8", "float32", "float32"), points=(0, 4, 2, 9, -1), grads=()),
]  # fmt: skip
ORACLE: dict = {}
