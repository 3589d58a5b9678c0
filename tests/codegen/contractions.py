"""What tests of contractions share: convolutions with epilogues, guarded memory, the check against the interpreter."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np

from symc.codegen.cpu.contraction import candidates, plan_contraction, schedule_contraction
from symc.codegen.cpu.contraction.plan import CpuPlan, WinogradPlan
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall
from symc.codegen.llvm.memory import LINE_BYTES
from symc.core.dtypes import compute_dtype
from symc.loopir.expr import Axis, Expr, load, param, prim
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, Packing, Store, Window, accumulator, buffer_of, verify

from .kernels import run_call

# float32 sums of up to a few thousand products against float64 sums; cancellation makes the absolute part count.
TOLERANCE = {"float32": dict(rtol=2e-4, atol=2e-4), "float64": dict(rtol=1e-11, atol=1e-11)}
GUARD = 64  # elements before and after every buffer


@dataclass
class Memory:
    """One buffer in strided memory between guard zones; inputs are guarded by NaN, so reading them shows.

    Without an offset it begins with a cache line.
    """

    buffer: Buffer
    raw: np.ndarray

    @staticmethod
    def of(buffer: Buffer, content: np.ndarray | None) -> Memory:
        extent = 1 + buffer.offset + sum((n - 1) * s for n, s in zip(buffer.shape, buffer.strides))
        whole = np.full(extent + 2 * GUARD + LINE_BYTES, np.nan, buffer.dtype)
        beside = -(whole.ctypes.data + GUARD * whole.itemsize) % LINE_BYTES // whole.itemsize
        memory = Memory(buffer, whole[beside : beside + extent + 2 * GUARD])
        if content is not None:
            memory.view()[...] = content
        return memory

    def view(self) -> np.ndarray:
        strides = tuple(s * self.raw.itemsize for s in self.buffer.strides)
        return np.lib.stride_tricks.as_strided(self.raw[GUARD + self.buffer.offset :], self.buffer.shape, strides)

    @property
    def address(self) -> int:
        return self.raw.ctypes.data + GUARD * self.raw.itemsize

    def outside_is_untouched(self) -> bool:
        copy = self.raw.copy()
        Memory(self.buffer, copy).view()[...] = np.nan
        return bool(np.isnan(copy).all())


def run(call: KernelCall, memory: dict[str, Memory], target: Target, chunks: list[int], n_chunks: int) -> None:
    """Runs chunks of a call in the given order."""
    run_call(call, target, {name: m.address for name, m in memory.items()}, n_chunks, chunks)


def channels_last(name: str, shape: tuple[int, ...], dtype: str, slack: int = 0, offset: int = 0) -> Buffer:
    """(N, C, *S) with channels contiguous; `slack` makes it a slice of a buffer with more channels."""
    strides, step = [0] * len(shape), shape[1] + slack
    for d in reversed(range(2, len(shape))):
        strides[d], step = step, step * shape[d]
    strides[0], strides[1] = step, 1
    return Buffer(name, shape, dtype, tuple(strides), offset)


def out_extents(inputs, kernel, stride, dilate, pad, extra=0):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 + extra for n, k, s, d, p in zip(inputs, kernel, stride, dilate, pad)
    )


def contraction(
    kind="forward",
    batch=2,
    channels=(7, 33),
    inputs=(6, 9),
    kernel=(3, 3),
    stride=(1, 1),
    dilate=(1, 1),
    pad=(1, 1),
    groups=1,
    dtype="float32",
    slack=0,
    offset=0,
    extra=0,
    epilogue=None,
    stack=None,
    sections=1,
) -> Contraction:
    """A convolution whose epilogue is `epilogue(result, stores' axes) -> (values by output, extra buffers)`.

    With several `sections` the result has the channels of one.
    """
    c, o = channels
    outs = out_extents(inputs, kernel, stride, dilate, pad, extra)
    window = Window(inputs, outs, kernel, stride, dilate, pad)
    x = channels_last("x", (batch, c, *inputs), dtype, slack, offset)
    y = channels_last("y", (batch, o // sections, *outs), dtype, slack, offset)
    w = Buffer.dense("w", (o, c // groups, *kernel), dtype)
    if stack is not None:
        x, w, y = (stacked(b, stack) for b in (x, w, y))
    lhs, rhs, result = {"forward": (x, w, y), "data_gradient": (y, w, x), "weight_gradient": (x, y, w)}[kind]
    axes = tuple(Axis(f"i{d}", n) for d, n in enumerate(result.shape))
    if kind == "weight_gradient" and stack is None:
        result = gradient_buffer(result, is_depthwise=1 < groups == c == o)
    values, buffers = (epilogue or plain)(result, axes)
    stores = tuple(Store(name, axes, value, axes, mode) for name, value, mode in values)
    buffers = tuple({b.name: b for b in (lhs, rhs, result, *buffers)}.values())
    return Contraction(
        kind, batch, c, o, groups, window, lhs.name, rhs.name, buffers, stores, stack=stack, sections=sections
    )


def stacked(b: Buffer, extent: int) -> Buffer:
    """The buffer with an axis in front."""
    return Buffer(b.name, (extent, *b.shape), b.dtype, (b.shape[0] * b.strides[0], *b.strides), b.offset)


def gradient_buffer(weight: Buffer, is_depthwise: bool) -> Buffer:
    """Memory that a weight gradient (O, C / groups, *kernel) can be stored into: columns fastest."""
    outputs, channels, *taps = weight.shape
    step = outputs if is_depthwise else channels
    strides = [0] * len(weight.shape)
    for d in reversed(range(len(taps))):
        strides[2 + d], step = step, step * taps[d]
    strides[:2] = (1, 1) if is_depthwise else (step, 1)
    return replace(weight, strides=tuple(strides))


def plain(result: Buffer, axes: tuple[Axis, ...]):
    return [(result.name, accumulator(compute_dtype(result.dtype)), "set")], []


def bias_residual_relu(result: Buffer, axes: tuple[Axis, ...]):
    """In place: the residual is the output's old content."""
    bias, dtype = Buffer.dense("bias", (result.shape[1],), result.dtype), compute_dtype(result.dtype)
    total = accumulator(dtype) + load("bias", (axes[1],), dtype) + load(result.name, axes, dtype)
    return [(result.name, prim("maximum", total, 0.0), "set")], [bias]


