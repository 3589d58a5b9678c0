"""Kernels of routines on a simulated GPU: the CPU's results, to the bit, and that they touch nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symc.codegen.cpu.routines import schedule_template as schedule_on_cpu
from symc.codegen.cpu.target import host_target
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.routines import block, schedule_template, scratch_of, suppress
from symc.loopir.kernel import Buffer, Template, verify
from symc.loopir.matching import Match, Suppress
from symc.loopir.multibox import AssignAnchors, Detect
from symc.loopir.routine import Routine
from symc.loopir.scan import Scan
from symc.loopir.sorting import Sort
from symc.testing.ptx.faults import KernelFault
from tests.codegen.kernels import run_call
from tests.codegen.lines import awkward

from . import simulate
from .packages import needs_compiler

pytestmark = needs_compiler
GUARD = 256
rng = np.random.default_rng(3)


def template_of(
    routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]], scratch: Any = scratch_of
) -> Template:
    """The routine over buffers in0, in1, ..., out0, ..., scratch0, ..."""
    given = [Buffer.dense(f"in{k}", a.shape, str(a.dtype)) for k, a in enumerate(ins)]
    made = [Buffer.dense(f"out{k}", shape, dtype) for k, (shape, dtype) in enumerate(outs)]
    used = [Buffer.dense(f"scratch{k}", *found) for k, found in enumerate(scratch(routine, given))]
    names = [tuple(b.name for b in part) for part in (given, made, used)]
    return Template(routine, *names, (*given, *made, *used))


def by_cpu(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    """What the CPU's kernel makes of the same arrays."""
    template = template_of(routine, ins, outs, lambda routine, given: routine.scratch([b.shape for b in given]))
    arrays = {b.name: np.zeros(b.shape, b.dtype) for b in template.buffers}
    arrays.update((f"in{k}", np.ascontiguousarray(a)) for k, a in enumerate(ins))
    call = schedule_on_cpu(template, host_target())
    run_call(call, host_target(), {name: a.ctypes.data for name, a in arrays.items()}, call.launch.n_chunks)
    return arrays


def check(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]], tolerance: float = 0):
    """Runs a routine and compares all of memory with what the CPU gives; its calls."""
    template = template_of(routine, ins, outs)
    verify(template)
    want = by_cpu(routine, ins, outs)
    calls = schedule_template(template)
    raw = {b.name: np.full(b.size_bytes + 2 * GUARD, 0xA5, "uint8") for b in template.buffers}
    for k, a in enumerate(ins):
        raw[f"in{k}"][GUARD:-GUARD] = np.ascontiguousarray(a).view("uint8").ravel()
    before = {name: memory.copy() for name, memory in raw.items()}
    simulate.run_calls(calls, {name: memory[GUARD:] for name, memory in raw.items()})
    for b in template.buffers:
        memory = raw[b.name]
        assert (memory[:GUARD] == 0xA5).all() and (memory[-GUARD:] == 0xA5).all(), f"{b.name}: written outside"
        if b.name in template.ins:
            assert np.array_equal(memory, before[b.name]), f"{b.name} was changed"
        if b.name in template.outs:
            got = memory[GUARD:-GUARD].view(b.dtype).reshape(b.shape)
            np.testing.assert_allclose(got, want[b.name], rtol=tolerance, atol=tolerance)
    return calls


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("is_ascending", [True, False])
def test_sort(dtype: str, is_ascending: bool) -> None:
    for shape, axis in (((3, 33), 1), ((2, 300, 3), 1)):
        for kept in (2, shape[axis]):
            out = (*shape[:axis], kept, *shape[axis + 1 :])
            check(Sort(axis, kept, is_ascending), [awkward(shape, dtype)], [(out, "int32")])


@pytest.mark.parametrize("n", [1, 2, 31, 32, 127, 1000, 2048])
def test_lines_that_a_block_sorts(n: int) -> None:
    (call,) = check(Sort(1, n, False), [awkward((2, n), "float32")], [((2, n), "int32")])
    assert "a block for each" in call.schedule and call.launch.n_blocks == 2


