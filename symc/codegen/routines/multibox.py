"""Single-shot detectors: every image is a unit, its anchors are detections to choose from or samples to assign."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable

from symc.loopir.kernel import Template, buffer_of
from symc.loopir.matching import SIDES
from symc.loopir.multibox import IGNORED, LEAST_OVERLAP, NEGATIVE, AssignAnchors, Detect

from .body import Body, Compiler
from .matching import FLOATS, suppressing
from .sort import key_function, sorting


def detect_body(template: Template) -> Body:
    """The kernel that chooses detections."""
    routine, rows = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Detect)
    n_images, _, n_anchors = rows.shape
    words = {"n_images": n_images, "n_anchors": n_anchors, "limit": routine.limit, "overlap": routine.overlap}
    options = rows.dtype, routine.is_class_blind, routine.is_sorting
    reason = f"{n_images} images of {n_anchors} anchors"
    return Body(template, "detect", detect_kernel, options, str(options), words, reason)


def detect_kernel(compiler: Compiler, dtype: str, is_class_blind: bool, is_sorting: bool) -> Callable[..., None]:
    """The anchors with a class, sorted by their scores; every one that is left suppresses those behind it."""
    values, int32s, words = compiler.elements(dtype), compiler.elements("int32"), compiler.elements("int64")
    floats, suppress, in_order = compiler.floats, suppressing(compiler, dtype, True), sorting(compiler)
    key_of = key_function(compiler, dtype, False)

    def kernel(chunk, n_chunks, desc, bufs):
        source, keys = bufs[desc[0]] + desc[1], words(bufs[desc[4]] + desc[5] + chunk * desc[11] * 8)
        rows, detections = values(source), values(bufs[desc[2]] + desc[3])
        n_images, n_anchors, limit = desc[10], desc[11], desc[12]
        overlap = floats(desc)[13]
        positions = bufs[desc[6]] + desc[7] + chunk * 3 * n_anchors * 4
        valid = int32s(positions)
        sides = values(bufs[desc[8]] + desc[9] + chunk * SIDES * n_anchors * 8)
        for image in range(chunk * n_images // n_chunks, (chunk + 1) * n_images // n_chunks):
            first = image * 6 * n_anchors
            n = 0
            for anchor in range(n_anchors):
                if rows[first + anchor] >= 0:
                    valid[n] = anchor
                    n += 1
            for at in range(first + n * 6, first + n_anchors * 6):
                detections[at] = -1
            n_kept = min(limit, n) if limit > 0 else n
            n_kept = n_kept if is_sorting else 0
            for k in range(n_kept, n):
                for side in range(6):
                    detections[first + k * 6 + side] = rows[first + side * n_anchors + valid[k]]
                if is_sorting:
                    detections[first + k * 6] = -1
            if not is_sorting:
                continue
            for k in range(n):
                keys[k] = key_of(source, first + n_anchors + valid[k])
            best = in_order(keys, int32s(positions + n_anchors * 4), int32s(positions + n_anchors * 8), n)
            for k in range(n_kept):
                row, anchor = first + k * 6, first + valid[best[k]]
                for side in range(6):
                    detections[row + side] = rows[anchor + side * n_anchors]
                for side in range(4):
                    sides[side * n_kept + k] = detections[row + 2 + side]
                width = detections[row + 4] - detections[row + 2]
                height = detections[row + 5] - detections[row + 3]
                for side in range(4, 7):
                    sides[side * n_kept + k] = 0
                if width >= 0 and height >= 0:
                    sides[4 * n_kept + k] = width * height
                if not is_class_blind:
                    sides[5 * n_kept + k] = detections[row]
            for k in range(n_kept):
                if sides[6 * n_kept + k] > 0:
                    detections[first + k * 6] = -1
                else:
                    suppress(sides, n_kept, k, overlap, 0.0)

    return kernel


def assign_body(template: Template) -> Body:
    """The kernel that assigns anchors."""
    routine = template.routine
    anchors, objects, _ = (buffer_of(template, name) for name in template.ins)
    assert isinstance(routine, AssignAnchors)
    n_images, n_objects, width = objects.shape
    words = {
        "n_images": n_images, "n_anchors": anchors.shape[0], "n_objects": n_objects, "width": width,
        "threshold": routine.threshold, "ratio": routine.ratio, "most": routine.most,
    }  # fmt: skip
    reason = f"{n_images} images of {anchors.shape[0]} anchors, {n_objects} objects"
    return Body(template, "anchors", assign_kernel, (anchors.dtype,), anchors.dtype, words, reason)


def assign_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """One sweep over all pairs finds the best of each anchor and of each object; only an object whose anchor was
    taken by another one looks for a new one."""
    values, int32s, words = compiler.elements(dtype), compiler.elements("int32"), compiler.elements("int64")
    floats, in_order, number = compiler.floats, sorting(compiler), FLOATS[dtype]
    key_of = key_function(compiler, dtype, True)

    @compiler.jit
    def area(boxes, at):
        width, height = boxes[at + 2] - boxes[at], boxes[at + 3] - boxes[at + 1]
        return width * height if width >= 0 and height >= 0 else number(0)

    @compiler.jit
    def overlap_of(anchors, anchor, objects, box):
        """Intersection over union; 0 without union."""
        width = min(anchors[anchor + 2], objects[box + 2]) - max(anchors[anchor], objects[box])
        height = min(anchors[anchor + 3], objects[box + 3]) - max(anchors[anchor + 1], objects[box + 1])
        inner = max(width, number(0)) * max(height, number(0))
        union = area(anchors, anchor) + area(objects, box) - inner
        return inner / union if union != 0 else number(0)

    @compiler.jit
    def best_pair(overlaps, partners, n_anchors, n_objects):
        """Of the objects that are left the one with the best pair, the first anchor's where equal; -1 for none."""
        found = -1
        for k in range(n_anchors, n_anchors + n_objects):
            if partners[k] < 0:
                continue
            is_tie = found >= 0 and overlaps[k] == overlaps[found]
            if found < 0 or overlaps[k] > overlaps[found] or (is_tie and partners[k] < partners[found]):
                found = k
        return found

    def kernel(chunk, n_chunks, desc, bufs):
        anchors = values(bufs[desc[0]] + desc[1])
        objects = values(bufs[desc[2]] + desc[3])
        background = bufs[desc[4]] + desc[5]
        matches = int32s(bufs[desc[6]] + desc[7])
        n_images, n_anchors, width = desc[16], desc[17], desc[19]
        threshold, ratio, most = floats(desc)[20], floats(desc)[21], floats(desc)[22]
        overlaps = values(bufs[desc[8]] + desc[9] + chunk * (n_anchors + desc[18]) * 8)
        partners = int32s(bufs[desc[10]] + desc[11] + chunk * (n_anchors + desc[18]) * 4)
        keys = words(bufs[desc[12]] + desc[13] + chunk * n_anchors * 8)
        positions = bufs[desc[14]] + desc[15] + chunk * 3 * n_anchors * 4
        candidates = int32s(positions)
        for image in range(chunk * n_images // n_chunks, (chunk + 1) * n_images // n_chunks):
            match = image * n_anchors
            first = image * desc[18] * width
            n_objects = 0
            while n_objects < desc[18] and objects[first + n_objects * width] != -1:
                n_objects += 1
            for k in range(n_objects):
                overlaps[n_anchors + k] = LEAST_OVERLAP
                partners[n_anchors + k] = -1
            for a in range(n_anchors):
                matches[match + a] = IGNORED
                overlaps[a] = -1
                partners[a] = -1
                for k in range(n_objects):
                    share = overlap_of(anchors, a * 4, objects, first + k * width + 1)
                    if share > overlaps[a]:
                        overlaps[a] = share
                        partners[a] = k
                    if share > overlaps[n_anchors + k]:
                        overlaps[n_anchors + k] = share
                        partners[n_anchors + k] = a
            if n_objects == 0:
                continue
            n_positive = 0
            found = best_pair(overlaps, partners, n_anchors, n_objects)
            while found >= 0:
                taken = partners[found]
                matches[match + taken] = found - n_anchors
                n_positive += 1
                partners[found] = -1
                for k in range(n_objects):
                    if partners[n_anchors + k] != taken:
                        continue
                    overlaps[n_anchors + k] = LEAST_OVERLAP
                    partners[n_anchors + k] = -1
                    for a in range(n_anchors):
                        share = overlap_of(anchors, a * 4, objects, first + k * width + 1)
                        if matches[match + a] < 0 and share > overlaps[n_anchors + k]:
                            overlaps[n_anchors + k] = share
                            partners[n_anchors + k] = a
                found = best_pair(overlaps, partners, n_anchors, n_objects)
            n_candidates = 0
            for a in range(n_anchors):
                if matches[match + a] < 0 and threshold > 0 and overlaps[a] > threshold:
                    matches[match + a] = partners[a]
                    n_positive += 1
                if matches[match + a] < 0:
                    if ratio <= 0:
                        matches[match + a] = NEGATIVE
                    elif overlaps[a] < most:
                        candidates[n_candidates] = a
                        keys[n_candidates] = key_of(background, match + a)
                        n_candidates += 1
            if ratio > 0:
                n_negative = min(int(n_positive * ratio), n_candidates)
                here, there = int32s(positions + n_anchors * 4), int32s(positions + n_anchors * 8)
                order = in_order(keys, here, there, n_candidates)
                for k in range(n_negative):
                    matches[match + candidates[order[k]]] = NEGATIVE

    return kernel