def scaled_rows(result: Buffer, axes: tuple[Axis, ...]):
    """A number for each row of a matrix."""
    scale = Buffer.dense("scale", (result.shape[0], 1), result.dtype)
    return [(result.name, accumulator(result.dtype) * load("scale", (axes[0], 0), result.dtype), "set")], [scale]


def scaled_twice(result: Buffer, axes: tuple[Axis, ...]):
    """Two stores: a scaled sum, and its square plus a residual of another layout."""
    second = channels_last("second", result.shape, result.dtype, slack=3)
    residual = channels_last("residual", result.shape, result.dtype, slack=5, offset=2)
    scaled = accumulator(result.dtype) * param(0.37, result.dtype) + param(-1.5, result.dtype)
    other = scaled * scaled + load("residual", axes, result.dtype)
    return [(result.name, scaled, "set"), ("second", other, "set")], [second, residual]


def accumulate(result: Buffer, axes: tuple[Axis, ...]):
    return [(result.name, accumulator(result.dtype) * 2.0, "add")], []


def normalised(result: Buffer, axes: tuple[Axis, ...]):
    """A BatchNorm: most of the expression is the same for all rows."""
    names = ("gamma", "beta", "mean", "variance")
    gamma, beta, mean, variance = (load(name, (axes[1],), result.dtype) for name in names)
    scale = gamma * prim("exp", variance * param(0.1, result.dtype))
    value = (accumulator(result.dtype) - mean) * scale + beta
    return ([(result.name, value, "set")], [Buffer.dense(name, (result.shape[1],), result.dtype) for name in names])