@pytest.mark.parametrize("dtype, n", [("float32", 2049), ("int64", 5000), ("float32", 9001)])
@pytest.mark.parametrize("n_kept", [1, 300, None])
def test_long_lines_are_merged_from_tiles(dtype: str, n: int, n_kept: int | None) -> None:
    for data in (awkward((2, n), dtype), rng.normal(size=(1, n)).astype(dtype)):
        calls = check(Sort(1, n_kept or n, True), [data], [((len(data), n_kept or n), "int32")])
        assert len(calls) == 1 + max(0, -(-n // 2048) - 1).bit_length()


@pytest.mark.parametrize("value", [np.iinfo("int64").min, np.iinfo("int64").max])
def test_extreme_integers_are_ordered(value: int) -> None:
    data = np.array([[0, value, -1, value, 1]], "int64")
    for is_ascending in (True, False):
        check(Sort(1, 5, is_ascending), [data], [((1, 5), "int32")])


SOME_BOXES = rng.uniform(0, 3, (2, 150, 5)).astype("float32")
IN_ORDER = np.argsort(-SOME_BOXES[..., 4], 1).astype("int32")


@pytest.mark.parametrize(
    "routine, ins, out, n_barriers",
    [
        (Sort(1, 300, True), [awkward((2, 300), "float32")], ((2, 300), "int32"), 3),
        (Scan(1), [rng.integers(0, 9, (2, 5000))], ((2, 5000), "int64"), 10),
        (Suppress(0.2, 0.4, -1, 99, 0, 4, -1, 1, True, False, 0.0), [SOME_BOXES, IN_ORDER], ((2, 150), "int32"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Routine) else "",
)
def test_a_barrier_that_is_missing_is_a_race(
    monkeypatch: pytest.MonkeyPatch, routine: Routine, ins: list[np.ndarray], out: tuple, n_barriers: int
) -> None:
    monkeypatch.setattr(block, "MOST_BLOCKS", 1)  # the block takes one line after the other
    monkeypatch.setattr(suppress, "MOST_THREADS", 64)
    (call,) = check(routine, ins, [out])
    parts = simulate.image_of(call).code.split(b"bar.sync")
    assert len(parts) > n_barriers
    for k in range(1, n_barriers + 1):  # those behind guard device memory, where only blocks are told from each other
        code = b"bar.sync".join(parts[:k]) + b"// " + b"bar.sync".join(parts[k:])
        monkeypatch.setattr(simulate, "image_of", lambda call, *_, code=code: KernelImage(code, call.code.name, 64))
        with pytest.raises(KernelFault, match=r"since (they were last together|the last barrier)|nobody wrote"):
            check(routine, ins, [out])


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int8", "int32", "int64"])
def test_scan(dtype: str) -> None:
    for shape, axis in (((3, 33), 1), ((2, 300, 3), 1), ((1, 4100), 1), ((5, 32), 1), ((32, 300), 0)):
        whole = [rng.integers(0, 4, shape).astype(dtype)]
        (call,) = check(Scan(axis), whole, [(shape, dtype)])
        assert ("a thread for each" in call.schedule) == (shape[axis] == 32)


def test_a_line_that_threads_share_is_added_up_within_the_tolerance_and_with_infinities() -> None:
    data = rng.uniform(size=(2, 5000)).astype("float32")  # of one sign: what cancels out has larger errors
    check(Scan(1), [data], [(data.shape, "float32")], 2e-5)
    data[0, 7], data[1, 3000] = np.inf, np.nan
    check(Scan(1), [data], [(data.shape, "float32")], 2e-5)


@pytest.mark.parametrize("is_centred", [False, True])
@pytest.mark.parametrize(
    "class_at, is_class_blind, dtype",
    [(-1, False, "float32"), (5, False, "float32"), (5, True, "float64")],
)
def test_suppress(dtype: str, is_centred: bool, class_at: int, is_class_blind: bool) -> None:
    for n_images, n_boxes, n_kept, limit in ((1, 1, 1, 1), (3, 2, 2, -1), (2, 31, 31, 20), (2, 100, 70, 70)):
        boxes = rng.uniform(0, 3, (n_images, n_boxes, 6)).astype(dtype)
        boxes[:, ::5, 2:4] += 3  # of which many overlap
        order = np.argsort(-boxes[..., 4], 1).astype("int32")[:, :n_kept]
        boxes[0, ::7, 1], boxes[0, ::9, 4] = np.nan, np.nan
        for most, reach in ((n_kept, 0.0), (3, 0.25)):
            routine = Suppress(0.25, 0.4, limit, most, 0, 4, class_at, 1, is_class_blind, is_centred, reach)
            check(routine, [boxes, order], [((n_images, n_boxes), "int32")])


def test_many_boxes_of_an_image() -> None:
    corners = rng.uniform(0, 9, (1, 2100, 2))
    sizes, scores = rng.uniform(0.1, 4, (1, 2100, 2)), rng.integers(0, 50, (1, 2100, 1))
    boxes = np.concatenate([corners, corners + sizes, scores], -1).astype("float32")
    order = np.argsort(-boxes[..., 4], 1, kind="stable").astype("int32")
    routine = Suppress(0.3, 1.5, -1, 2100, 0, 4, -1, -1, True, False, 0.0)
    (call,) = check(routine, [boxes, order], [((1, 2100), "int32")])
    assert call.launch[:2] == (1, 512) and "a block for each image" in call.schedule


def unit_boxes(*shape: int) -> np.ndarray:
    """Corners (*shape, 4) inside the unit square."""
    start = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([start, start + rng.uniform(0.05, 0.3, start.shape)], -1)


@pytest.mark.parametrize(
    "share, limit, is_class_blind, dtype",
    [(0.3, -1, False, "float32"), (0.3, 50, True, "float32"), (0.3, 5, True, "float64"), (0.0, -1, False, "float32")],
)
def test_detect(dtype: str, share: float, limit: int, is_class_blind: bool) -> None:
    for n_images, n in ((1, 1), (2, 33), (2, 700)):
        classes, scores = rng.integers(-1, 3, (n_images, 1, n)), rng.integers(0, 9, (n_images, 1, n))
        rows = np.concatenate([classes, scores, unit_boxes(n_images, n).swapaxes(1, 2)], 1).astype(dtype)
        rows[:, 1, ::11], rows[0, 3, ::13] = np.nan, np.nan
        rows[-1, 0] = -1 if n == 33 else rows[-1, 0]
        (call,) = check(Detect(share, limit, is_class_blind), [rows], [((n_images, n, 6), dtype)])
        assert "a block for each" in call.schedule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_ascending, limit", [(False, -1), (True, -1), (False, 1)])
def test_matching(dtype: str, is_ascending: bool, limit: int) -> None:
    for n_matrices, n, m in ((1, 1, 1), (3, 4, 7), (2, 70, 11)):
        scores = rng.normal(size=(n_matrices, n * m)).astype(dtype)
        order = np.argsort(scores if is_ascending else -scores, 1, kind="stable").astype("int32")
        outs = [((n_matrices, n), dtype), ((n_matrices, m), dtype)]
        for threshold in (0.3, 9 if is_ascending else -9):
            check(Match(n, m, is_ascending, threshold, limit), [scores, order], outs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold, ratio, most", [(0.3, -1.0, 0.5), (-1.0, 1.5, 0.4), (0.2, 2.0, 1.0)])
def test_assign_anchors(dtype: str, threshold: float, ratio: float, most: float) -> None:
    for n_images, n, m, width in ((1, 1, 1, 5), (3, 17, 4, 6), (4, 300, 5, 5)):
        boxes = unit_boxes(n_images, m)
        boxes[:, ::2] = boxes[:, :1] + rng.uniform(0, 0.01, boxes[:, ::2].shape)  # they want the same anchors
        boxes[0, -1, 1] = np.nan
        others = np.zeros((n_images, m, width - 5))
        objects = np.concatenate([rng.integers(0, 3, (n_images, m, 1)), boxes, others], -1)
        objects[-1, :, 0] = -1 if n_images > 1 else 0
        objects[0, -1:, 0] = -1 if n == 17 else 0
        background = rng.integers(0, 5, (n_images, n)).astype(dtype)
        anchors = unit_boxes(n).astype(dtype)
        anchors[::9] = anchors[0]
        routine = AssignAnchors(threshold, ratio, most)
        check(routine, [anchors, objects.astype(dtype), background], [((n_images, n), "int32")])
