"""What tests of contractions of 8-bit integers share: layers with two results, memory between guard zones."""

from __future__ import annotations

import numpy as np

from symc.loopir.expr import Axis, cast, clamped, load, prim
from symc.loopir.kernel import Buffer, Contraction, Store, Window, accumulator

from .contractions import channels_last, out_extents

GUARD, POISON = 64, 0xA5


def contraction(
    dtype,
    channels=(8, 33),
    inputs=(6, 9),
    kernel=(3, 3),
    stride=(1, 1),
    groups=1,
    slack=0,
    pad=1,
    batch=2,
    dilate=1,
    offset=0,
):
    """A convolution to int32, and to uint8 behind a scale for each channel."""
    c, o = channels
    dilates, pads = (dilate,) * len(inputs), (pad,) * len(inputs)
    outs = out_extents(inputs, kernel, stride, dilates, pads)
    x = channels_last("x", (batch, c, *inputs), dtype, slack, offset)
    y = channels_last("y", (batch, o, *outs), "int32", slack)
    small = channels_last("small", y.shape, "uint8", slack, offset=3)
    scale = Buffer.dense("scale", (o,), "float32")
    axes = tuple(Axis(f"i{d}", n) for d, n in enumerate(y.shape))
    scaled = cast(accumulator("int32"), "float32") * load("scale", (axes[1],), "float32")
    byte = cast(clamped(prim("rint", scaled), 0.0, 255.0), "uint8")
    stores = (Store("y", axes, accumulator("int32"), axes), Store("small", axes, byte, axes))
    weight = Buffer.dense("w", (o, c // groups, *kernel), of_weight(dtype))
    window = Window(inputs, outs, kernel, stride, dilates, pads)
    return Contraction("forward", batch, c, o, groups, window, "x", "w", (x, weight, scale, y, small), stores)


def of_weight(dtype):
    """What data of a dtype are multiplied with."""
    return "int16" if dtype == "int16" else "int8"


def poisoned(b: Buffer) -> np.ndarray:
    """Memory for a buffer between guard zones, of bytes that nobody would write."""
    size = 1 + b.offset + sum((n - 1) * s for n, s in zip(b.shape, b.strides)) + 2 * GUARD
    return np.full(size * np.dtype(b.dtype).itemsize, POISON, "uint8").view(b.dtype)


def strided(raw: np.ndarray, b: Buffer) -> np.ndarray:
    strides = tuple(s * raw.itemsize for s in b.strides)
    return np.lib.stride_tricks.as_strided(raw[GUARD + b.offset :], b.shape, strides)


def surroundings(raw: np.ndarray, b: Buffer) -> np.ndarray:
    """The bytes of its memory that belong to no element."""
    inside = np.zeros(raw.shape, bool)
    strided(inside, b)[...] = True
    return raw[~inside].view("uint8")


def numbers(c: Contraction) -> dict[str, np.ndarray]:
    """Any bytes in every buffer, but a scale that fits."""
    rng = np.random.default_rng(0)
    logical = {b.name: rng.integers(0, 256, b.shape).astype("uint8").view("int8") for b in c.buffers}
    logical = {b.name: logical[b.name].astype(b.dtype) for b in c.buffers}
    return {**logical, "scale": rng.uniform(-0.01, 0.01, logical["scale"].shape).astype("float32")}