def gates(sections: int):
    """Of a recurrent step: sums of all sections, a bias and a tensor over their channels, and a state in place."""

    def epilogue(result: Buffer, axes: tuple[Axis, ...]):
        width, dtype = result.shape[1], result.dtype
        bias = Buffer.dense("bias", (sections * width,), dtype)
        data = channels_last("data", (result.shape[0], sections * width, *result.shape[2:]), dtype)
        value = load(result.name, axes, dtype)
        for k in range(sections):
            at = axes[1] + k * width
            beside = load("bias", (at,), dtype) + load("data", (axes[0], at, *axes[2:]), dtype)
            value = value * param(0.5 + k, dtype) - prim("maximum", accumulator(dtype, k) + beside, 0.25 * k)
        output = channels_last("output", result.shape, dtype, slack=3)
        return [("output", value * value, "set"), (result.name, value, "set")], [bias, data, output]

    return epilogue


def sgd(result: Buffer, axes: tuple[Axis, ...]):
    """A weight updated in place from its gradient."""
    weight = load(result.name, axes, result.dtype)
    return [(result.name, weight * param(0.9, result.dtype) - accumulator(result.dtype) * 0.1, "set")], []


def packed_weight(packed: Packing, weight: np.ndarray) -> np.ndarray:
    """A logical weight as `packed` arranges it, by the interpreter and the routine's definition."""
    dtype = str(weight.dtype)
    source, target = Buffer.dense("logical", weight.shape, dtype), Buffer.dense("packed", packed.shape, dtype)
    poison = np.nan if weight.dtype.kind == "f" else 0x5A
    nest, result = packed.nest(source, target), np.full(packed.shape, poison, dtype)
    staged = nest.buffers[-1]
    strides = tuple(s * result.itemsize for s in staged.strides)
    interpret(nest, {"logical": weight, "packed": np.lib.stride_tricks.as_strided(result, staged.shape, strides)})
    if packed.routine is not None:
        packed.routine.run((), (result,))
    assert not np.isnan(result).any()
    return result


def with_plan(c: Contraction, plan: CpuPlan) -> Contraction:
    """`c` reading its weight as planned, with the memory that takes."""
    dtype, buffers = buffer_of(c, c.lhs).dtype, list(c.buffers)
    if plan.packing is not None:
        buffers = [Buffer.dense(b.name, plan.packing.shape, dtype) if b.name == c.rhs else b for b in buffers]
    if plan.scratch:
        buffers.append(Buffer.dense("scratch", plan.scratch, dtype))
    made = replace(c, buffers=tuple(buffers), plan=plan, written=("scratch",) if plan.scratch else ())
    verify(made)
    return made


def planned(c: Contraction, target: Target) -> Contraction:
    """`c` as it is computed without Winograd's algorithm."""
    return with_plan(c, plan_contraction(c, target, has_winograd=False))


def winograd_plan(c: Contraction, target: Target, outputs: int) -> WinogradPlan:
    """The best plan with Winograd's algorithm in tiles of `outputs` squared, whether it pays or not."""
    plans = [plan for plan in candidates(c, target, is_reused=True) if isinstance(plan, WinogradPlan)]
    return min((plan for plan in plans if plan.packing.outputs == outputs), key=lambda plan: plan.cycles)


