"""Greedy choices: each matrix is a unit, its pairs or boxes are visited in the order given."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symc.loopir.kernel import Template, buffer_of
from symc.loopir.matching import SIDES, Match, Suppress

from .body import Body, Compiler

FLOATS = {"float32": np.float32, "float64": np.float64}


def match_body(template: Template) -> Body:
    """The matching kernel."""
    routine, scores = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Match)
    n_matrices, dtype, is_ascending = scores.shape[0], scores.dtype, routine.is_ascending
    words = {
        "n_matrices": n_matrices, "n_rows": routine.n_rows, "n_columns": routine.n_columns,
        "threshold": routine.threshold, "limit": routine.limit,
    }  # fmt: skip
    reason = f"{n_matrices} matrices of {routine.n_rows} x {routine.n_columns}"
    options = dtype, is_ascending
    return Body(template, "matching", matching_kernel, options, f"{dtype} {is_ascending}", words, reason)


def matching_kernel(compiler: Compiler, dtype: str, is_ascending: bool) -> Callable[..., None]:
    """One walk over the pairs, until one is not good enough."""
    values, int32s, floats = compiler.elements(dtype), compiler.elements("int32"), compiler.floats

    def kernel(chunk, n_chunks, desc, bufs):
        scores = values(bufs[desc[0]] + desc[1])
        order = int32s(bufs[desc[2]] + desc[3])
        columns = values(bufs[desc[4]] + desc[5])
        rows = values(bufs[desc[6]] + desc[7])
        n_matrices, n_rows, n_columns, limit = desc[8], desc[9], desc[10], desc[12]
        threshold = floats(desc)[11]
        size = n_rows * n_columns
        for matrix in range(chunk * n_matrices // n_chunks, (chunk + 1) * n_matrices // n_chunks):
            for row in range(n_rows):
                columns[matrix * n_rows + row] = -1
            for column in range(n_columns):
                rows[matrix * n_columns + column] = -1
            n_matches = 0
            for k in range(matrix * size, (matrix + 1) * size):
                pair = order[k]
                row = pair // n_columns
                column = pair - row * n_columns
                if columns[matrix * n_rows + row] >= 0 or rows[matrix * n_columns + column] >= 0:
                    continue
                score = scores[matrix * size + pair]
                if not (score < threshold if is_ascending else score > threshold):
                    break
                columns[matrix * n_rows + row] = column
                rows[matrix * n_columns + column] = row
                n_matches += 1
                if limit > 0 and n_matches > limit:
                    break

    return kernel


def suppress_body(template: Template) -> Body:
    """The suppressing kernel."""
    routine = template.routine
    boxes, order = (buffer_of(template, name) for name in template.ins)
    assert isinstance(routine, Suppress)
    n_batches, n_boxes, width = boxes.shape
    words = {
        "n_batches": n_batches, "n_boxes": n_boxes, "width": width, "length": order.shape[1], "limit": routine.limit,
        "most": routine.most, "coordinates": routine.coordinates, "score_at": routine.score_at,
        "class_at": routine.class_at, "background": routine.background, "overlap": routine.overlap,
        "valid": routine.valid, "reach": routine.reach,
    }  # fmt: skip
    options = boxes.dtype, routine.class_at >= 0 and not routine.is_class_blind, routine.is_centred
    reason = f"{n_batches} x {order.shape[1]} boxes"
    return Body(template, "suppress", suppress_kernel, options, str(options), words, reason)


def suppressing(compiler: Compiler, dtype: str, is_inclusive: bool) -> Callable[..., Any]:
    """(sides, n, k, overlap, reach): the last of the SIDES becomes 1 for each of n boxes behind the k-th that overlaps
    it by more than `overlap`, or as much (`is_inclusive`).

    The sides lie in rows of n, so that the loop has vectors.
    """
    number = FLOATS[dtype]

    @compiler.jit
    def suppress(sides, n, k, overlap, reach):
        limit, more, zero, one = number(overlap), number(reach), number(0), number(1)
        left, top, right, bottom = sides[k], sides[n + k], sides[2 * n + k], sides[3 * n + k]
        size, kind = sides[4 * n + k], sides[5 * n + k]
        for j in range(k + 1, n):
            width = max(min(right, sides[2 * n + j]) - max(left, sides[j]) + more, zero)
            height = max(min(bottom, sides[3 * n + j]) - max(top, sides[n + j]) + more, zero)
            inner = width * height
            share = inner / (size + sides[4 * n + j] - inner)
            is_over = (share >= limit if is_inclusive else share > limit) & (kind == sides[5 * n + j])
            sides[6 * n + j] = max(sides[6 * n + j], one if is_over else zero)

    return suppress


def putting(compiler: Compiler, is_centred: bool) -> Callable[..., None]:
    """(boxes, at, sides, length, k, reach): the corners and the area of the box that begins there, as the k-th of
    `length` of each side."""

    @compiler.jit
    def put(boxes, at, sides, length, k, reach):
        """A box's corners and area, the k-th of the sides."""
        for axis in range(2):
            first, last = boxes[at + axis], boxes[at + axis + 2]
            sides[axis * length + k] = first - last / 2 if is_centred else first
            sides[(axis + 2) * length + k] = first + last / 2 if is_centred else last
        width = reach + (boxes[at + 2] if is_centred else boxes[at + 2] - boxes[at])
        height = reach + (boxes[at + 3] if is_centred else boxes[at + 3] - boxes[at + 1])
        sides[4 * length + k] = width * height if width >= 0 and height >= 0 else 0

    return put


