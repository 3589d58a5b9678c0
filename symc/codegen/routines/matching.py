"""Greedy choices: each matrix is a unit, its pairs or boxes are visited in the order given."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable

from symc.loopir.kernel import Template, buffer_of
from symc.loopir.matching import Match, Suppress

from .body import Body, Compiler


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
    routine, boxes = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Suppress)
    n_batches, n_boxes, width = boxes.shape
    words = {
        "n_batches": n_batches, "n_boxes": n_boxes, "width": width, "limit": routine.limit,
        "coordinates": routine.coordinates, "score_at": routine.score_at, "class_at": routine.class_at,
        "background": routine.background, "overlap": routine.overlap, "valid": routine.valid,
    }  # fmt: skip
    options = boxes.dtype, routine.class_at >= 0 and not routine.is_class_blind, routine.is_centred
    reason = f"{n_batches} x {n_boxes} boxes"
    return Body(template, "suppress", suppress_kernel, options, str(options), words, reason)


def suppress_kernel(compiler: Compiler, dtype: str, by_class: bool, is_centred: bool) -> Callable[..., None]:
    """Every box against those kept before it, whose positions are the result itself."""
    values, int32s, floats = compiler.elements(dtype), compiler.elements("int32"), compiler.floats

    @compiler.jit
    def start(boxes, at, axis):
        return boxes[at + axis] - boxes[at + axis + 2] / 2 if is_centred else boxes[at + axis]

    @compiler.jit
    def end(boxes, at, axis):
        return boxes[at + axis] + boxes[at + axis + 2] / 2 if is_centred else boxes[at + axis + 2]

    @compiler.jit
    def area(boxes, at):
        width = boxes[at + 2] if is_centred else boxes[at + 2] - boxes[at]
        height = boxes[at + 3] if is_centred else boxes[at + 3] - boxes[at + 1]
        return width * height if width >= 0 and height >= 0 else width * 0

    @compiler.jit
    def shared(boxes, one, other, axis):
        first = max(start(boxes, one, axis), start(boxes, other, axis))
        length = min(end(boxes, one, axis), end(boxes, other, axis)) - first
        return length if length > 0 else length * 0

    def kernel(chunk, n_chunks, desc, bufs):
        boxes = values(bufs[desc[0]] + desc[1])
        order = int32s(bufs[desc[2]] + desc[3])
        record = int32s(bufs[desc[4]] + desc[5])
        n_batches, n_boxes, width, limit = desc[6], desc[7], desc[8], desc[9]
        coordinates, score_at, class_at, background = desc[10], desc[11], desc[12], desc[13]
        overlap, valid = floats(desc)[14], floats(desc)[15]
        for batch in range(chunk * n_batches // n_chunks, (chunk + 1) * n_batches // n_chunks):
            first = batch * n_boxes
            n_seen = 0
            n_kept = 0
            for k in range(n_boxes):
                record[first + k] = -1
            for k in range(n_boxes):
                box = order[first + k]
                row = (first + box) * width
                if not boxes[row + score_at] > valid:
                    continue
                if class_at >= 0 and boxes[row + class_at] == background:
                    continue
                n_seen += 1
                if n_seen > limit:
                    break
                at = row + coordinates
                is_kept = True
                for j in range(n_kept):
                    other = (first + record[first + j]) * width
                    if by_class and int(boxes[other + class_at]) != int(boxes[row + class_at]):
                        continue
                    better = other + coordinates
                    inner = shared(boxes, at, better, 0) * shared(boxes, at, better, 1)
                    if inner / (area(boxes, at) + area(boxes, better) - inner) > overlap:
                        is_kept = False
                        break
                if is_kept:
                    record[first + n_kept] = box
                    n_kept += 1

    return kernel
