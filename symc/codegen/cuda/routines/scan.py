"""Running sums: a thread for each of many or short lines, else the threads of a block share a line.

These add up eight neighbours each, then each other's totals in pairs, so that floats are added up in another order than
on the CPU (docs/numerics.md); the order is always the same.
"""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from symc.codegen.kernel import KernelCall
from symc.codegen.routines.body import Body
from symc.core.dtypes import is_float
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.routine import Routine, lines_of
from symc.loopir.scan import Scan
from symc.loopir.work import Work

from .block import BlockCompiler, call_of

THREADS, OF_THREAD = 256, 8  # of a block; elements of a thread that come one after the other
MANY_LINES, SHORT = 8192, 32  # lines that keep the machine busy by themselves; elements that a thread adds up as fast


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """None."""
    return ()


def calls(template: Template) -> list[KernelCall]:
    """The one call."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Scan)
    outer, extent, inner = lines_of(data.shape, routine.axis)
    n_lines, work = outer * inner, Work(2 * outer * extent * inner, 2 * data.size_bytes)
    words = {"n_lines": n_lines, "length": extent, "inner": inner}
    if n_lines >= MANY_LINES or extent <= SHORT:
        reason = f"a thread for each of {n_lines} lines of {extent}"
        body = Body(template, "scan", thread_kernel, (data.dtype,), data.dtype, words, reason)
        return [call_of(body, -(-n_lines // THREADS), THREADS, work)]
    reason = f"a block for each of {n_lines} lines of {extent}"
    body = Body(template, "scan", block_kernel, (data.dtype,), data.dtype, words, reason)
    return [call_of(body, n_lines, THREADS, work)]


def thread_kernel(compiler: BlockCompiler, dtype: str) -> Callable[..., None]:
    """Lines by threads, each in its order."""
    cuda, values = compiler.cuda, compiler.elements(dtype)

    def kernel(desc, bufs):
        source, target = values(bufs[desc[0]] + desc[1]), values(bufs[desc[2]] + desc[3])
        n_lines, length, inner = desc[4], desc[5], desc[6]
        line = cuda.grid(1)
        while line < n_lines:
            outer = line // inner
            at = outer * length * inner + line - outer * inner
            stop = at + length * inner
            target[at] = source[at]
            at += inner
            while at < stop:
                target[at] = target[at - inner] + source[at]
                at += inner
            line += cuda.gridsize(1)

    return kernel


def block_kernel(compiler: BlockCompiler, dtype: str) -> Callable[..., None]:
    """Lines by blocks, a piece of THREADS * OF_THREAD elements at a time."""
    cuda, values = compiler.cuda, compiler.elements(dtype)
    total_dtype = dtype if is_float(dtype) else "int64"
    sums, zero = compiler.elements(total_dtype), np.dtype(total_dtype).type(0)
    memory = compiler.shared(2 * THREADS * 8)

    @compiler.jit
    def add_up(totals, thread):
        """Of all threads' totals, the running sums, in place; begins and ends with a barrier."""
        here, there, distance = 0, THREADS, 1
        cuda.syncthreads()
        while distance < THREADS:
            total = totals[here + thread]
            if thread >= distance:
                total = totals[here + thread - distance] + total
            totals[there + thread] = total
            cuda.syncthreads()
            here, there = there, here
            distance *= 2
        return here

    def kernel(desc, bufs):
        source, target = values(bufs[desc[0]] + desc[1]), values(bufs[desc[2]] + desc[3])
        n_lines, length, inner = desc[4], desc[5], desc[6]
        totals, thread = sums(memory()), cuda.threadIdx.x
        line = cuda.blockIdx.x
        while line < n_lines:
            outer = line // inner
            start = outer * length * inner + line - outer * inner
            before, first = zero, 0
            while first < length:
                own = first + thread * OF_THREAD
                stop = min(own + OF_THREAD, length)
                total, k = zero, own
                while k < stop:
                    total += source[start + k * inner]
                    k += 1
                totals[thread] = total
                here = add_up(totals, thread)
                total, k = before, own
                if thread > 0:
                    total = before + totals[here + thread - 1]
                before += totals[here + THREADS - 1]
                while k < stop:
                    total += source[start + k * inner]
                    target[start + k * inner] = total
                    k += 1
                cuda.syncthreads()
                first += THREADS * OF_THREAD
            line += cuda.gridDim.x

    return kernel
