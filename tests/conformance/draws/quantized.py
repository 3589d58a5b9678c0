"""Parameter sets of operators on 8-bit integers, each tensor with its range; MXNet runs them through oneDNN."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple

import numpy as np

from tests.ops.cases import Case, Shape

from .draw import Draw, Generator
from .layers import reach, spatial, window

BYTES = ("int8", "uint8")
# What quantized_rnn must not go beyond: with VNNI, MXNet's fails.
ISA = {"_contrib_quantized_rnn": "AVX512_CORE"}


def ends(d: Draw) -> Tuple[float, float]:
    """Both ends of a range, now and then from 0 up."""
    return (0.0 if d.chance(0.2) else d.real(-3, -0.1)), d.real(0.1, 3)


def calibration(d: Draw) -> Dict[str, float]:
    """A calibrated range of the result, or none."""
    return dict(zip(("min_calib_range", "max_calib_range"), ends(d))) if d.chance(0.6) else {}


def ranged(d: Draw, shapes: Sequence[Shape], dtypes: Sequence[str], **params: Any) -> Case:
    """Tensors, then both ends of each one's range."""
    n = len(shapes)
    given = {n + k: (end,) for k, end in enumerate(end for _ in shapes for end in ends(d))}
    shapes, kinds = [*shapes, *[(1,)] * (2 * n)], [*dtypes, *["float32"] * (2 * n)]
    domain = (-127.0, 127.0) if "int8" in dtypes else (0.0, 255.0)
    return d.case(*shapes, dtypes=kinds, domain=domain, given=given, grads=(), **params)


def quantize(d: Draw) -> Case:
    shape, low, high = d.shape(), *ends(d)
    if d.op == "_contrib_quantize":
        given = {1: (low,), 2: (high,)}
        return d.case(shape, (1,), (1,), dtypes=("float32",), given=given, grads=(), out_type=d.pick(BYTES))
    if d.op == "_contrib_quantize_asym":
        return d.case(d.shape(3, 3), dtypes=("float32",), grads=(), **calibration(d))
    return d.case(shape, dtypes=("float32",), grads=(), out_type=d.pick([*BYTES, "auto"]), **calibration(d))


def requantize(d: Draw) -> Case:
    shape, found = d.shape(), calibration(d)
    out_type = d.pick([*BYTES, "auto"] if found else ["int8", "auto"])
    given, dtypes = dict(enumerate([(end,) for end in ends(d)], 1)), ["int32", "float32", "float32"]
    domain = d.pick([(-(2.0**30), 2.0**30), (-3000.0, 70000.0)])
    return d.case(shape, (1,), (1,), dtypes=dtypes, domain=domain, given=given, grads=(), out_type=out_type, **found)


def dequantize(d: Draw) -> Case:
    return ranged(d, [d.shape()], [d.pick(BYTES)])


def fully_connected(d: Draw) -> Case:
    shape, n = d.shape(2, 3, 200), d.extent()
    flatten, no_bias = d.chance(0.6), d.chance(0.4)
    depth = int(np.prod(shape[1:])) if flatten else shape[-1]
    shapes = [shape, (n, depth), *([] if no_bias else [(n,)])]
    dtypes = [d.pick(BYTES), "int8", "int8"][: len(shapes)]
    return ranged(d, shapes, dtypes, num_hidden=n, flatten=flatten, no_bias=no_bias)


def convolution(d: Draw) -> Case:
    place = window(d, d.pick([2, 2, 3]))
    deep, wide, no_bias = d.integer(1, 9), d.integer(1, 9), d.chance(0.4)
    weight = (wide, deep, *place["kernel"])
    shapes = [(d.integer(1, 3), deep, *spatial(d, place)), weight, *([] if no_bias else [(wide,)])]
    dtypes = ["uint8", "int8", "int8"][: len(shapes)]
    return ranged(d, shapes, dtypes, num_filter=wide, num_group=1, no_bias=no_bias, **place)


def pooling(d: Draw) -> Case:
    place = window(d, 2, dilates=False)
    if "pad" in place:
        place["pad"] = tuple(min(p, k - 1) for p, k in zip(place["pad"], place["kernel"]))
    shape = (d.integer(1, 3), d.integer(1, 9), *spatial(d, place))
    convention = d.pick(["valid", "full"])
    if d.chance(0.2):
        place, convention = {"kernel": reach(place), "global_pool": True}, "valid"
    more = {"pool_type": d.pick(["max", "avg"]), "pooling_convention": convention}
    return ranged(d, [shape], [d.pick(BYTES)], **{"global_pool": False, **place}, **more)


