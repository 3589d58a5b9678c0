"""Contractions on the CPU against the interpreter: odd sizes, every vector width, guard zones, any order of chunks."""

from __future__ import annotations

import ctypes
import random
import tracemalloc
from dataclasses import dataclass, replace

import numpy as np
import pytest

from symc.codegen.contraction.epilogue import epilogue_of
from symc.codegen.contraction.geometry import Geometry
from symc.codegen.contraction.panels import Panels
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.tables import images_per_table, pixel_tables, tile_tables
from symc.codegen.contraction.winograd import WinogradPanels, is_winograd
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.contraction import candidates, plan_contraction, schedule_contraction
from symc.codegen.cpu.contraction.plan import CpuPlan, WinogradPlan
from symc.codegen.cpu.contraction.shapes import tile_counts
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.routines import schedule_template
from symc.codegen.cpu.target import Target, host_target, widest_vector_bits
from symc.codegen.kernel import KernelCall, Ref, Table, float_bits
from symc.core.errors import CodegenError, GraphError
from symc.loopir.expr import Axis, Expr, load, param, prim
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, Packing, Store, Template, Window, accumulator, buffer_of, verify

# float32 sums of up to a few thousand products against float64 sums; cancellation makes the absolute part count.
TOLERANCE = {"float32": dict(rtol=2e-4, atol=2e-4), "float64": dict(rtol=1e-11, atol=1e-11)}
GUARD = 64  # elements before and after every buffer
WIDTHS = [bits for bits in (128, 256, 512) if bits <= widest_vector_bits(host_target().features)]

_addresses: dict[tuple[str, Target], int] = {}


@dataclass
class Memory:
    """One buffer in strided memory between guard zones; inputs are guarded by NaN, so reading them shows."""

    buffer: Buffer
    raw: np.ndarray

    @staticmethod
    def of(buffer: Buffer, content: np.ndarray | None) -> Memory:
        extent = 1 + buffer.offset + sum((n - 1) * s for n, s in zip(buffer.shape, buffer.strides))
        memory = Memory(buffer, np.full(extent + 2 * GUARD, np.nan, buffer.dtype))
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
    key = call.code.name, target
    if key not in _addresses:
        data = compile_function(call.code.build(), call.code.name, target)
        _addresses[key] = load_objects({call.code.name: data})[call.code.name]
    words, bufs, keep = [], [], []
    for word in call.words:
        if isinstance(word, (Ref, Table)):
            if isinstance(word, Table):
                keep.append(np.ascontiguousarray(word.data))
            words += [len(bufs), word.offset_bytes if isinstance(word, Ref) else 0]
            bufs.append(memory[word.buffer].address if isinstance(word, Ref) else keep[-1].ctypes.data)
        else:
            words.append(float_bits(word) if isinstance(word, float) else word)
    desc, slots = np.array(words, np.int64), np.array(bufs, np.int64)
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(_addresses[key])
    for chunk in chunks:
        kernel(chunk, n_chunks, desc.ctypes.data, slots.ctypes.data)


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
) -> Contraction:
    """A convolution whose epilogue is `epilogue(stores' axes, dtype) -> (values by output, extra buffers)`."""
    c, o = channels
    outs = out_extents(inputs, kernel, stride, dilate, pad, extra)
    window = Window(inputs, outs, kernel, stride, dilate, pad)
    x = channels_last("x", (batch, c, *inputs), dtype, slack, offset)
    y = channels_last("y", (batch, o, *outs), dtype, slack, offset)
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
    return Contraction(kind, batch, c, o, groups, window, lhs.name, rhs.name, buffers, stores, stack=stack)


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
    return [(result.name, accumulator(result.dtype), "set")], []


def bias_residual_relu(result: Buffer, axes: tuple[Axis, ...]):
    """In place: the residual is the output's old content."""
    bias = Buffer.dense("bias", (result.shape[1],), result.dtype)
    total = accumulator(result.dtype) + load("bias", (axes[1],), result.dtype) + load(result.name, axes, result.dtype)
    return [(result.name, prim("maximum", total, 0.0), "set")], [bias]


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


