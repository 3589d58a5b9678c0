"""Kernels of templates against what their routines mean: odd sizes, guard zones, every split into chunks."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from symc.codegen.cpu.routines import schedule_template
from symc.codegen.cpu.target import host_target
from symc.codegen.kernel import Ref, float_bits
from symc.codegen.routines.body import Compiler
from symc.codegen.routines.table import body_of
from symc.core.errors import CodegenError, GraphError
from symc.loopir.ctc import CtcForward, CtcOccupation
from symc.loopir.entropy import Divergences
from symc.loopir.factorize import Cholesky, Eigen, Lq, Lu, TriangularSolve
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Template, verify
from symc.loopir.matching import Match, Suppress
from symc.loopir.multibox import AssignAnchors, Detect
from symc.loopir.roi import RoiAlign, RoiMax, RoiMean, RotatedAlign
from symc.loopir.routine import Routine, even_parts
from symc.loopir.scan import Scan
from symc.loopir.sorting import SELECTED, Sort
from symc.loopir.variates import Variate
from tests.codegen.kernels import run_call
from tests.codegen.lines import awkward
from tests.codegen.nests import GUARD

rng = np.random.default_rng(3)


def template_of(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]]) -> Template:
    """The routine over buffers in0, in1, ..., out0, ..., scratch0, ..."""
    shapes = [a.shape for a in ins]
    buffers = [
        *(Buffer.dense(f"in{k}", a.shape, str(a.dtype)) for k, a in enumerate(ins)),
        *(Buffer.dense(f"out{k}", shape, dtype) for k, (shape, dtype) in enumerate(outs)),
        *(Buffer.dense(f"scratch{k}", shape, dtype) for k, (shape, dtype) in enumerate(routine.scratch(shapes))),
    ]
    names = [tuple(b.name for b in buffers if b.name.startswith(kind)) for kind in ("in", "out", "scratch")]
    return Template(routine, *names, tuple(buffers))


def check(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]], exact: bool = True) -> None:
    """The compiled kernel gives what the interpreter gives, whatever the split, and writes nowhere else."""
    template = template_of(routine, ins, outs)
    verify(template)
    want = {b.name: np.zeros(b.shape, b.dtype) for b in template.buffers}
    want.update((f"in{k}", a) for k, a in enumerate(ins))
    interpret(template, want)
    call = schedule_template(template, host_target())
    for n_chunks in {1, call.launch.n_chunks}:
        raw = {b.name: np.full(b.size_bytes + 2 * GUARD, 0xA5, "uint8") for b in template.buffers}
        for k, a in enumerate(ins):
            raw[f"in{k}"][GUARD:-GUARD] = np.ascontiguousarray(a).view("uint8").ravel()
        before = {name: memory.copy() for name, memory in raw.items()}
        run_call(call, host_target(), {name: memory.ctypes.data + GUARD for name, memory in raw.items()}, n_chunks)
        for b in template.buffers:
            memory = raw[b.name]
            assert (memory[:GUARD] == 0xA5).all(), f"{b.name}: written before its start"
            assert (memory[-GUARD:] == 0xA5).all(), f"{b.name}: written behind its end"
            if b.name.startswith("in"):
                assert np.array_equal(memory, before[b.name]), f"{b.name} was changed"
            if b.name.startswith("out"):
                got = memory[GUARD:-GUARD].view(b.dtype).reshape(b.shape)
                np.testing.assert_allclose(got, want[b.name], rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)


# The dtype decides how keys are made, not how many are kept: two of them stand for all where not all are.
@pytest.mark.parametrize(
    "dtype, n_kept",
    [
        pytest.param(dtype, n_kept, marks=[pytest.mark.slow] * (n_kept is not None and dtype in others))
        for others in [("float16", "float64", "uint8", "int32", "int64")]
        for dtype in ("float32", "int8", *others)
        for n_kept in (1, 5, None)
    ],
)
@pytest.mark.parametrize("is_ascending", [True, False])
def test_sort(dtype: str, n_kept: int | None, is_ascending: bool) -> None:
    for shape, axis in (((3, 33), 1), ((1, 1), 1), ((2, 17, 3), 1), ((130, 2), 0), ((2, 16), 1)):
        kept = min(n_kept or shape[axis], shape[axis])
        out = (*shape[:axis], kept, *shape[axis + 1 :])
        check(Sort(axis, kept, is_ascending), [awkward(shape, dtype)], [(out, "int32")])


def test_a_long_line_is_sorted_like_numpy_does() -> None:
    data = rng.normal(size=(2, 5000)).astype("float32")
    check(Sort(1, 5000, True), [data], [(data.shape, "int32")])
    for n_kept in (SELECTED + 1, 300):
        check(Sort(1, n_kept, False), [data], [((2, n_kept), "int32")])


@pytest.mark.parametrize("is_ascending", [True, False])
def test_few_of_a_long_line(is_ascending: bool) -> None:
    """Also where every element is better than all before it, and where many are equal."""
    n, n_kept = 2000, SELECTED + 4
    ramp = np.arange(3 * n, dtype="int64").reshape(n, 3)
    for data in (ramp, -ramp, awkward((n, 3), "float32"), np.full((n, 3), np.iinfo("int64").max)):
        check(Sort(0, n_kept, is_ascending), [data], [((n_kept, 3), "int32")])


@pytest.mark.parametrize("value", [np.iinfo("int64").min, np.iinfo("int64").max])
def test_extreme_integers_are_ordered(value: int) -> None:
    data = np.array([[0, value, -1, value, 1]], "int64")
    for is_ascending in (True, False):
        check(Sort(1, 5, is_ascending), [data], [((1, 5), "int32")])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "int64"])
def test_scan(dtype: str) -> None:
    for shape, axis in (((3, 33), 1), ((1, 1), 0), ((2, 7, 5), 1), ((600, 33), 0)):
        check(Scan(axis), [rng.integers(-3, 4, shape).astype(dtype)], [(shape, dtype)])


@pytest.mark.parametrize("n, n_bins", [(1, 1), (9, 9), (41, 7), (201, 8), (401, 15)])
@pytest.mark.parametrize("largest", [0, 1, 50])
def test_divergences(n: int, n_bins: int, largest: int) -> None:
    hist = rng.integers(0, largest + 1, n).astype("float32") * rng.integers(0, 2, n)
    check(Divergences(n_bins), [hist.astype("float32")], [((n // 2 + 1 - n_bins // 2,), "float32")], exact=False)


def regions(n: int, n_images: int, dtype: str) -> np.ndarray:
    """Regions inside, outside, inside out, and of an image that does not exist."""
    corners = rng.uniform(-4, 12, (n, 4))
    return np.concatenate([rng.integers(-1, n_images + 1, (n, 1)), corners], 1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_region_maximum(dtype: str) -> None:
    for shape, bins in (((2, 3, 7, 9), (2, 3)), ((1, 1, 1, 1), (1, 1)), ((2, 33, 5, 6), (4, 1))):
        data, rois = rng.normal(size=shape).astype(dtype), regions(7, shape[0], dtype)
        out = (7, shape[1], *bins)
        check(RoiMax(bins, 0.75), [data, rois], [(out, dtype), (out, "int32")])


@pytest.mark.parametrize("sample_ratio", [-1, 2])
@pytest.mark.parametrize("by_position", [True, False])
@pytest.mark.parametrize("is_adjoint", [True, False])
@pytest.mark.parametrize("is_aligned", [True, False])
def test_region_mean(sample_ratio: int, by_position: bool, is_adjoint: bool, is_aligned: bool) -> None:
    shape, bins = (2, 12, 7, 9), (2, 3)
    channels = 2 if by_position else 12
    routine = RoiAlign(shape, channels, bins, 0.5, sample_ratio, by_position, is_aligned, is_adjoint)
    pooled = (5, channels, *bins)
    source, out = (pooled, shape) if is_adjoint else (shape, pooled)
    data = rng.normal(size=source).astype("float32")
    check(routine, [data, regions(5, 2, "float32")], [(out, "float32")], exact=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_adjoint", [True, False])
def test_region_mean_by_position(dtype: str, is_adjoint: bool) -> None:
    for shape, channels, bins, groups in (((2, 12, 7, 9), 3, 3, 2), ((1, 1, 1, 1), 1, 1, 1), ((2, 34, 5, 6), 33, 2, 1)):
        pooled = (7, channels, bins, bins)
        source, out = (pooled, shape) if is_adjoint else (shape, pooled)
        ins = [rng.normal(size=source).astype(dtype), regions(7, shape[0], dtype)]
        check(RoiMean(shape, channels, bins, groups, 0.75, is_adjoint), ins, [(out, dtype)], exact=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sample_ratio", [-1, 2])
def test_region_mean_turned(dtype: str, sample_ratio: int) -> None:
    for shape, bins in (((2, 3, 7, 9), (2, 3)), ((1, 33, 1, 1), (1, 1))):
        image, place = rng.integers(-1, shape[0] + 1, (9, 1)), rng.uniform(-9, 20, (9, 2))
        rois = np.concatenate([image, place, rng.uniform(0, 9, (9, 2)), rng.uniform(-180, 180, (9, 1))], 1).astype(
            dtype
        )
        data = rng.normal(size=shape).astype(dtype)
        check(RotatedAlign(bins, 0.5, sample_ratio), [data, rois], [((9, shape[1], *bins), dtype)], exact=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_factorisations(n: int, dtype: str) -> None:
    shape = (3, n, n)
    a = rng.normal(size=shape).astype(dtype)
    definite = a @ a.swapaxes(1, 2) + np.eye(n, dtype=dtype)
    check(Cholesky(), [definite], [(shape, dtype)], exact=False)
    check(Lu(), [a], [(shape, dtype), ((3, n), "int32"), ((3, 1), dtype)], exact=False)
    wide = rng.normal(size=(3, n, n + 4)).astype(dtype)
    check(Lq(), [wide], [(wide.shape, dtype), (shape, dtype)], exact=False)
    check(Eigen(), [a], [(shape, dtype), ((3, n), dtype)], exact=False)
    for is_transposed in (True, False):
        for is_unit in (True, False):
            b = rng.normal(size=(3, n, 5)).astype(dtype)
            check(TriangularSolve(is_transposed, is_unit), [definite / n, b], [(b.shape, dtype)], exact=False)


def test_matrices_without_factors_give_numbers_that_show_it() -> None:
    singular = np.array([[[0.0, 1], [0, 2]], [[0, 0], [0, 0]]])
    check(Lu(), [singular], [(singular.shape, "float64"), ((2, 2), "int32"), ((2, 1), "float64")])


def test_equal_routines_share_their_code_whatever_the_extents() -> None:
    calls = [
        schedule_template(
            template_of(Sort(1, n, True), [np.zeros((3, n), "float32")], [((3, n), "int32")]), host_target()
        )
        for n in (40, 50)
    ]
    assert calls[0].code.name == calls[1].code.name
    assert calls[0].words != calls[1].words
    assert "merge_kernel" in calls[0].code.source
    assert calls[0].schedule == "3 lines of 40, 40 kept, 1 chunks"


def test_parts_depend_on_the_work_alone() -> None:
    assert even_parts(1, 10**9) == 1
    assert even_parts(10**6, 10**6) == 64
    assert even_parts(100, 1) == 1


def test_a_template_prints_its_routine_and_buffers() -> None:
    template = template_of(Scan(0), [np.zeros((2, 3), "float32")], [((2, 3), "float32")])
    assert template.text() == (
        "template Scan(axis=0): in0 -> out0\n  in0: float32[2, 3] strides (3, 1)\n  out0: float32[2, 3] strides (3, 1)"
    )


def in_python(dtype: str) -> Callable[[int], np.ndarray]:
    """An address -> all that lies behind it, for as long as a small test can need it."""
    pointer = ctypes.POINTER(np.ctypeslib.as_ctypes_type("uint8" if dtype == "bool" else dtype))
    return lambda address: np.ctypeslib.as_array(ctypes.cast(int(address), pointer), (10_000,))


PYTHON = Compiler(lambda function: function, in_python, lambda desc: desc.view("float64"))


@pytest.mark.parametrize(
    "routine, ins, outs",
    [
        (Scan(1), [np.arange(21.0, dtype="float32").reshape(3, 7)], [((3, 7), "float32")]),
        (Sort(1, 2, True), [np.array([[3, 1, 2, 1]], "int32")], [((1, 2), "int32")]),
        (Sort(0, 40, False), [np.arange(80.0).reshape(40, 2) % 7], [((40, 2), "int32")]),
        (Lu(), [np.array([[[1.0, 2], [3, 4]]])], [((1, 2, 2), "float64"), ((1, 2), "int32"), ((1, 1), "float64")]),
        (
            Match(2, 2, False, 0.3, -1),
            [np.array([[0.5, 0.1, 0.9, 0.4]]), np.array([[2, 0, 3, 1]], "int32")],
            [((1, 2), "float64"), ((1, 2), "float64")],
        ),
        (
            Detect(0.3, 2, True),
            [np.array([[[0.0, -1, 1], [0.5, 0.9, 0.7], [0, 1, 2], [0, 1, 0], [3, 3, 4], [3, 3, 4]]])],
            [((1, 3, 6), "float64")],
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else type(value).__name__,
)
def test_another_compiler_makes_the_same_kernels(routine: Routine, ins: list, outs: list) -> None:
    """The bodies need nothing but what their compiler gives them: here it is Python itself."""
    template = template_of(routine, ins, outs)
    body = body_of(template)
    arrays = {b.name: np.zeros(b.shape, b.dtype) for b in template.buffers}
    want = {name: array.copy() for name, array in arrays.items()}
    for values in (arrays, want):
        values.update((f"in{k}", a) for k, a in enumerate(ins))
    interpret(template, want)
    slots = {name: k for k, name in enumerate(arrays)}
    words: list[int] = []
    for word in body.descriptor().words:
        is_buffer = isinstance(word, Ref)
        words += [slots[word.buffer], 0] if is_buffer else [float_bits(word) if isinstance(word, float) else word]
    bufs = np.array([array.ctypes.data for array in arrays.values()])
    for chunk in range(template.n_parts):
        body.make(PYTHON, *body.options)(chunk, template.n_parts, np.array(words), bufs)
    for name in template.outs:
        np.testing.assert_array_equal(arrays[name], want[name])


@dataclass(frozen=True)
class Unknown(Routine):
    """A routine that no backend knows."""


def test_a_routine_without_kernel_is_refused() -> None:
    template = template_of(Unknown(), [np.zeros(2, "float32")], [((2,), "float32")])
    with pytest.raises(CodegenError, match="no kernel for routine Unknown"):
        schedule_template(template, host_target())


def test_the_verifier_wants_dense_known_buffers_and_leaves_operands_alone() -> None:
    x, y = Buffer.dense("x", (2, 3), "float32"), Buffer.dense("y", (2, 3), "float32")
    with pytest.raises(GraphError, match="unknown buffer 'z'"):
        verify(Template(Scan(0), ("x",), ("z",), (), (x, y)))
    with pytest.raises(GraphError, match="an operand is overwritten"):
        verify(Template(Scan(0), ("x",), ("x",), (), (x, y)))
    with pytest.raises(GraphError, match="buffer 'y' must be dense"):
        verify(Template(Scan(0), ("x",), ("y",), (), (x, Buffer("y", (2, 3), "float32", (1, 2)))))


@pytest.mark.parametrize("family", ["gamma", "poisson"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variates(family: str, dtype: str) -> None:
    parameters = np.array([0.2, 1.0, 9.9, 10.1, 300.0, 0.0, -1.0, np.inf, np.nan], dtype)
    for block in ((), (33,), (2, 40)):
        keys = rng.integers(-(2**63), 2**63 - 1, (9, *block))
        check(Variate(family), [keys, parameters], [((9, *block), dtype)], exact=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_ascending, limit", [(False, -1), (True, -1), (False, 1)])
def test_matching(dtype: str, is_ascending: bool, limit: int) -> None:
    for n_matrices, n, m in ((1, 1, 1), (3, 4, 7), (150, 7, 5)):
        scores = rng.normal(size=(n_matrices, n * m)).astype(dtype)
        order = np.argsort(scores if is_ascending else -scores, 1).astype("int32")
        outs = [((n_matrices, n), dtype), ((n_matrices, m), dtype)]
        check(Match(n, m, is_ascending, 0.3, limit), [scores, order], outs)


@pytest.mark.parametrize("is_centred", [False, True])
@pytest.mark.parametrize(
    "class_at, is_class_blind, dtype",
    [
        (-1, False, "float32"),
        (5, False, "float32"),
        (5, True, "float32"),
        (5, True, "float64"),
        pytest.param(-1, False, "float64", marks=pytest.mark.slow),
        pytest.param(5, False, "float64", marks=pytest.mark.slow),
    ],
)
def test_suppress(dtype: str, is_centred: bool, class_at: int, is_class_blind: bool) -> None:
    for n_batches, n_boxes, n_kept, limit in ((1, 1, 1, 1), (3, 17, 17, 9), (40, 12, 7, 12)):
        boxes = rng.uniform(0, 3, (n_batches, n_boxes, 6)).astype(dtype)
        order = np.argsort(-boxes[..., 4], 1).astype("int32")[:, :n_kept]
        for most, reach in ((n_kept, 0.0), (3, 0.25)):
            routine = Suppress(0.25, 0.4, limit, most, 0, 4, class_at, 1, is_class_blind, is_centred, reach)
            check(routine, [boxes, order], [((n_batches, n_boxes), "int32")])


def unit_boxes(*shape: int) -> np.ndarray:
    """Corners (*shape, 4) inside the unit square."""
    start = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([start, start + rng.uniform(0.05, 0.3, start.shape)], -1)


@pytest.mark.parametrize(
    "share, limit, is_class_blind, dtype",
    [
        (0.3, -1, False, "float32"),
        (0.3, 5, True, "float32"),
        (0.3, 5, True, "float64"),
        (0.0, -1, False, "float32"),
        pytest.param(0.3, -1, False, "float64", marks=pytest.mark.slow),
        pytest.param(0.0, -1, False, "float64", marks=pytest.mark.slow),
    ],
)
def test_detect(dtype: str, share: float, limit: int, is_class_blind: bool) -> None:
    for n_images, n in ((1, 1), (3, 40), (130, 9)):
        classes, scores = rng.integers(-1, 3, (n_images, 1, n)), rng.integers(0, 9, (n_images, 1, n))
        rows = np.concatenate([classes, scores, unit_boxes(n_images, n).swapaxes(1, 2)], 1).astype(dtype)
        check(Detect(share, limit, is_class_blind), [rows], [((n_images, n, 6), dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold, ratio, most", [(0.3, -1.0, 0.5), (-1.0, 1.5, 0.4), (0.2, 2.0, 1.0)])
def test_assign_anchors(dtype: str, threshold: float, ratio: float, most: float) -> None:
    for n_images, n, m, width in ((1, 1, 1, 5), (40, 17, 4, 6)):
        objects = np.concatenate([unit_boxes(n_images, m), np.zeros((n_images, m, width - 4))], -1)[
            ..., [-1, *range(width - 1)]
        ]
        objects[np.arange(n_images), rng.integers(0, m + 1, n_images) % m, 0] = rng.integers(-1, 1, n_images)
        background = rng.integers(0, 5, (n_images, n)).astype(dtype)
        anchors = unit_boxes(n).astype(dtype)
        check(
            AssignAnchors(threshold, ratio, most),
            [anchors, objects.astype(dtype), background],
            [((n_images, n), "int32")],
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("blank, drops_blanks", [(0, False), (2, False), (0, True)])
def test_ctc(dtype: str, blank: int, drops_blanks: bool) -> None:
    for n_steps, n, n_classes, n_labels in ((1, 1, 3, 1), (9, 3, 3, 4), (6, 70, 5, 2)):
        logs = np.log(rng.dirichlet(np.ones(n_classes), (n_steps, n))).astype(dtype)
        logs[:, 0, 1] = -np.inf
        labels = rng.integers(-2, n_classes + 2, (n, n_labels)).astype("int32")
        lengths, label_lengths = (rng.integers(0, most + 1, n).astype("int32") for most in (n_steps, n_labels))
        alphas = np.zeros((n, n_steps, 2 * n_labels + 1))
        costs, steps = np.zeros(n, dtype), np.zeros(n, "int32")
        ins, outs = [logs, labels, lengths, label_lengths], [costs, alphas, steps]
        forward = CtcForward(blank, drops_blanks)
        check(forward, ins, [(a.shape, str(a.dtype)) for a in outs], exact=False)
        forward.run(ins, outs)
        back = [logs, labels, label_lengths, alphas, steps]
        check(CtcOccupation(blank, drops_blanks), back, [(logs.shape, dtype)], exact=False)
