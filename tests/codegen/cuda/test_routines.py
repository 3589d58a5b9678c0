"""Kernels of routines on a simulated GPU: the CPU's results, to the bit, and that they touch nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.routines import block, schedule_template, scratch_of
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Template, verify
from symc.loopir.routine import Routine
from symc.loopir.sorting import Sort
from symc.testing.ptx.faults import KernelFault

from . import simulate
from .packages import needs_compiler

pytestmark = needs_compiler
GUARD = 256
rng = np.random.default_rng(3)


def template_of(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]]) -> Template:
    """The routine over buffers in0, in1, ..., out0, ..., scratch0, ..."""
    given = [Buffer.dense(f"in{k}", a.shape, str(a.dtype)) for k, a in enumerate(ins)]
    made = [Buffer.dense(f"out{k}", shape, dtype) for k, (shape, dtype) in enumerate(outs)]
    used = [Buffer.dense(f"scratch{k}", *found) for k, found in enumerate(scratch_of(routine, given))]
    names = [tuple(b.name for b in part) for part in (given, made, used)]
    return Template(routine, *names, (*given, *made, *used))


def check(routine: Routine, ins: list[np.ndarray], outs: list[tuple[tuple[int, ...], str]], tolerance: float = 0):
    """Runs a routine and compares all of memory with the interpreter's; its calls."""
    template = template_of(routine, ins, outs)
    verify(template)
    want = {b.name: np.zeros(b.shape, b.dtype) for b in template.buffers}
    want.update((f"in{k}", a) for k, a in enumerate(ins))
    interpret(template, want)
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


def awkward(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Many ties; in floats also both zeros, infinities and NaN."""
    values = rng.integers(0 if dtype == "uint8" else -9, 10, shape).astype(dtype)
    if dtype.startswith("float"):
        special = rng.integers(0, 12, shape)
        for k, number in enumerate((np.nan, -np.inf, np.inf, -0.0)):
            values[special == k] = number
    return values


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


def test_a_barrier_that_is_missing_is_a_race(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "MOST_BLOCKS", 1)  # the block takes one line after the other
    arguments = Sort(1, 300, True), [awkward((2, 300), "float32")], [((2, 300), "int32")]
    (call,) = check(*arguments)
    parts = simulate.image_of(call).code.split(b"bar.sync")
    assert len(parts) == 4
    for k in range(1, len(parts)):
        code = b"bar.sync".join(parts[:k]) + b"// " + b"bar.sync".join(parts[k:])
        monkeypatch.setattr(simulate, "image_of", lambda call, code=code: KernelImage(code, call.code.name, 64))
        with pytest.raises(KernelFault, match=r"since they were last together|nobody wrote"):
            check(*arguments)