def suppress_kernel(compiler: Compiler, dtype: str, by_class: bool, is_centred: bool) -> Callable[..., None]:
    """The boxes that take part side by side; every one that is left suppresses those behind it."""
    values, int32s, floats = compiler.elements(dtype), compiler.elements("int32"), compiler.floats
    suppress, put = suppressing(compiler, dtype, False), putting(compiler, is_centred)

    def kernel(chunk, n_chunks, desc, bufs):
        boxes = values(bufs[desc[0]] + desc[1])
        order = int32s(bufs[desc[2]] + desc[3])
        record = int32s(bufs[desc[4]] + desc[5])
        n_batches, n_boxes, width, length, limit, most = desc[10], desc[11], desc[12], desc[13], desc[14], desc[15]
        coordinates, score_at, class_at, background = desc[16], desc[17], desc[18], desc[19]
        overlap, valid, reach = floats(desc)[20], floats(desc)[21], floats(desc)[22]
        address = bufs[desc[6]] + desc[7] + chunk * SIDES * length * 8
        candidates = int32s(bufs[desc[8]] + desc[9] + chunk * length * 4)
        for batch in range(chunk * n_batches // n_chunks, (chunk + 1) * n_batches // n_chunks):
            for k in range(batch * n_boxes, (batch + 1) * n_boxes):
                record[k] = -1
            n = 0
            for k in range(batch * length, (batch + 1) * length):
                row = (batch * n_boxes + order[k]) * width
                if n == limit or not boxes[row + score_at] > valid:
                    continue
                if class_at >= 0 and boxes[row + class_at] == background:
                    continue
                candidates[n] = order[k]
                n += 1
            sides = values(address)
            for k in range(n):
                row = (batch * n_boxes + candidates[k]) * width
                put(boxes, row + coordinates, sides, n, k, reach)
                sides[5 * n + k] = int(boxes[row + class_at]) if by_class else 0
                sides[6 * n + k] = 0
            n_kept = 0
            for k in range(n):
                if sides[6 * n + k] > 0 or n_kept == most:
                    continue
                record[batch * n_boxes + n_kept] = candidates[k]
                n_kept += 1
                suppress(sides, n, k, overlap, reach)

    return kernel
