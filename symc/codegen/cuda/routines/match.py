"""Pairs of a score matrix: the threads of a block look for the next pair that is free, and one takes it."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symc.codegen.cuda.launch import WARP
from symc.codegen.kernel import KernelCall
from symc.codegen.routines import matching
from symc.codegen.routines.body import Body
from symc.core.shapes import FullShape, size_of
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.matching import Match
from symc.loopir.routine import Routine
from symc.loopir.work import Work, work_of

from .block import WHOLE_WARP, BlockCompiler, call_of
from .suppress import threads_for


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """None."""
    return ()


def calls(template: Template) -> list[KernelCall]:
    """The one call."""
    routine, scores = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Match)
    body, n_matrices, n_pairs = matching.match_body(template), scores.shape[0], size_of(scores.shape[1:])
    n_threads = threads_for(n_pairs)
    own = Body(
        template, "matching", matching_kernel, (*body.options, n_threads), body.structure, body.words,
        f"{body.reason}, a block for each",
    )  # fmt: skip
    n_rounds = n_pairs + min(routine.n_rows, routine.n_columns) * n_threads
    return [call_of(own, n_matrices, n_threads, Work(n_matrices * n_rounds, work_of(template).size_bytes))]


def finding(compiler: BlockCompiler, n_threads: int) -> Callable[..., Any]:
    """(flag, thread) -> the first thread of the block that has the flag; n_threads where none has.

    All threads call it, and it ends with a barrier.
    """
    cuda, int32s, memory = compiler.cuda, compiler.elements("int32"), compiler.shared(n_threads // WARP * 4)

    @compiler.jit
    def find(flag, thread):
        of_warps, votes = int32s(memory()), cuda.ballot_sync(WHOLE_WARP, flag)
        if thread & (WARP - 1) == 0:
            of_warps[thread >> 5] = thread + cuda.ffs(votes) - 1 if votes != 0 else n_threads
        cuda.syncthreads()
        first, warp = n_threads, 0
        while warp < n_threads // WARP:
            first = min(first, of_warps[warp])
            warp += 1
        cuda.syncthreads()
        return first

    return find


def matching_kernel(compiler: BlockCompiler, dtype: str, is_ascending: bool, n_threads: int) -> Callable[..., None]:
    """One walk over the pairs in order, until the first free one is not good enough."""
    cuda, floats, find = compiler.cuda, compiler.floats, finding(compiler, n_threads)
    values, int32s = compiler.elements(dtype), compiler.elements("int32")

    def kernel(desc, bufs):
        scores, order = values(bufs[desc[0]] + desc[1]), int32s(bufs[desc[2]] + desc[3])
        columns, rows = values(bufs[desc[4]] + desc[5]), values(bufs[desc[6]] + desc[7])
        n_matrices, n_rows, n_columns, limit = desc[8], desc[9], desc[10], desc[12]
        threshold, thread, size = floats(desc)[11], cuda.threadIdx.x, n_rows * n_columns
        matrix = cuda.blockIdx.x
        while matrix < n_matrices:
            first_row, first_column = matrix * n_rows, matrix * n_columns
            k = thread
            while k < n_rows:
                columns[first_row + k] = -1
                k += n_threads
            k = thread
            while k < n_columns:
                rows[first_column + k] = -1
                k += n_threads
            cuda.syncthreads()
            n_matches, at = 0, 0
            while at < size:
                is_free = False
                if at + thread < size:
                    pair = order[matrix * size + at + thread]
                    row = pair // n_columns
                    is_free = columns[first_row + row] < 0 and rows[first_column + pair - row * n_columns] < 0
                found = find(is_free, thread)
                at += found
                if found == n_threads:
                    continue
                pair = order[matrix * size + at]
                score = scores[matrix * size + pair]
                if not (score < threshold if is_ascending else score > threshold):
                    break
                if thread == 0:
                    row = pair // n_columns
                    columns[first_row + row] = pair - row * n_columns
                    rows[first_column + pair - row * n_columns] = row
                cuda.syncthreads()
                n_matches += 1
                if limit > 0 and n_matches > limit:
                    break
                at += 1
            matrix += cuda.gridDim.x

    return kernel