def sgd(result: Buffer, axes: tuple[Axis, ...]):
    """A weight updated in place from its gradient."""
    weight = load(result.name, axes, result.dtype)
    return [(result.name, weight * param(0.9, result.dtype) - accumulator(result.dtype) * 0.1, "set")], []


def packed_weight(packed: Packing, weight: np.ndarray) -> np.ndarray:
    """A logical weight as `packed` arranges it, by the interpreter and the routine's definition."""
    dtype = str(weight.dtype)
    source, target = Buffer.dense("logical", weight.shape, dtype), Buffer.dense("packed", packed.shape, dtype)
    nest, result = packed.nest(source, target), np.full(packed.shape, np.nan, dtype)
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
    """`c` as it is computed when its weight serves one run."""
    return with_plan(c, plan_contraction(c, target))


def winograd_plan(c: Contraction, target: Target) -> WinogradPlan:
    """The best plan with Winograd's algorithm, whether it pays or not."""
    plans = [plan for plan in candidates(c, target, is_reused=True) if isinstance(plan, WinogradPlan)]
    return min(plans, key=lambda plan: plan.cycles)


def check(
    c: Contraction,
    target: Target,
    seed: int = 0,
    splits=(None, 1, 3),
    oracle: Contraction | None = None,
    plan: CpuPlan | None = None,
) -> KernelCall:
    """Runs a contraction for several splits in random order and compares with the interpreter (of `oracle`).

    It is computed by `plan`, by default as when its weight serves one run.  Gives the last call.
    """
    rng = np.random.default_rng(seed)
    dtype = c.buffers[0].dtype
    logical = {b.name: rng.standard_normal(b.shape).astype(dtype) for b in c.buffers}
    call_form = with_plan(c, plan or plan_contraction(c, target))
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


@pytest.fixture(params=WIDTHS)
def target(request) -> Target:
    return host_target(request.param)


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometry(kind, geometry, target):
    check(contraction(kind, **GEOMETRIES[geometry]), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 64), (33, 7), (64, 33)])
def test_channels(kind, dtype, channels, target):
    check(contraction(kind, channels=channels, dtype=dtype, inputs=(5, 7)), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups, channels", [(2, (6, 66)), (3, (9, 9)), (4, (64, 128))])
def test_groups(kind, groups, channels, target):
    check(contraction(kind, channels=channels, groups=groups), target)


MATRIX = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())


