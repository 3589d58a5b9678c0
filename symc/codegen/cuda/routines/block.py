"""Kernels of routines whose threads work together: how they are compiled and launched, and what they have in common."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from symc.codegen.cuda.launch import MOST_BLOCKS, WARP, Grid, bounded
from symc.codegen.kernel import KernelCall, KernelCode, Share
from symc.codegen.routines.body import Body, Compiler
from symc.loopir.work import Work

WHOLE_WARP = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class BlockCompiler(Compiler):
    """What such a kernel, `kernel(desc, bufs)`, uses besides what every body does: all threads of all blocks run it.

    cuda     numba.cuda: numbers of threads and blocks, barriers, votes
    shared   bytes -> function without arguments that gives the address of so much memory of the block; to be called
             at one place
    """

    cuda: Any
    shared: Callable[[int], Callable[[], Any]]


def call_of(body: Body, n_blocks: int, n_threads: int, work: Work, title: str = "") -> KernelCall:
    """The launch of a kernel by blocks, as far as there are that many; each takes every n-th of the units.

    work    steps of the innermost loops of all threads together, and bytes
    title   of a call that does not compute the routine's results, see Share
    """
    template, grid = body.template, Grid(max(1, min(n_blocks, MOST_BLOCKS)), n_threads)

    def build() -> Callable[..., None]:
        from symc.codegen.cuda.compile import cuda
        from symc.codegen.routines.access import elements, floats

        compiler = BlockCompiler(cuda().jit(device=True), elements, floats(), cuda(), _shared)
        return bounded(body.make(compiler, *body.options), n_threads)

    structure = f"gpu block of {n_threads} {body.make.__name__} {body.structure}"
    code = KernelCode(body.family, structure, body.text, build)
    share = Share(title, work, template.ins, template.written)
    return KernelCall(code, tuple(body.descriptor().words), grid, body.reason, share)


def comparing(compiler: Compiler) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The smaller and the larger of two floats, as Python and so the CPU's kernels say for NaN; numba.cuda's own prefer
    the one that is a number."""

    @compiler.jit
    def smaller(x, y):
        return y if y < x else x

    @compiler.jit
    def larger(x, y):
        return y if y > x else x

    return smaller, larger


def counting(compiler: BlockCompiler, n_threads: int) -> Callable[..., Any]:
    """(flag, thread) -> how many threads of the block before this one have the flag, and how many do at all.

    All threads call it, and it ends with a barrier.
    """
    cuda, int32s, memory = compiler.cuda, compiler.elements("int32"), compiler.shared(n_threads // WARP * 4)

    @compiler.jit
    def count(flag, thread):
        of_warps, votes = int32s(memory()), cuda.ballot_sync(WHOLE_WARP, flag)
        lane, warp = thread & (WARP - 1), thread >> 5
        if lane == 0:
            of_warps[warp] = cuda.popc(votes)
        cuda.syncthreads()
        n_before, n_all, other = cuda.popc(votes & ((1 << lane) - 1)), 0, 0
        while other < n_threads // WARP:
            n = of_warps[other]
            n_all += n
            if other < warp:
                n_before += n
            other += 1
        cuda.syncthreads()
        return n_before, n_all

    return count


def _shared(size_bytes: int) -> Callable[[], Any]:
    from llvmlite import ir

    from symc.codegen.cuda.ptx import shared_memory
    from symc.codegen.llvm.intrinsic import intrinsic
    from symc.codegen.llvm.lanes import I8, I64

    @intrinsic(result="int64")
    def memory(b: ir.IRBuilder) -> ir.Value:
        return b.ptrtoint(b.addrspacecast(shared_memory(b, size_bytes), I8.as_pointer()), I64)

    return memory
