"""numba intrinsics for code below Python: memory by address, atomics, calls through addresses and into libc.

Addresses are int64. Importing this file imports numba: only what is compiled with it may do so.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir

from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I32, I64, declare

_ALIGN_BYTES = 8


def _pointer(b: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return b.inttoptr(address, I64.as_pointer())


def _word(b: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
    return b.gep(_pointer(b, address), (index,))


@intrinsic(result="int64*")
def words(b, address):
    """The int64 words at an address, to be indexed: `words(address)[i]`."""
    return _pointer(b, address)


@intrinsic(result="int64")
def address_of(b, desc):
    """The address of int64 words: the inverse of `words`."""
    return b.ptrtoint(desc, I64)


@intrinsic(result="int64")
def load(b, address, index):
    """Atomic `words(address)[index]`, sequentially consistent (an ordinary load on x86, LDAR on ARM)."""
    return b.load_atomic(_word(b, address, index), "seq_cst", _ALIGN_BYTES)


@intrinsic
def store(b, address, index, value):
    """Atomic `words(address)[index] = value`, release: whoever sees it sees all that was written before it."""
    b.store_atomic(value, _word(b, address, index), "release", _ALIGN_BYTES)


@intrinsic(result="int64")
def exchange(b, address, index, value):
    """Atomic store that returns the old value, sequentially consistent."""
    return b.atomic_rmw("xchg", _word(b, address, index), value, "seq_cst")


@intrinsic(result="int64")
def fetch_add(b, address, index, value):
    """Atomic `+=` that returns the old value, sequentially consistent."""
    return b.atomic_rmw("add", _word(b, address, index), value, "seq_cst")


@intrinsic(result="boolean")
def compare_exchange(b, address, index, expected, value):
    """Stores `value` if the word is `expected`; whether it did. Sequentially consistent."""
    outcome = b.cmpxchg(_word(b, address, index), expected, value, "seq_cst", "seq_cst")
    return b.extract_value(outcome, 1)


@intrinsic
def pause(b):
    """Tells the core that this is a spin loop (Zen 4: 32 ns)."""
    if platform.machine() == "x86_64":
        b.call(declare(b.module, "llvm.x86.sse2.pause", ir.VoidType(), ()), ())
    else:  # ARM: `isb sy` takes about as long as x86's pause, `yield` no time at all
        b.call(declare(b.module, "llvm.aarch64.isb", ir.VoidType(), (I32,)), (I32(15),))


@intrinsic
def call_kernel(b, kernel, chunk, n_chunks, descriptor, buffers):
    """Calls the kernel at an address for one chunk."""
    word_pointer = I64.as_pointer()
    kernel_type = ir.FunctionType(ir.VoidType(), (I64, I64, word_pointer, word_pointer))
    function = b.inttoptr(kernel, kernel_type.as_pointer())
    b.call(function, (chunk, n_chunks, _pointer(b, descriptor), _pointer(b, buffers)))


@intrinsic
def call_function(b, function, argument):
    """Calls `void function(ptr)` at an address."""
    function_type = ir.FunctionType(ir.VoidType(), (I64.as_pointer(),))
    b.call(b.inttoptr(function, function_type.as_pointer()), (_pointer(b, argument),))


@intrinsic(result="int64")
def result_of(b, function):
    """What `int64 function()` at an address gives."""
    return b.call(b.inttoptr(function, ir.FunctionType(I64, ()).as_pointer()), ())


def libc(name: str, n_pointers: int) -> Any:
    """An intrinsic that calls `int name(void *, ...)` of libc with addresses and drops the result."""

    def call(b, *addresses):
        function = declare(b.module, name, I32, (I64.as_pointer(),) * n_pointers)
        b.call(function, [_pointer(b, address) for address in addresses])

    return intrinsic(call, arguments=[f"address{k}" for k in range(n_pointers)])


def _clock(linux: int, darwin: int) -> Any:
    """An intrinsic that gives the nanoseconds of a clock, named by its number in the systems' time.h."""

    @intrinsic(result="int64")
    def clock_ns(b):
        clock_gettime = declare(b.module, "clock_gettime", I32, (I32, I64.as_pointer()))
        with b.goto_entry_block():
            timespec = b.alloca(I64, 2)
        b.call(clock_gettime, (I32(darwin if platform.system() == "Darwin" else linux), timespec))
        seconds, nanoseconds = (b.load(b.gep(timespec, (I64(i),))) for i in range(2))
        return b.add(b.mul(seconds, I64(10**9)), nanoseconds)

    return clock_ns


now_ns = _clock(1, 6)  # CLOCK_MONOTONIC
recently_ns = _clock(6, 5)  # the same at the last tick, 1 to 4 ms ago: a quarter of the cost
