"""Code of many kernels shares few mappings, is unloaded when nobody needs it, and is never writable and executable."""

from __future__ import annotations

import ctypes
import gc
import math
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu import backend, code_memory
from symc.codegen.cpu.code_memory import Code
from symc.codegen.cpu.compile import compile_function, jit
from symc.codegen.cpu.load import LoadedKernel
from symc.codegen.cpu.target import host_target
from symc.core.errors import CodegenError

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


def mappings() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


@pytest.fixture(scope="module")
def square() -> bytes:
    def kernel(chunk, n_chunks, desc, bufs):
        bufs[0] = desc[0] * desc[0]

    return compile_function(kernel, "kernel", host_target())


def result(kernel: LoadedKernel, value: int) -> int:
    words = np.array([value, 0])
    KERNEL(kernel.address)(0, 1, words.ctypes.data, words[1:].ctypes.data)
    return int(words[1])


def test_many_kernels_share_a_mapping(square):
    LoadedKernel("kernel", square)
    before = len(mappings())
    kernels = [LoadedKernel("kernel", square) for _ in range(500)]
    assert len({k.address for k in kernels}) == 500 and len(mappings()) <= before + 4
    assert all(result(k, 7) == 49 for k in kernels)


def test_memory_of_code_that_is_gone_is_used_again(square):
    seen = set()
    for _ in range(50):
        kernels = [LoadedKernel("kernel", square) for _ in range(20)]
        seen |= {k.address for k in kernels}
        assert all(result(k, 3) == 9 for k in kernels)
        del kernels
    assert len(seen) < 100


def test_pages_come_back_in_any_order():
    region = code_memory._Region(8)
    first, second, third = (region.take(n) for n in (2, 3, 3))
    assert (first, second, third, region.take(1)) == (0, 2, 5, None)
    region.give_back(second, 3)
    region.give_back(first, 2)
    assert region.free == [(0, 5)] and region.take(6) is None
    region.give_back(third, 3)
    assert region.free == [(0, 8)] and region.take(8) == 0


def test_code_larger_than_a_region():
    code = Code(code_memory.REGION_BYTES + 5)
    code.write(b"\xc3" * (code_memory.REGION_BYTES + 5))
    ctypes.CFUNCTYPE(None)(code.address + code_memory.REGION_BYTES + 4)()


def test_nothing_is_writable_and_executable(square):
    kernels = [LoadedKernel("kernel", square) for _ in range(3)]
    found = {}
    for line in mappings():
        span, rights = line.split()[:2]
        begin, end = (int(address, 16) for address in span.split("-"))
        found.update((k.address, rights) for k in kernels if begin <= k.address < end)
    assert [found[k.address] for k in kernels] == ["r-xp"] * 3


def test_functions_of_the_process_are_called(square):
    def kernel(chunk, n_chunks, desc, bufs):
        bufs[0] = int(1000 * math.atan2(desc[0], 2.0))

    kernel = LoadedKernel("kernel", compile_function(jit()(kernel), "kernel", host_target()))
    assert result(kernel, 3) == int(1000 * math.atan2(3, 2))


def test_programs_that_are_gone_take_their_kernels_along():
    def bind(k: int):
        y = x = mx.sym.Variable("x")
        for bit in range(4):
            y = mx.sym.tanh(y) if k >> bit & 1 else mx.sym.square(y)
        ex = (y * x).simple_bind(mx.cpu(), x=(3,))
        ex.forward()
        return ex

    kept = bind(5)
    gc.collect()
    before = set(backend._loaded)
    others = [bind(k) for k in range(6, 9)]
    assert len(set(backend._loaded) - before) == 3
    del others
    gc.collect()
    assert set(backend._loaded) == before
    kept.arg_dict["x"][:] = 1
    np.testing.assert_allclose(kept.forward()[0].asnumpy(), np.tanh(np.tanh(1.0) ** 2) ** 2, rtol=1e-5)


def test_threads_load_run_and_unload(square):
    wrong = []

    def work() -> None:
        for n in range(200):
            kernels = [LoadedKernel("kernel", square) for _ in range(3)]
            wrong.extend(k for k in kernels if result(k, n) != n * n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("call", ["mmap", "mprotect"])
def test_the_system_has_no_more(square, monkeypatch, call):
    class Libc:
        mmap = staticmethod(lambda *_: ctypes.c_void_p(-1).value)
        mprotect = staticmethod(lambda *_: -1)

        def __getattr__(self, name):
            return getattr(ctypes.CDLL(None), name)

    kept = LoadedKernel("kernel", square)
    with monkeypatch.context() as patch:
        libc = Libc()
        if call == "mprotect":
            libc.mmap = code_memory._libc.mmap
        patch.setattr(code_memory, "_libc", libc)
        patch.setattr(code_memory, "_regions", [])
        with pytest.raises(CodegenError, match=r"no memory for machine code .* allows a process \d+ mappings"):
            LoadedKernel("kernel", square)
    assert result(kept, 4) == result(LoadedKernel("kernel", square), 4) == 16


def test_code_of_another_machine(square):
    other = bytearray(square)
    struct.pack_into("<H", other, 0x12, 183)
    with pytest.raises(CodegenError, match="code for machine 183, expected x86-64"):
        LoadedKernel("kernel", bytes(other))
