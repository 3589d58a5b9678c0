"""Choosing detections: a block for each image, whose threads share its anchors."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence

from symc.codegen.kernel import KernelCall
from symc.codegen.routines import multibox
from symc.codegen.routines.body import Body
from symc.codegen.routines.matching import FLOATS
from symc.codegen.routines.sort import key_function
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.matching import SIDES
from symc.loopir.multibox import Detect
from symc.loopir.routine import Routine
from symc.loopir.work import Work, work_of

from .block import BlockCompiler, call_of, counting
from .sort import key_dtype, search_steps, sorting
from .suppress import next_left, suppressing, threads_for


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """Of each image, keys of scores and anchors, both twice for sorting; the boxes side by side, best first."""
    (rows,) = ins
    n_images, _, n_anchors = rows.shape
    both = (n_images, 2, n_anchors)
    return (both, key_dtype(rows.dtype)), (both, "int32"), ((n_images, SIDES, n_anchors), rows.dtype)


def calls(template: Template) -> list[KernelCall]:
    """The one call."""
    routine, rows = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Detect)
    n_images, _, n = rows.shape
    body, n_threads = multibox.detect_body(template), threads_for(n)
    own = Body(
        template, "detect", detect_kernel, (*body.options, n_threads), body.structure, body.words,
        f"{body.reason}, a block for each",
    )  # fmt: skip
    n_kept = min(n, routine.limit) if routine.limit > 0 else n
    work = Work(n_images * n * (search_steps(n) + n_kept), work_of(template).size_bytes)
    return [call_of(own, n_images, n_threads, work)]


def detect_kernel(
    compiler: BlockCompiler, dtype: str, is_class_blind: bool, is_sorting: bool, n_threads: int
) -> Callable[..., None]:
    """The anchors with a class, sorted by their scores; every one that is left suppresses those behind it."""
    cuda, floats, number = compiler.cuda, compiler.floats, FLOATS[dtype]
    values, int32s, words = compiler.elements(dtype), compiler.elements("int32"), compiler.elements(key_dtype(dtype))
    item_bytes, key_bytes = ITEM_SIZE[dtype], ITEM_SIZE[key_dtype(dtype)]
    count, find, sort = counting(compiler, n_threads), next_left(compiler), sorting(compiler, n_threads)
    suppress, key_of = suppressing(compiler, dtype, True, n_threads), key_function(compiler, dtype, False)

    def kernel(desc, bufs):
        source, detections = bufs[desc[0]] + desc[1], values(bufs[desc[2]] + desc[3])
        rows, thread = values(source), cuda.threadIdx.x
        n_images, n_anchors, limit, overlap = desc[10], desc[11], desc[12], floats(desc)[13]
        image = cuda.blockIdx.x
        while image < n_images:
            keys = words(bufs[desc[4]] + desc[5] + image * 2 * n_anchors * key_bytes)
            anchors = int32s(bufs[desc[6]] + desc[7] + image * 2 * n_anchors * 4)
            sides = values(bufs[desc[8]] + desc[9] + image * SIDES * n_anchors * item_bytes)
            flags = values(bufs[desc[8]] + desc[9] + (image * SIDES + 6) * n_anchors * item_bytes)
            row = image * 6 * n_anchors
            most, n, first = (limit if limit > 0 else n_anchors), 0, 0
            most = most if is_sorting else 0
            while first < n_anchors:
                anchor, has_class = first + thread, False
                if anchor < n_anchors:
                    has_class = rows[row + anchor] >= 0
                n_before, n_more = count(has_class, thread)
                if has_class:
                    place = n + n_before
                    keys[place], anchors[place] = key_of(source, row + n_anchors + anchor), anchor
                    if place >= most:
                        for side in range(6):
                            detections[row + place * 6 + side] = rows[row + side * n_anchors + anchor]
                        if is_sorting:
                            detections[row + place * 6] = -1
                n += n_more
                first += n_threads
            at = n * 6 + thread
            while at < n_anchors * 6:
                detections[row + at] = -1
                at += n_threads
            n_kept = min(most, n)
            here = sort(keys, anchors, n, n_kept, n_anchors)
            k = thread
            while k < n_kept:
                box, anchor = row + k * 6, row + anchors[here + k]
                for side in range(6):
                    detections[box + side] = rows[anchor + side * n_anchors]
                for side in range(4):
                    sides[side * n_anchors + k] = detections[box + 2 + side]
                width, height = detections[box + 4] - detections[box + 2], detections[box + 5] - detections[box + 3]
                sides[4 * n_anchors + k] = width * height if width >= 0 and height >= 0 else number(0)
                sides[5 * n_anchors + k] = number(0) if is_class_blind else detections[box]
                flags[k] = number(0)
                k += n_threads
            cuda.syncthreads()
            k = 0
            while k < n_kept:
                suppress(sides, n_anchors, n_kept, k, overlap, 0.0, thread)
                cuda.syncthreads()
                k = find(flags, k + 1, n_kept, thread)
                cuda.syncthreads()
            k = thread
            while k < n_kept:
                if flags[k] != 0:
                    detections[row + k * 6] = -1
                k += n_threads
            image += cuda.gridDim.x

    return kernel