def residual_and_column(result: Buffer, axes: tuple[Axis, ...]):
    """A full tensor and a number for each column."""
    row = Buffer.dense("row", result.shape[-1:], result.dtype)
    total = accumulator(result.dtype) * load("row", axes[-1:], result.dtype) + load("other", axes, result.dtype)
    return [(result.name, total, "set")], [row, Buffer.dense("other", result.shape, result.dtype)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack", [1, 2, 5])
@pytest.mark.parametrize("rows, channels", [(5, (7, 33)), (1, (64, 64)), (33, (1, 1)), (70, (33, 20))])
def test_stack(kind, stack, rows, channels, target):
    """Independent matrices side by side: each has its own operands, and reads no neighbour's."""
    check(contraction(kind, rows, channels, **MATRIX, stack=stack), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epilogue", [residual_and_column, accumulate])
def test_stack_epilogue(kind, epilogue, target):
    c = contraction(kind, 19, (9, 33), **MATRIX, stack=3, epilogue=epilogue)
    check(c, target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_stack_of_convolutions(kind, target):
    check(contraction(kind, stack=3), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack, rows", [(0, 3), (3, 0)])
def test_empty_stack(kind, stack, rows, target):
    check(contraction(kind, rows, (4, 5), **MATRIX, stack=stack), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [5, 33, 70])
@pytest.mark.parametrize("geometry", ["3x3", "5x1", "stride 3x2", "dilate 2", "huge pad", "1-d", "3-d"])
def test_depthwise(kind, channels, geometry, target):
    check(contraction(kind, channels=(channels, channels), groups=channels, **GEOMETRIES[geometry]), target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("epilogue", [bias_residual_relu, scaled_twice, accumulate, normalised])
@pytest.mark.parametrize("batch", [1, 4])
def test_epilogue(kind, epilogue, batch, target):
    c = contraction(kind, batch=batch, epilogue=epilogue, inputs=(5, 5))
    check(c, target)


@pytest.mark.parametrize("epilogue", [accumulate, sgd])
@pytest.mark.parametrize("channels, groups", [((7, 33), 1), ((3, 10), 1), ((8, 12), 2), ((35, 35), 35)])
def test_gradient_epilogue(epilogue, channels, groups, target):
    c = contraction("weight_gradient", channels=channels, groups=groups, epilogue=epilogue)
    check(c, target)


@pytest.mark.parametrize("channels, groups", [((3, 17), 1), ((33, 9), 1), ((6, 6), 6)])
def test_long_gradient_sums(channels, groups, target):
    """More pixels than a block, more images than a table; few channels also meet the gathered border pixels."""
    c = contraction("weight_gradient", batch=3, channels=channels, groups=groups, inputs=(33, 35))
    call = check(c, target)
    if channels == (3, 17):
        assert "borders=True" in call.code.structure


def test_long_gradient_sums_round_little():
    """Partial sums of blocks: 200,000 products summed one by one would be off by 2e-3."""
    target = host_target()
    c = contraction("weight_gradient", batch=20, channels=(16, 8), inputs=(100, 100), kernel=(1, 1), pad=(0, 0))
    (call,) = schedule_contraction(planned(c, target))
    memory = {b.name: Memory.of(b, np.full(b.shape, 0.1 if b.name == "x" else 1.0, b.dtype)) for b in c.buffers}
    run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
    np.testing.assert_allclose(memory["w"].view(), 20 * 100 * 100 * np.float32(0.1), rtol=2e-5)


def test_in_place_rows_that_fill_no_tile(target):
    """The last tile repeats its last row; an in-place sum must not be added twice."""
    for rows in (1, 2, 3, 5, 13, 15):
        check(contraction(inputs=(rows, 1), kernel=(1, 1), pad=(0, 0), batch=1, epilogue=bias_residual_relu), target)


@pytest.mark.parametrize("kind", KINDS)
def test_channel_slices_and_offsets(kind, target):
    check(contraction(kind, slack=4, offset=3), target)


def test_chunks_of_a_large_layer(target):
    c = contraction(batch=1, channels=(64, 100), inputs=(28, 28), epilogue=bias_residual_relu)
    call = check(c, target, splits=(None, 1, 7, 1000))
    assert 32 <= call.launch.n_chunks <= 64


@pytest.mark.parametrize("weights_per_source", [0, 1000])
@pytest.mark.parametrize("has_winograd", [False, True])
def test_units_by_block_or_by_panel_group(weights_per_source, has_winograd, monkeypatch, target):
    monkeypatch.setattr("symc.codegen.cpu.contraction.blocking.WEIGHTS_PER_SOURCE", weights_per_source)
    c = contraction(batch=1, channels=(64, 200), inputs=(15, 17), epilogue=bias_residual_relu)
    check(c, target, plan=winograd_plan(c, target) if has_winograd else None, splits=(None, 1, 7))


def test_tables_repeat_over_large_batches(target):
    c = contraction(batch=6, channels=(3, 8), inputs=(24, 28), epilogue=bias_residual_relu)
    call = check(c, target)
    tables = sum(w.data.nbytes for w in call.words if isinstance(w, Table))
    assert tables < 6 * 24 * 28 * 9 * 4 / 2


def test_one_kernel_serves_every_geometry():
    """Extents are run-time arguments: the same structure is the same machine code."""
    target = host_target()
    names = {
        schedule_contraction(planned(c, target))[0].code.name
        for c in (
            contraction(batch=4, channels=(16, 64), inputs=(14 * n, 28), kernel=(k, k), pad=(k // 2, k // 2))
            for n in (1, 2)
            for k in (1, 3, 5)
        )
    }
    assert len(names) == 1


def test_parameters_are_read_at_run_time():
    def scaled(factor):
        return lambda result, axes: ([("y", accumulator("float32") * param(factor, "float32"), "set")], [])

    (a,), (b,) = (schedule_contraction(planned(contraction(epilogue=scaled(f)), host_target())) for f in (0.5, 3.0))
    assert a.code.name == b.code.name and a.words[-1] == 0.5 and b.words[-1] == 3.0


def check_winograd(c: Contraction, target: Target) -> KernelCall:
    assert is_winograd(c)
    return check(c, target, plan=winograd_plan(c, target))


@pytest.mark.parametrize(
    "inputs, pad, extra",
    [
        ((6, 8), (1, 1), 0),
        ((7, 7), (1, 1), 0),
        ((5, 9), (0, 0), 0),
        ((1, 1), (1, 1), 0),
        ((3, 4), (4, 5), 0),
        ((8, 8), (1, 1), 1),
        ((3, 40), (0, 2), 0),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_winograd_geometry(inputs, pad, extra, batch, target):
    check_winograd(contraction(channels=(16, 33), inputs=inputs, pad=pad, extra=extra, batch=batch), target)


@pytest.mark.parametrize("batch", [1, 5])
def test_winograd_in_parts(batch, monkeypatch, target):
    """Large inputs are transformed part by part, whatever the number of images in a part."""
    monkeypatch.setattr("symc.codegen.cpu.contraction.plan.PART_BYTES", 20_000)
    monkeypatch.setattr("symc.codegen.cpu.contraction.plan.MAX_PARTS", 1000)
    c = contraction(batch=batch, channels=(16, 33), inputs=(13, 11), epilogue=bias_residual_relu)
    assert np.prod(winograd_plan(c, target).scratch) * 4 < 30_000
    assert " of " in check_winograd(c, target).schedule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(16, 1), (32, 64), (48, 70)])
def test_winograd_channels(dtype, channels, target):
    check_winograd(contraction(channels=channels, dtype=dtype, inputs=(9, 6)), target)


@pytest.mark.parametrize("epilogue", [bias_residual_relu, scaled_twice, accumulate, normalised])
@pytest.mark.parametrize("slack, offset", [(0, 0), (4, 3)])
def test_winograd_epilogue(epilogue, slack, offset, target):
    """In place too: an output tile that reaches beyond the border must not add twice."""
    check_winograd(contraction(channels=(16, 40), inputs=(5, 7), epilogue=epilogue, slack=slack, offset=offset), target)


@pytest.mark.parametrize("extent, channels", [(56, 64), (28, 64), (14, 64), (7, 256)])
def test_winograd_of_a_layer_as_it_is_used(extent, channels):
    """Every register tile that layers choose; the kernel holds them all."""
    c = contraction(batch=1, channels=(channels, 64), inputs=(extent, extent), epilogue=bias_residual_relu)
    target = host_target()
    plan = plan_contraction(c, target, is_reused=True)
    assert isinstance(plan, WinogradPlan)
    call = check(c, target, plan=plan, splits=(None, 7))
    others = {
        schedule_contraction(with_plan(o, winograd_plan(o, target)))[-1].code.name
        for o in (contraction(channels=(64, 64), inputs=(n, n), epilogue=bias_residual_relu) for n in (4, 8, 20))
    }
    assert others == {call.code.name}


@pytest.mark.parametrize(
    "change",
    [
        dict(kernel=(5, 5)),
        dict(kernel=(3, 1), pad=(1, 0)),
        dict(stride=(2, 2), inputs=(57, 57)),
        dict(dilate=(2, 2)),
        dict(groups=2),
        dict(kind="data_gradient"),
        dict(channels=(3, 64)),
        dict(channels=(64, 4)),
        dict(batch=0),
    ],
)
def test_winograd_is_not_chosen(change):
    wanted = dict(batch=1, channels=(64, 64), inputs=(56, 56))
    target = host_target()
    assert isinstance(plan_contraction(contraction(**wanted), target, is_reused=True), WinogradPlan)
    assert not isinstance(plan_contraction(contraction(**wanted), target), WinogradPlan), "its weight serves one run"
    assert not isinstance(plan_contraction(contraction(**{**wanted, **change}), target, is_reused=True), WinogradPlan)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(16, 33), (64, 64)])
def test_winograd_weights(dtype, channels, target):
    """The routine's kernel against its definition, and back to the logical weight."""
    packed = winograd_plan(contraction(channels=channels, dtype=dtype), target).packing
    dense = Buffer.dense("packed", packed.shape, dtype)
    weight = np.random.default_rng(0).standard_normal((channels[1], channels[0], 3, 3)).astype(dtype)
    expected = packed_weight(packed, weight)
    np.testing.assert_allclose(packed.unpack(expected.astype("float64")), weight, rtol=1e-5, atol=1e-6)
    staged = np.full(packed.shape, np.nan, dtype)
    view = np.zeros((packed.n_panels * packed.panel_columns, *weight.shape[1:]), dtype)
    view[: channels[1]] = weight
    staged[:, :9] = view.reshape(packed.n_panels, packed.panel_columns, -1, 9).transpose(0, 3, 2, 1)
    template = Template(packed.routine, (), ("packed",), (), (dense,))
    for n_chunks in (template.n_parts, 1, 5):
        memory = {"packed": Memory.of(dense, staged)}
        run(schedule_template(template, target), memory, target, list(range(n_chunks)), n_chunks)
        np.testing.assert_allclose(memory["packed"].view(), expected, rtol=1e-6, atol=1e-6)
        assert memory["packed"].outside_is_untouched()


def test_winograd_rounds_no_more_than_direct_sums():
    """Measured: 2.3e-7 to 5e-7 of the largest result, direct sums 5e-7 to 1.7e-6."""
    target = host_target()
    c = contraction(batch=1, channels=(256, 64), inputs=(14, 14))
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(b.shape).astype("float32") for b in c.buffers[:2])
    x = np.maximum(x, 0)
    sums = {"x": x.astype("float64"), "w": w.astype("float64"), "y": np.zeros(c.buffers[2].shape)}
    interpret(c, sums)
    errors = {}
    for plan in (plan_contraction(c, target), winograd_plan(c, target)):
        form, packed = with_plan(c, plan), packed_weight(plan.packing, w)
        memory = {b.name: Memory.of(b, {"x": x, "w": packed}.get(b.name)) for b in form.buffers}
        for call in schedule_contraction(form):
            run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
        errors[type(plan.packing)] = np.abs(memory["y"].view() - sums["y"]).max() / np.abs(sums["y"]).max()
    assert errors[WinogradPanels] < 1e-6
    assert errors[WinogradPanels] < 2 * errors[Panels]


@pytest.mark.parametrize("batch", [1, 3])
def test_channels_first_results(batch, target):
    """A head in MXNet's order is written element by element, with an operand in the same order."""

    def channels_first(result, axes):
        head, other = (Buffer.dense(name, result.shape, result.dtype) for name in ("head", "other"))
        return [("head", accumulator(result.dtype) - load("other", axes, result.dtype), "set")], [head, other]

    # The pixels of one image are evenly spaced; those of several images are not.
    c = contraction(epilogue=channels_first, batch=batch)
    if batch == 1:
        check(c, target)
        return
    with pytest.raises(CodegenError, match="'head' cannot be fused"):
        epilogue_of(c)


def test_depthwise_gradient_in_the_order_of_a_product(target):
    """The layout pass gives every product's result channels-last order, here (O, *tap, 1)."""
    c = contraction("weight_gradient", channels=(35, 35), groups=35)
    strides = dict(w=channels_last("w", (35, 1, 3, 3), "float32").strides)
    c = replace(c, buffers=tuple(replace(b, strides=strides.get(b.name, b.strides)) for b in c.buffers))
    check(c, target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("empty", [dict(batch=0), dict(channels=(0, 5)), dict(channels=(5, 0))])
def test_empty_operands(kind, empty, target):
    check(contraction(kind, **empty), target)


def test_refuses_what_it_cannot_store():
    def channels_first(result, axes):
        other = Buffer.dense("nchw", result.shape, result.dtype)
        return [("nchw", accumulator(result.dtype), "set")], [other]

    c = contraction(epilogue=channels_first)
    with pytest.raises(CodegenError, match="'nchw' cannot be fused: axis i0 has stride"):
        schedule_contraction(planned(c, host_target()))


def test_refuses_to_read_elsewhere_than_it_writes():
    def shifted(result, axes):
        flipped = (axes[0], axes[1], axes[2].extent - 1 - axes[2], axes[3])
        return [("y", accumulator("float32") + load("y", flipped, "float32"), "set")], []

    with pytest.raises(CodegenError, match="'y' cannot be fused"):
        schedule_contraction(planned(contraction(epilogue=shifted), host_target()))


def test_refuses_to_read_what_it_has_written():
    def twice(result, axes):
        other = channels_last("z", result.shape, result.dtype)
        first = accumulator("float32")
        return [("y", first, "set"), ("z", first + load("y", axes, "float32"), "set")], [other]

    with pytest.raises(CodegenError, match="'y' cannot be fused: it is read after an earlier store"):
        epilogue_of(contraction(epilogue=twice))


def test_refuses_channels_first_operands():
    c = contraction()
    first = Buffer.dense("x", c.buffers[0].shape, "float32")
    with pytest.raises(CodegenError, match="'x' has channel stride 54; expected channels-last"):
        plan_contraction(replace(c, buffers=(first, *c.buffers[1:])), host_target())


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_finds_a_wrong_sum(kind, target):
    """The helper of these tests fails when a kernel computes something else."""
    c = contraction(kind)
    wrong = replace(c, stores=tuple(replace(s, value=s.value + 1e-2) for s in c.stores))
    with pytest.raises(AssertionError, match="Mismatched elements"):
        check(c, target, oracle=wrong)


@pytest.mark.parametrize("batch", [1, 7, 12, 97, 36, 1 << 20, 999_983, (1 << 40) - 87])
@pytest.mark.parametrize("pixels, n_rows", [(1, 14), (49, 6), (12544, 14)])
def test_images_of_a_table_are_the_fewest_that_fill_its_tiles(batch, pixels, n_rows):
    images = images_per_table(batch, pixels, n_rows)
    assert batch % images == 0

    def is_full(n):
        return n * pixels >= 1024 and -(-n * pixels // n_rows) * n_rows <= n * pixels * 1.02

    assert is_full(images) or images == batch
    assert not any(is_full(n) for n in range(1, min(images, 5000)) if batch % n == 0)


def test_extents_beyond_any_memory_are_counted_without_tables(monkeypatch):
    """As many tiles as rows need, and every tap seen; below the limit the same numbers come from the tables."""
    g = Geometry(1, (100, 100), (102, 102), 102 * 102, (102, 1), (1, 1), (3, 3), (1, 1), (0, 0), channels=1)
    exact = tile_counts(g, 64, 14)
    monkeypatch.setattr("symc.codegen.cpu.contraction.shapes.MAX_COUNTED_ROWS", 0)
    monkeypatch.setattr("symc.codegen.cpu.contraction.shapes.row_order", lambda *_: pytest.fail("made tables"))
    assert tile_counts(g, 64, 14) == pytest.approx(exact, rel=1e-3)
    assert tile_counts(g.of_images(1), 1 << 40, 14)[0] == pytest.approx((1 << 40) * 1e4 / 14, rel=0.02)


PLANNED = {
    "forward": dict(channels=(64, 64), inputs=(14, 14)),
    "data_gradient": dict(kind="data_gradient", channels=(20, 33)),
    "weight_gradient": dict(kind="weight_gradient", channels=(3, 17)),
    "depthwise": dict(channels=(35, 35), groups=35),
    "depthwise gradient": dict(kind="weight_gradient", channels=(35, 35), groups=35),
}


@pytest.mark.parametrize("case", PLANNED)
def test_the_plan_is_the_candidate_to_expect_most_of(case):
    c, target = contraction(batch=1, **PLANNED[case]), host_target()
    found = candidates(c, target, is_reused=True)
    chosen = plan_contraction(c, target, is_reused=True)
    assert chosen in found and len(set(found)) == len(found)
    assert 0 < chosen.cycles == min(plan.cycles for plan in found)
    assert {plan.algorithm for plan in found} == {
        "forward": {"direct sums", "Winograd F(2x2, 3x3)"},
        "data_gradient": {"direct sums"},
        "weight_gradient": {"weight gradient"},
    }.get(case, {"depthwise sums"})


@pytest.mark.parametrize("case", PLANNED)
def test_every_candidate_computes_the_same(case):
    c, target = contraction(**{**PLANNED[case], "inputs": (5, 7)}), host_target()
    for plan in candidates(c, target, is_reused=True)[::9]:
        check(c, target, plan=plan)


def test_a_plan_is_checked_against_the_buffers():
    c = contraction(channels=(16, 33))
    plan = winograd_plan(c, host_target())
    made = with_plan(c, plan)
    with pytest.raises(GraphError, match="its plan wants it dense, of shape"):
        verify(replace(made, buffers=(*c.buffers, made.buffers[-1])))
    with pytest.raises(GraphError, match=r"scratch: float32.*its plan wants it dense"):
        verify(replace(made, buffers=(*made.buffers[:-1], Buffer.dense("scratch", (7,), "float32"))))
    with pytest.raises(GraphError, match=r"scratch \(\); its plan wants shape"):
        verify(replace(made, written=()))


def test_refuses_a_plan_of_another_device():
    foreign = ContractionPlan(algorithm="by hand", cycles=1.0, why="")
    with pytest.raises(CodegenError, match=r"its plan is ContractionPlan.*by hand.*expected one of the CPU's"):
        schedule_contraction(replace(contraction(), plan=foreign))


def strided_gradient(kernel: tuple[int, ...], stride: int, inputs: tuple[int, ...], kind="data_gradient", **shape):
    """The geometry of a deconvolution of `inputs`."""
    outs = tuple(stride * (n - 1) + k for n, k in zip(inputs, kernel))
    n = len(kernel)
    return contraction(
        kind, 1, inputs=outs, kernel=kernel, stride=(stride,) * n, dilate=(1,) * n, pad=(0,) * n, **shape
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups, channels", [(1, (3, 2)), (5, (5, 5))])
@pytest.mark.parametrize("kernel, stride, inputs", [((12, 9), 5, (3, 4)), ((40,), 20, (5,)), ((4, 6, 5), 3, (2, 3, 2))])
def test_large_kernels(kernel, stride, inputs, groups, channels, kind, target):
    check(strided_gradient(kernel, stride, inputs, kind, groups=groups, channels=channels), target)


@pytest.mark.parametrize("kind, groups", [("data_gradient", 1), ("data_gradient", 4), ("weight_gradient", 4)])
@pytest.mark.parametrize(
    "kernel, stride, inputs", [((64, 64), 32, (6, 7)), ((4096,), 2048, (20,)), ((16, 16, 16), 8, (3, 4, 3))]
)
def test_tables_of_large_kernels_are_as_large_as_what_rows_see(kernel, stride, inputs, kind, groups):
    """Not as all taps of all rows: the first of these would take 0.9 GB, were they looked at one by one."""
    target = host_target()
    c = strided_gradient(kernel, stride, inputs, kind, groups=groups, channels=(4, 4))
    tracemalloc.start()
    try:
        (call,) = schedule_contraction(with_plan(c, plan_contraction(c, target)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    n_rows = np.prod(c.window.in_extents)
    assert sum(w.data.nbytes for w in call.words if isinstance(w, Table)) < 100 * n_rows
    assert peak < 1.2e8 < np.prod(kernel) * n_rows


def test_tables_are_given_back(monkeypatch):
    """Images of many sizes: what is kept for the next one has a bound in bytes, not in number."""
    target, limit = host_target(), 1 << 20
    for kind, kept in (("forward", tile_tables.cache), ("weight_gradient", pixel_tables.cache)):
        kept.clear()
        monkeypatch.setattr(kept, "limit", limit)
        for extent in range(30, 50):
            c = contraction(kind, inputs=(extent, 2 * extent), kernel=(7, 7), pad=(3, 3), dilate=(2, 1))
            schedule_contraction(with_plan(c, plan_contraction(c, target)))
            assert kept.weight <= limit
        assert 0 < len(kept) < 20


WIDE = dict(batch=1, inputs=(400, 301), kernel=(400, 300), pad=(0, 0))
LONG_SUMS = {
    "one run": (contraction("forward", 3, (200_000, 2), **MATRIX), 200_000),
    "one run of a data gradient": (contraction("data_gradient", 3, (2, 200_000), **MATRIX), 200_000),
    "many runs": (contraction(channels=(4, 4), groups=2, **WIDE), 240_000),
    "depthwise": (contraction(channels=(3, 3), groups=3, **WIDE), 120_000),
    "pixels": (contraction("weight_gradient", 200_000, (2, 3), **MATRIX), 200_000),
    "depthwise pixels": (
        contraction("weight_gradient", 1, (3, 3), groups=3, inputs=(400, 501), kernel=(1, 2), pad=(0, 0)),
        200_000,
    ),
}


@pytest.mark.parametrize("case", LONG_SUMS)
def test_long_sums_round_little(case):
    """One accumulator for all of these products would be off by 1e-3."""
    (c, n), target = LONG_SUMS[case], host_target()
    made = planned(c, target)
    memory = {}
    for b in made.buffers:
        memory[b.name] = Memory.of(b, np.full(b.shape, 0.1 if b.name == c.lhs else 1.0, b.dtype))
    (call,) = schedule_contraction(made)
    run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
    np.testing.assert_allclose(memory[c.stores[0].buffer].view(), n * np.float32(0.1), rtol=1e-5)


def test_a_long_sum_that_is_infinite_stays_so():
    """Totals remember what they rounded away, and inf - inf would be NaN."""
    made = planned(contraction("forward", 1, (20_000, 2), **MATRIX), host_target())
    x = np.ones((1, 20_000), "float32")
    x[0, 5_000] = np.inf
    memory = {b.name: Memory.of(b, x if b.name == made.lhs else np.ones(b.shape, b.dtype)) for b in made.buffers}
    (call,) = schedule_contraction(made)
    run(call, memory, host_target(), list(range(call.launch.n_chunks)), call.launch.n_chunks)
    assert np.isposinf(memory["y"].view()).all()


def test_usual_sums_are_not_cut():
    target = host_target()
    (call,) = schedule_contraction(planned(contraction("forward", 3, (8192, 20), **MATRIX), target))
    assert "in parts" not in call.code.structure
    (call,) = schedule_contraction(planned(contraction("forward", 3, (8193, 20), **MATRIX), target))
    assert "in parts" in call.code.structure
