"""numba intrinsics for code below Python: memory by address, atomics, calls through addresses and into libc.

Addresses are int64. Importing this file imports numba: only what is compiled with it may do so.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_WORDS = types.CPointer(types.int64)
_ALIGN_BYTES = 8


def _pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, _I64.as_pointer())


def _word(builder: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
    return builder.gep(_pointer(builder, address), (index,))


@intrinsic
def words(typing: Any, address: Any) -> Any:
    """The int64 words at an address, to be indexed: `words(address)[i]`."""
    return _WORDS(types.int64), lambda context, builder, signature, args: _pointer(builder, args[0])


@intrinsic
def address_of(typing: Any, pointer: Any) -> Any:
    """The address of int64 words: the inverse of `words`."""
    return types.int64(_WORDS), lambda context, builder, signature, args: builder.ptrtoint(args[0], _I64)


@intrinsic
def load(typing: Any, address: Any, index: Any) -> Any:
    """Atomic `words(address)[index]`, sequentially consistent (an ordinary load on x86, LDAR on ARM)."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.load_atomic(_word(builder, *args), "seq_cst", _ALIGN_BYTES)

    return types.int64(types.int64, types.int64), emit


@intrinsic
def store(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Atomic `words(address)[index] = value`, release: whoever sees it sees all that was written before it."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        address, index, value = args
        builder.store_atomic(value, _word(builder, address, index), "release", _ALIGN_BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), emit


@intrinsic
def exchange(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Atomic store that returns the old value, sequentially consistent."""
    return types.int64(types.int64, types.int64, types.int64), _read_modify_write("xchg")


@intrinsic
def fetch_add(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Atomic `+=` that returns the old value, sequentially consistent."""
    return types.int64(types.int64, types.int64, types.int64), _read_modify_write("add")


@intrinsic
def compare_exchange(typing: Any, address: Any, index: Any, expected: Any, value: Any) -> Any:
    """Stores `value` if the word is `expected`; whether it did. Sequentially consistent."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        address, index, expected, value = args
        outcome = builder.cmpxchg(_word(builder, address, index), expected, value, "seq_cst", "seq_cst")
        return builder.extract_value(outcome, 1)

    return types.boolean(types.int64, types.int64, types.int64, types.int64), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Tells the core that this is a spin loop (Zen 4: 32 ns)."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        if platform.machine() == "x86_64":
            builder.call(_declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), ()), ())
        else:  # ARM: `isb sy` takes about as long as x86's pause, `yield` no time at all
            builder.call(_declare(builder, "llvm.aarch64.isb", ir.VoidType(), (_I32,)), (_I32(15),))
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def call_kernel(typing: Any, kernel: Any, chunk: Any, n_chunks: Any, desc: Any, bufs: Any) -> Any:
    """Calls the kernel at an address for one chunk."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        kernel, chunk, n_chunks, desc, bufs = args
        word_pointer = _I64.as_pointer()
        kernel_type = ir.FunctionType(ir.VoidType(), (_I64, _I64, word_pointer, word_pointer))
        builder.call(
            builder.inttoptr(kernel, kernel_type.as_pointer()),
            (chunk, n_chunks, _pointer(builder, desc), _pointer(builder, bufs)),
        )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), emit


@intrinsic
def call_function(typing: Any, function: Any, argument: Any) -> Any:
    """Calls `void function(ptr)` at an address."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        function_type = ir.FunctionType(ir.VoidType(), (_I64.as_pointer(),))
        builder.call(builder.inttoptr(args[0], function_type.as_pointer()), (_pointer(builder, args[1]),))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), emit


def libc(name: str, n_pointers: int) -> Any:
    """An intrinsic that calls `int name(void *, ...)` of libc with addresses and drops the result."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        function = _declare(builder, name, _I32, (_I64.as_pointer(),) * n_pointers)
        builder.call(function, [_pointer(builder, address) for address in args])
        return context.get_dummy_value()

    signature = types.void(*[types.int64] * n_pointers)
    takes = {
        0: lambda typing: (signature, emit),
        1: lambda typing, first: (signature, emit),
        2: lambda typing, first, second: (signature, emit),
    }
    return intrinsic(takes[n_pointers])


def _clock(linux: int, darwin: int) -> Any:
    """An intrinsic that gives the nanoseconds of a clock, named by its number in the systems' time.h."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        clock_gettime = _declare(builder, "clock_gettime", _I32, (_I32, _I64.as_pointer()))
        with builder.goto_entry_block():
            timespec = builder.alloca(_I64, 2)
        builder.call(clock_gettime, (_I32(darwin if platform.system() == "Darwin" else linux), timespec))
        seconds, nanoseconds = (builder.load(builder.gep(timespec, (_I64(i),))) for i in range(2))
        return builder.add(builder.mul(seconds, _I64(10**9)), nanoseconds)

    return intrinsic(lambda typing: (types.int64(), emit))


now_ns = _clock(1, 6)  # CLOCK_MONOTONIC
recently_ns = _clock(6, 5)  # the same at the last tick, 1 to 4 ms ago: a quarter of the cost


def _read_modify_write(operation: str) -> Any:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        address, index, value = args
        return builder.atomic_rmw(operation, _word(builder, address, index), value, "seq_cst")

    return emit


def _declare(builder: ir.IRBuilder, name: str, result: ir.Type, args: tuple[ir.Type, ...]) -> ir.Function:
    declared = builder.module.globals.get(name)
    return declared or ir.Function(builder.module, ir.FunctionType(result, args), name)
