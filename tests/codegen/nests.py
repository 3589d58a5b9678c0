"""Runs compiled nests beside the interpreter: strided buffers, guard zones, poisoned outputs, every chunk split."""

from __future__ import annotations

import numpy as np

from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall
from symc.loopir.expr import Axis, Expr, load
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Nest, verify

from .kernels import run_call

GUARD = 256  # bytes around every buffer that must stay as they are


class Memory:
    """One allocation per buffer with guard zones; views follow the buffers' strides."""

    def __init__(self, nest: Nest, values: dict[str, np.ndarray], aliases: dict[str, str]) -> None:
        written = {s.buffer for s in nest.stores if s.mode == "set"}
        self.raw: dict[str, np.ndarray] = {}
        self.views: dict[str, np.ndarray] = {}
        self.items: dict[str, np.ndarray] = {}
        for b in nest.buffers:
            home = aliases.get(b.name, b.name)
            dtype = np.dtype(b.dtype)
            if home not in self.raw:
                reach = b.offset + sum(max(0, (n - 1) * s) for n, s in zip(b.shape, b.strides))
                self.raw[home] = np.full(2 * GUARD + (reach + 1) * dtype.itemsize, 0xA5, "uint8")
            items = self.raw[home][GUARD : len(self.raw[home]) - GUARD].view(dtype)
            byte_strides = [s * dtype.itemsize for s in b.strides]
            self.views[b.name] = np.lib.stride_tricks.as_strided(items[b.offset :], b.shape, byte_strides)
            if b.name in values:
                self.views[b.name][...] = values[b.name]
            elif b.name in written and home == b.name:
                self.views[b.name][...] = np.nan if dtype.kind == "f" else 99 if dtype.kind != "b" else True

    def pointers(self) -> dict[str, int]:
        return {name: raw.ctypes.data + GUARD for name, raw in self.raw.items()}


def assert_nothing_else_changed(nest: Nest, after: Memory, before: Memory) -> None:
    """Outside the buffers' elements (between strided ones, in the guard zones) memory is as it was."""
    for b in nest.buffers:
        after.views[b.name][...] = 0
        before.views[b.name][...] = 0
    for name, raw in after.raw.items():
        np.testing.assert_array_equal(raw, before.raw[name], err_msg=f"outside {name}: {nest.text()}")


def check(
    nest: Nest,
    values: dict[str, np.ndarray],
    target: Target,
    *,
    rtol: float = 2e-6,
    atol: float = 2e-6,
    chunks: tuple[int, ...] = (1, 3),
    aliases: dict[str, str] | None = None,
    kind: str | None = None,
    n_calls: int | None = None,
) -> list[KernelCall]:
    """Runs a nest in every chunk split and compares all of memory with the interpreter's."""
    verify(nest)
    aliases = aliases or {}
    expected = Memory(nest, values, {})
    interpret(nest, expected.views)
    calls = schedule_nest(nest, target)
    assert n_calls is None or len(calls) == n_calls
    assert kind is None or [c.schedule.split(":")[0] for c in calls] == [kind] * len(calls), calls[0].schedule
    for n_chunks in (*chunks, None):
        memory = Memory(nest, values, aliases)
        pointers = memory.pointers()
        pointers |= {name: pointers[home] for name, home in aliases.items()}
        for call in calls:
            run_call(call, target, pointers, n_chunks or call.launch.n_chunks)
        for s in nest.stores:
            np.testing.assert_allclose(
                memory.views[s.buffer].astype("float64"),
                expected.views[s.buffer].astype("float64"),
                rtol,
                atol,
                err_msg=nest.text(),
            )
        assert_nothing_else_changed(nest, memory, Memory(nest, values, aliases))
    return calls


def rand(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + 17 * len(shape) + sum(shape))
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind in "iu":
        return (
            rng.integers(0, 100, shape).astype(dtype) if dtype[0] == "u" else rng.integers(-50, 50, shape).astype(dtype)
        )
    return rng.normal(0, 1, shape).astype(dtype)


def axes(*extents: int) -> tuple[Axis, ...]:
    return tuple(Axis("ijkl"[k], e) for k, e in enumerate(extents))


def f32(name: str, *index: object) -> Expr:
    return load(name, index, "float32")  # type: ignore[arg-type]