def check(
    c: Contraction,
    target: Target,
    seed: int = 0,
    splits=(None, 1, 3),
    oracle: Contraction | None = None,
    plan: CpuPlan | None = None,
) -> KernelCall:
    """Runs a contraction for several splits in random order and compares with the interpreter (of `oracle`).

    It is computed by `plan`, by default the best one without Winograd's algorithm.  Gives the last call.
    """
    rng = np.random.default_rng(seed)
    dtype = c.buffers[0].dtype
    logical = {b.name: rng.standard_normal(b.shape).astype(dtype) for b in c.buffers}
    call_form = with_plan(c, plan) if plan else planned(c, target)
    extra: dict[str, np.ndarray] = {}
    if call_form.packing is not None:
        extra[c.rhs] = packed_weight(call_form.packing, logical[c.rhs])
    expected = {name: a.copy() for name, a in logical.items()}
    interpret(oracle or c, expected)
    read = {load.data[0] for s in c.stores for load in _loads(s.value)} | {c.lhs, c.rhs}
    read |= {s.buffer for s in c.stores if s.mode == "add"}
    calls = schedule_contraction(call_form)
    results = []
    for split in splits:
        memory = {
            b.name: Memory.of(b, {**logical, **extra}[b.name] if b.name in read else None) for b in call_form.buffers
        }
        for call in calls:
            n_chunks = split or call.launch.n_chunks
            chunks = list(range(n_chunks))
            random.Random(seed).shuffle(chunks)
            run(call, memory, target, chunks, n_chunks)
        for name, m in memory.items():
            assert m.outside_is_untouched(), f"{name} was written outside its elements"
        for store in c.stores:
            np.testing.assert_allclose(
                memory[store.buffer].view(), expected[store.buffer], **TOLERANCE[dtype], err_msg=calls[-1].schedule
            )
        results.append([memory[s.buffer].view().copy() for s in c.stores])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert np.array_equal(a, b), "the result depends on the split into chunks"
    return calls[-1]


def _loads(expr: Expr):
    from symc.loopir.kernel import loads_of

    return [e for e in loads_of(expr) if e.data[0] != "@acc"]


GEOMETRIES = {
    "3x3": dict(),
    "1x1": dict(kernel=(1, 1), pad=(0, 0)),
    "5x1": dict(kernel=(5, 1), pad=(2, 0)),
    "stride 2": dict(stride=(2, 2), inputs=(9, 11)),
    "stride 3x2": dict(stride=(3, 2), inputs=(10, 11), kernel=(3, 5), pad=(0, 2)),
    "dilate 2": dict(dilate=(2, 2), inputs=(8, 9), pad=(2, 1)),
    "dilate 1x3": dict(dilate=(1, 3), inputs=(5, 12), pad=(1, 0)),
    "no pad": dict(pad=(0, 0)),
    "huge pad": dict(pad=(4, 5), inputs=(3, 4)),
    "asymmetric": dict(stride=(2, 2), inputs=(8, 8), extra=1),
    "1-d": dict(inputs=(17,), kernel=(3,), stride=(1,), dilate=(1,), pad=(1,)),
    "3-d": dict(inputs=(4, 5, 6), kernel=(3, 2, 3), stride=(1, 2, 1), dilate=(1, 1, 1), pad=(1, 0, 1)),
    "matrix": dict(inputs=(), kernel=(), stride=(), dilate=(), pad=(), batch=5),
    "one row": dict(inputs=(), kernel=(), stride=(), dilate=(), pad=(), batch=1),
    "three rows": dict(inputs=(), kernel=(), stride=(), dilate=(), pad=(), batch=3),
    "many images": dict(inputs=(1, 1), kernel=(1, 1), pad=(0, 0), batch=31),
}
MATRIX_KINDS = ["forward", "data_gradient"]
KINDS = [*MATRIX_KINDS, "weight_gradient"]
MATRIX = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())


def strided_gradient(kernel: tuple[int, ...], stride: int, inputs: tuple[int, ...], kind="data_gradient", **shape):
    """The geometry of a deconvolution of `inputs`."""
    outs = tuple(stride * (n - 1) + k for n, k in zip(inputs, kernel))
    n = len(kernel)
    return contraction(
        kind, 1, inputs=outs, kernel=kernel, stride=(stride,) * n, dilate=(1,) * n, pad=(0,) * n, **shape
    )