def same(d: Draw) -> Case:
    """Operators that keep what they get."""
    if d.op == "_contrib_quantized_act":
        return ranged(d, [d.shape(2, 4)], ["int8"], act_type="relu")
    return ranged(d, [d.shape(2, 4)], ["int8"])


def concat(d: Draw) -> Case:
    shape, n = d.shape(2, 4, 100), d.integer(1, 4)
    dim = d.integer(0, len(shape) - 1)
    shapes = [(*shape[:dim], d.integer(1, 4), *shape[dim + 1 :]) for _ in range(n)]
    return ranged(d, shapes, [d.pick(BYTES) for _ in range(n)], num_args=n, dim=dim)


def pair(d: Draw) -> Case:
    shape = d.shape(2, 4)
    if d.op.endswith("mul"):
        return ranged(d, [shape] * 2, ["int8"] * 2, enable_float_output=d.chance(0.3), **calibration(d))
    return ranged(d, [shape] * 2, [d.pick(BYTES) for _ in range(2)], **calibration(d))


def batch_norm(d: Draw) -> Case:
    shape = d.shape(4, 4)
    low, high = ends(d)
    more = {"eps": d.real(0.001, 0.1), "fix_gamma": d.chance(0.5), "use_global_stats": d.chance(0.5), "axis": 1}
    more.update(output_mean_var=False, min_calib_range=d.real(-3, 0), max_calib_range=d.real(0.1, 3))
    dtypes = [d.pick(BYTES), *["float32"] * 6]
    shapes = shape, *[(shape[1],)] * 4, (1,), (1,)
    return d.case(*shapes, dtypes=dtypes, domain=(0.2, 90.0), given={5: (low,), 6: (high,)}, grads=(), **more)


def embedding(d: Draw) -> Case:
    n, m, (low, high) = d.extent(), d.extent(), ends(d)
    given = {0: tuple(float(d.integer(-2, n + 1)) for _ in range(24)), 2: (low,), 3: (high,)}
    dtypes = ["float32", "int8", "float32", "float32"]
    shapes = d.shape(1, 3, 30), (n, m), (1,), (1,)
    return d.case(*shapes, dtypes=dtypes, domain=(-127, 127), given=given, grads=(), input_dim=n, output_dim=m)


def recurrent(d: Draw) -> Case:
    """Of at most 128 steps, whose pairs of products fit in 16 bits; what MXNet reads lies in the parameters."""
    steps, n, deep, size = (d.integer(1, 6) for _ in range(4))
    both, layers = d.chance(0.5), d.integer(1, 3)
    deep = deep if both or layers == 1 else min(deep, size)
    ways = 1 + both
    total = sum(ways * 4 * size * ((deep if k == 0 else size * ways) + size + 2) for k in range(layers))
    cells = (layers * ways, n, size)
    given = {0: tuple(float(d.integer(0, 127)) for _ in range(97)), 4: (d.real(40, 64),), 5: (d.real(50, 64),)}
    return d.case(
        (steps, n, deep), (total,), cells, cells, (1,), (1,), dtypes=["uint8", *["float32"] * 5], domain=(-1, 1),
        given=given, grads=(), state_size=size, num_layers=layers, bidirectional=both, mode="lstm", p=0.0,
        state_outputs=True, use_sequence_length=False, lstm_state_clip_nan=False,
    )  # fmt: skip


def entropy(d: Draw) -> Case:
    bins = 2 * d.integer(2, 8) + 1
    n = bins + 2 * d.integer(1, 40)
    return d.case((n,), (n + 1,), dtypes=("float32",), domain=(0, 300), num_quantized_bins=bins, grads=())


GENERATORS: Dict[str, Generator] = {
    **dict.fromkeys(("_contrib_quantize", "_contrib_quantize_v2", "_contrib_quantize_asym"), quantize),
    "_contrib_requantize": requantize, "_contrib_dequantize": dequantize, "_contrib_calibrate_entropy": entropy,
    **{f"_contrib_quantized_{name}": made for name, made in {
        "fully_connected": fully_connected, "conv": convolution, "pooling": pooling, "flatten": same, "act": same,
        "concat": concat, "elemwise_add": pair, "elemwise_mul": pair, "batch_norm": batch_norm,
        "embedding": embedding, "rnn": recurrent,
    }.items()},
}  # fmt: skip
