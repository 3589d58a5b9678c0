"""Boxes that overlap: a block for each image; all threads compare what comes later with each box that is kept.

So the result is the CPU's to the bit: each box is compared with those that are kept before it, in the same arithmetic.
"""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symc.codegen.cuda.launch import WARP
from symc.codegen.kernel import KernelCall
from symc.codegen.routines import matching
from symc.codegen.routines.body import Body
from symc.codegen.routines.matching import FLOATS
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.matching import SIDES, Suppress
from symc.loopir.routine import Routine
from symc.loopir.work import Work, work_of

from .block import WHOLE_WARP, BlockCompiler, call_of, comparing, counting

MOST_THREADS = 512  # of a block: twice as many would have 64 registers each, which are too few


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """The boxes of each image that take part, side by side, and their positions."""
    boxes, order = ins
    n_images, length = order.shape
    return ((n_images, SIDES, length), boxes.dtype), ((n_images, length), "int32")


def calls(template: Template) -> list[KernelCall]:
    """The one call."""
    routine, order = template.routine, buffer_of(template, template.ins[1])
    assert isinstance(routine, Suppress)
    body = matching.suppress_body(template)
    n_images, length = order.shape
    n_threads = threads_for(length)
    own = Body(
        template, "suppress", suppress_kernel, (*body.options, n_threads), body.structure, body.words,
        f"{body.reason}, a block for each image",
    )  # fmt: skip
    n = min(length, routine.limit) if routine.limit >= 0 else length
    work = Work(n_images * n * min(n, routine.most), work_of(template).size_bytes)
    return [call_of(own, n_images, n_threads, work)]


def threads_for(n: int) -> int:
    """Of a block whose threads have n boxes to look at."""
    return min(MOST_THREADS, max(WARP, 1 << max(n - 1, 0).bit_length()))


def suppressing(compiler: BlockCompiler, dtype: str, is_inclusive: bool, n_threads: int) -> Callable[..., Any]:
    """(sides, stride, n, k, overlap, reach, thread): what the CPU's does, by all threads of a block, for those of n
    boxes behind the k-th whose last side is not yet 1; the sides lie in rows of `stride`."""
    number, smaller, larger = FLOATS[dtype], *comparing(compiler)

    @compiler.jit
    def suppress(sides, stride, n, k, overlap, reach, thread):
        limit, more, zero = number(overlap), number(reach), number(0)
        left, top, right, bottom = sides[k], sides[stride + k], sides[2 * stride + k], sides[3 * stride + k]
        size, kind = sides[4 * stride + k], sides[5 * stride + k]
        j = k + 1 + thread
        while j < n:
            width = smaller(right, sides[2 * stride + j]) - larger(left, sides[j]) + more
            height = smaller(bottom, sides[3 * stride + j]) - larger(top, sides[stride + j]) + more
            inner = larger(width, zero) * larger(height, zero)
            share = inner / (size + sides[4 * stride + j] - inner)
            is_over = (share >= limit if is_inclusive else share > limit) & (kind == sides[5 * stride + j])
            if is_over:
                sides[6 * stride + j] = number(1)
            j += n_threads

    return suppress


def next_left(compiler: BlockCompiler) -> Callable[..., Any]:
    """(flags, at, n, thread) -> the first place from `at` on, before n, whose flag is 0; else n or more.

    Every warp looks for itself, at 32 flags at a time.
    """
    cuda = compiler.cuda

    @compiler.jit
    def find(flags, at, n, thread):
        own = at + (thread & (WARP - 1))
        votes = cuda.ballot_sync(WHOLE_WARP, own >= n or flags[own] == 0)
        while votes == 0:
            own += WARP
            votes = cuda.ballot_sync(WHOLE_WARP, own >= n or flags[own] == 0)
        return own - (thread & (WARP - 1)) + cuda.ffs(votes) - 1

    return find


def suppress_kernel(
    compiler: BlockCompiler, dtype: str, by_class: bool, is_centred: bool, n_threads: int
) -> Callable[..., None]:
    """The boxes that take part side by side, in order; every one that is left suppresses those behind it."""
    cuda, floats, item_bytes = compiler.cuda, compiler.floats, ITEM_SIZE[dtype]
    values, int32s, number = compiler.elements(dtype), compiler.elements("int32"), FLOATS[dtype]
    count, find = counting(compiler, n_threads), next_left(compiler)
    suppress, put = suppressing(compiler, dtype, False, n_threads), matching.putting(compiler, is_centred)

    def kernel(desc, bufs):
        boxes, order = values(bufs[desc[0]] + desc[1]), int32s(bufs[desc[2]] + desc[3])
        record, thread = int32s(bufs[desc[4]] + desc[5]), cuda.threadIdx.x
        n_images, n_boxes, width, length, limit, most = desc[10], desc[11], desc[12], desc[13], desc[14], desc[15]
        coordinates, score_at, class_at, background = desc[16], desc[17], desc[18], desc[19]
        overlap, valid, reach = floats(desc)[20], floats(desc)[21], floats(desc)[22]
        image = cuda.blockIdx.x
        while image < n_images:
            sides = values(bufs[desc[6]] + desc[7] + image * SIDES * length * item_bytes)
            flags = values(bufs[desc[6]] + desc[7] + (image * SIDES + 6) * length * item_bytes)
            candidates = int32s(bufs[desc[8]] + desc[9] + image * length * 4)
            k = thread
            while k < n_boxes:
                record[image * n_boxes + k] = -1
                k += n_threads
            n, first = 0, 0
            while first < length:
                k, box, takes_part = first + thread, 0, False
                if k < length:
                    box = order[image * length + k]
                    row = (image * n_boxes + box) * width
                    takes_part = boxes[row + score_at] > valid
                    if class_at >= 0 and boxes[row + class_at] == background:
                        takes_part = False
                n_before, n_more = count(takes_part, thread)
                place = n + n_before
                if takes_part and (limit < 0 or place < limit):
                    row = (image * n_boxes + box) * width
                    candidates[place] = box
                    put(boxes, row + coordinates, sides, length, place, reach)
                    sides[5 * length + place] = int(boxes[row + class_at]) if by_class else 0
                    flags[place] = number(0)
                n += n_more
                first += n_threads
            if 0 <= limit < n:
                n = limit
            cuda.syncthreads()
            n_kept, k = 0, 0
            while k < n and n_kept < most:
                if thread == 0:
                    record[image * n_boxes + n_kept] = candidates[k]
                n_kept += 1
                suppress(sides, length, n, k, overlap, reach, thread)
                cuda.syncthreads()
                k = find(flags, k + 1, n, thread)
                cuda.syncthreads()
            image += cuda.gridDim.x

    return kernel
