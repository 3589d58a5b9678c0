"""Assigning anchors to objects: a block for each image, whose threads share its anchors."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symc.codegen.kernel import KernelCall
from symc.codegen.routines import multibox
from symc.codegen.routines.body import Body
from symc.codegen.routines.matching import FLOATS
from symc.codegen.routines.sort import key_function
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template, buffer_of
from symc.loopir.multibox import IGNORED, LEAST_OVERLAP, NEGATIVE, AssignAnchors
from symc.loopir.routine import Routine
from symc.loopir.work import Work, work_of

from .block import BlockCompiler, call_of, comparing, counting
from .sort import key_dtype, search_steps, sorting
from .suppress import threads_for


def scratch(routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
    """Of each image and each anchor and object the best overlap, and with which; keys and anchors of negative samples,
    both twice for sorting."""
    anchors, objects, _ = ins
    n_images, n = objects.shape[0], anchors.shape[0]
    best, both = (n_images, n + objects.shape[1]), (n_images, 2, n)
    return (best, anchors.dtype), (best, "int32"), (both, key_dtype(anchors.dtype)), (both, "int32")


def calls(template: Template) -> list[KernelCall]:
    """The one call."""
    assert isinstance(template.routine, AssignAnchors)
    anchors, objects = (buffer_of(template, name) for name in template.ins[:2])
    n_images, n, m = objects.shape[0], anchors.shape[0], objects.shape[1]
    body, n_threads = multibox.assign_body(template), threads_for(n)
    own = Body(
        template, "anchors", assign_kernel, (*body.options, n_threads), body.structure, body.words,
        f"{body.reason}, a block for each",
    )  # fmt: skip
    work = Work(n_images * n * (m + search_steps(n)), work_of(template).size_bytes)
    return [call_of(own, n_images, n_threads, work)]


def best_of_block(compiler: BlockCompiler, dtype: str, n_threads: int) -> Callable[..., Any]:
    """(share, anchor, thread) -> the largest share of all threads and its anchor, the first one where equal.

    All threads call it, and it ends with a barrier.
    """
    cuda, values, int32s = compiler.cuda, compiler.elements(dtype), compiler.elements("int32")
    item_bytes = ITEM_SIZE[dtype]
    memory = compiler.shared(n_threads * (item_bytes + 4))

    @compiler.jit
    def best(share, anchor, thread):
        address = memory()
        shares, anchors = values(address), int32s(address + n_threads * item_bytes)
        shares[thread], anchors[thread] = share, anchor
        cuda.syncthreads()
        distance = n_threads // 2
        while distance > 0:
            other = thread + distance
            if thread < distance and (
                shares[other] > shares[thread] or (shares[other] == shares[thread] and anchors[other] < anchors[thread])
            ):
                shares[thread], anchors[thread] = shares[other], anchors[other]
            cuda.syncthreads()
            distance //= 2
        share, anchor = shares[0], anchors[0]
        cuda.syncthreads()
        return share, anchor

    return best


def overlapping(compiler: BlockCompiler, dtype: str) -> Callable[..., Any]:
    """(anchors, anchor, objects, box) -> intersection over union of two boxes; 0 without union."""
    number, smaller, larger = FLOATS[dtype], *comparing(compiler)

    @compiler.jit
    def area(boxes, at):
        width, height = boxes[at + 2] - boxes[at], boxes[at + 3] - boxes[at + 1]
        return width * height if width >= 0 and height >= 0 else number(0)

    @compiler.jit
    def overlap(anchors, anchor, objects, box):
        width = smaller(anchors[anchor + 2], objects[box + 2]) - larger(anchors[anchor], objects[box])
        height = smaller(anchors[anchor + 3], objects[box + 3]) - larger(anchors[anchor + 1], objects[box + 1])
        inner = larger(width, number(0)) * larger(height, number(0))
        union = area(anchors, anchor) + area(objects, box) - inner
        return inner / union if union != 0 else number(0)

    return overlap


def best_pair(compiler: BlockCompiler) -> Callable[..., Any]:
    """(overlaps, partners, first, n) -> of the n objects from `first` on the one with the best pair, the first anchor's
    where equal; -1 where none is left."""

    @compiler.jit
    def best(overlaps, partners, first, n):
        found, k = -1, first
        while k < first + n:
            if partners[k] >= 0:
                is_tie = found >= 0 and overlaps[k] == overlaps[found]
                if found < 0 or overlaps[k] > overlaps[found] or (is_tie and partners[k] < partners[found]):
                    found = k
            k += 1
        return found

    return best


def assign_kernel(compiler: BlockCompiler, dtype: str, n_threads: int) -> Callable[..., None]:
    """As the CPU's: the best of each anchor and of each object, the best pairs one by one, then all other anchors."""
    cuda, floats, number = compiler.cuda, compiler.floats, FLOATS[dtype]
    values, int32s, words = compiler.elements(dtype), compiler.elements("int32"), compiler.elements(key_dtype(dtype))
    item_bytes, key_bytes = ITEM_SIZE[dtype], ITEM_SIZE[key_dtype(dtype)]
    overlap_of, pair, best = (
        overlapping(compiler, dtype),
        best_pair(compiler),
        best_of_block(compiler, dtype, n_threads),
    )
    count, sort = counting(compiler, n_threads), sorting(compiler, n_threads)
    key_of = key_function(compiler, dtype, True)

    @compiler.jit
    def best_free(anchors, n_anchors, objects, box, matches, match, thread):
        """The best overlap of an object with an anchor that has none, and which."""
        share, anchor, a = number(LEAST_OVERLAP), -1, thread
        while a < n_anchors:
            other = overlap_of(anchors, a * 4, objects, box)
            if matches[match + a] < 0 and other > share:
                share, anchor = other, a
            a += n_threads
        return best(share, anchor, thread)

    def kernel(desc, bufs):
        anchors, objects = values(bufs[desc[0]] + desc[1]), values(bufs[desc[2]] + desc[3])
        background, matches = bufs[desc[4]] + desc[5], int32s(bufs[desc[6]] + desc[7])
        n_images, n_anchors, most_objects, width = desc[16], desc[17], desc[18], desc[19]
        threshold, ratio, most, thread = floats(desc)[20], floats(desc)[21], floats(desc)[22], cuda.threadIdx.x
        image = cuda.blockIdx.x
        while image < n_images:
            overlaps = values(bufs[desc[8]] + desc[9] + image * (n_anchors + most_objects) * item_bytes)
            partners = int32s(bufs[desc[10]] + desc[11] + image * (n_anchors + most_objects) * 4)
            keys = words(bufs[desc[12]] + desc[13] + image * 2 * n_anchors * key_bytes)
            candidates = int32s(bufs[desc[14]] + desc[15] + image * 2 * n_anchors * 4)
            match, box, n_objects = image * n_anchors, image * most_objects * width, 0
            while n_objects < most_objects and objects[box + n_objects * width] != -1:
                n_objects += 1
            a = thread
            while a < n_anchors:
                matches[match + a] = IGNORED
                share, partner, k = number(-1), -1, 0
                while k < n_objects:
                    other = overlap_of(anchors, a * 4, objects, box + k * width + 1)
                    if other > share:
                        share, partner = other, k
                    k += 1
                overlaps[a], partners[a] = share, partner
                a += n_threads
            k = 0
            while k < n_objects:
                share, anchor = best_free(anchors, n_anchors, objects, box + k * width + 1, matches, match, thread)
                if thread == 0:
                    overlaps[n_anchors + k], partners[n_anchors + k] = share, anchor
                k += 1
            cuda.syncthreads()
            n_positive, found = 0, pair(overlaps, partners, n_anchors, n_objects)
            while found >= 0:
                taken = partners[found]
                cuda.syncthreads()
                if thread == 0:
                    matches[match + taken] = found - n_anchors
                    partners[found] = -1
                n_positive += 1
                cuda.syncthreads()
                k = 0
                while k < n_objects:
                    if partners[n_anchors + k] == taken:
                        at = box + k * width + 1
                        share, anchor = best_free(anchors, n_anchors, objects, at, matches, match, thread)
                        if thread == 0:
                            overlaps[n_anchors + k], partners[n_anchors + k] = share, anchor
                    k += 1
                cuda.syncthreads()
                found = pair(overlaps, partners, n_anchors, n_objects)
            n_candidates, first = 0, 0
            while first < n_anchors and n_objects > 0:
                a, is_positive, is_candidate = first + thread, False, False
                if a < n_anchors and matches[match + a] < 0:
                    is_positive = threshold > 0 and overlaps[a] > threshold
                    is_candidate = not is_positive and ratio > 0 and overlaps[a] < most
                    if is_positive:
                        matches[match + a] = partners[a]
                    elif ratio <= 0:
                        matches[match + a] = NEGATIVE
                _, n_more = count(is_positive, thread)
                n_positive += n_more
                n_before, n_more = count(is_candidate, thread)
                if is_candidate:
                    candidates[n_candidates + n_before] = a
                    keys[n_candidates + n_before] = key_of(background, match + a)
                n_candidates += n_more
                first += n_threads
            n_negative = min(int(n_positive * ratio), n_candidates) if ratio > 0 else 0
            if n_negative > 0:
                here = sort(keys, candidates, n_candidates, n_negative, n_anchors)
                k = thread
                while k < n_negative:
                    matches[match + candidates[here + k]] = NEGATIVE
                    k += n_threads
            image += cuda.gridDim.x

    return kernel
