"""Region pooling: units of work are pairs of region and channel (maximum), channels of all regions, or regions."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from symc.core.dtypes import ITEM_SIZE
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.roi import COLLECTED, MAX_SAMPLES, RoiAlign, RoiMax, RoiMean, RotatedAlign

from .body import Body, Compiler
from .matching import FLOATS


def max_body(template: Template) -> Body:
    """ROIPooling's kernel."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, RoiMax)
    n_images, channels, height, width = data.shape
    n_rois = buffer_of(template, template.ins[1]).shape[0]
    words = {
        "n_rois": n_rois, "n_images": n_images, "channels": channels, "height": height, "width": width,
        "bin_rows": routine.bins[0], "bin_columns": routine.bins[1], "scale": routine.scale,
    }  # fmt: skip
    reason = f"{n_rois} regions x {channels} channels"
    return Body(template, "roi", roi_max_kernel, (data.dtype,), data.dtype, words, reason)


def roi_max_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """One sweep over the pixels of each bin."""
    values, int32s, floats = compiler.elements(dtype), compiler.elements("int32"), compiler.floats

    @compiler.jit
    def rounded(x):
        return math.floor(x + 0.5) if x >= 0 else -math.floor(0.5 - x)

    @compiler.jit
    def bin_range(k, n_bins, first, size, extent):
        """Where bin k of `size` pixels from `first` on begins and ends, inside the image."""
        begin, end = first + k * size // n_bins, first - (-(k + 1) * size // n_bins)
        return min(max(begin, 0), extent), min(max(end, 0), extent)

    @compiler.jit
    def largest(data, plane, width, rows, columns):
        """The place in the plane of a rectangle's first largest pixel; -1 when it is empty."""
        found = -1
        for row in range(rows[0], rows[1]):
            for column in range(columns[0], columns[1]):
                place = row * width + column
                if found < 0 or data[plane + place] > data[plane + found]:
                    found = place
        return found

    def kernel(chunk, n_chunks, desc, bufs):
        data = values(bufs[desc[0]] + desc[1])
        rois = values(bufs[desc[2]] + desc[3])
        pooled = values(bufs[desc[4]] + desc[5])
        places = int32s(bufs[desc[6]] + desc[7])
        n_rois, n_images, channels, height, width = desc[8], desc[9], desc[10], desc[11], desc[12]
        bin_rows, bin_columns = desc[13], desc[14]
        scale = floats(desc)[15]
        n_units = n_rois * channels
        for unit in range(chunk * n_units // n_chunks, (chunk + 1) * n_units // n_chunks):
            roi = unit // channels
            image = int(rois[roi * 5])
            left, top = rounded(rois[roi * 5 + 1] * scale), rounded(rois[roi * 5 + 2] * scale)
            right, bottom = rounded(rois[roi * 5 + 3] * scale), rounded(rois[roi * 5 + 4] * scale)
            n_rows, n_columns = max(bottom - top + 1, 1), max(right - left + 1, 1)
            plane = (image * channels + unit - roi * channels) * height * width
            for a in range(bin_rows):
                rows = bin_range(a, bin_rows, top, n_rows, height)
                for b in range(bin_columns):
                    columns = bin_range(b, bin_columns, left, n_columns, width)
                    at = (unit * bin_rows + a) * bin_columns + b
                    place = largest(data, plane, width, rows, columns) if 0 <= image < n_images else -1
                    places[at] = place
                    pooled[at] = 0
                    if place >= 0:
                        pooled[at] = data[plane + place]

    return kernel


def sampling(compiler: Compiler) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """What places between pixels need: which samples are near the image, the pixels around one, their mean."""

    @compiler.jit
    def reaching(start, size, n, least, most):
        """Which of n samples of a bin lie in least..most, or a few more: first and end."""
        if not size > 0:
            return 0, n
        low, high = (least - start) / size * n, (most - start) / size * n
        if not (low <= n and high >= 0):  # also for a box without a place: NaN
            return 0, 0
        return max(0, math.floor(low) - 1) if low > 0 else 0, min(n, math.ceil(high) + 1) if high < n else n

    @compiler.jit
    def neighbours(position, extent, stride):
        """Of a position between pixels: the offset of the pixel before it, the step to the next, how far it is on."""
        inner = 0.0 if position <= 0 else extent - 1.0 if position >= extent - 1 else position
        before = int(inner)
        return before * stride, stride if before < extent - 1 else 0, inner - before

    @compiler.jit
    def interpolated(values, place, down, right, low, near):
        top = (1 - near) * values[place] + near * values[place + right]
        bottom = (1 - near) * values[place + down] + near * values[place + down + right]
        return (1 - low) * top + low * bottom

    return reaching, neighbours, interpolated


def align_body(template: Template) -> Body:
    """ROIAlign's kernel, or that of its adjoint."""
    routine, source = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, RoiAlign)
    n_images, planes, height, width = routine.shape
    n_rois, bins = buffer_of(template, template.ins[1]).shape[0], routine.bins
    words = {
        "n_rois": n_rois, "n_images": n_images, "planes": planes, "height": height, "width": width,
        "bin_rows": bins[0], "bin_columns": bins[1], "channels": routine.channels, "samples": routine.sample_ratio,
        "scale": routine.scale, "shift": 0.5 if routine.is_aligned else 0.0,
        "least": 0.0 if routine.is_aligned else 1.0,
    }  # fmt: skip
    reason = f"{n_rois} regions x {routine.channels} channels"
    structure = f"{source.dtype} by_position={routine.by_position} is_adjoint={routine.is_adjoint}"
    options = source.dtype, routine.by_position, routine.is_adjoint
    return Body(template, "roi", roi_align_kernel, options, structure, words, reason)


def roi_align_kernel(compiler: Compiler, dtype: str, by_position: bool, is_adjoint: bool) -> Callable[..., None]:
    """Each bin is the mean of samples interpolated between four pixels; the adjoint gives it back to them."""
    values, floats = compiler.elements(dtype), compiler.floats
    reaching, neighbours, interpolated = sampling(compiler)

    @compiler.jit
    def spread(values, place, down, right, low, near, d):
        """The adjoint of `interpolated`: d added to the four pixels."""
        values[place] += d * (1 - low) * (1 - near)
        values[place + right] += d * (1 - low) * near
        values[place + down] += d * low * (1 - near)
        values[place + down + right] += d * low * near

    def kernel(chunk, n_chunks, desc, bufs):
        image_values = values(bufs[desc[4 if is_adjoint else 0]] + desc[5 if is_adjoint else 1])
        bin_values = values(bufs[desc[0 if is_adjoint else 4]] + desc[1 if is_adjoint else 5])
        rois = values(bufs[desc[2]] + desc[3])
        n_rois, n_images, planes, height, width = desc[6], desc[7], desc[8], desc[9], desc[10]
        bin_rows, bin_columns, channels, samples = desc[11], desc[12], desc[13], desc[14]
        numbers = floats(desc)
        scale, shift, least = numbers[15], numbers[16], numbers[17]
        n_bins = bin_rows * bin_columns
        for channel in range(chunk * channels // n_chunks, (chunk + 1) * channels // n_chunks):
            first_plane = channel * n_bins if by_position else channel
            n_planes = n_bins if by_position else 1
            if is_adjoint:
                for image in range(n_images):
                    start = (image * planes + first_plane) * height * width
                    for at in range(start, start + n_planes * height * width):
                        image_values[at] = 0
            for roi in range(n_rois):
                image = int(rois[roi * 5])
                left, top = rois[roi * 5 + 1] * scale - shift, rois[roi * 5 + 2] * scale - shift
                columns, rows = rois[roi * 5 + 3] * scale - shift - left, rois[roi * 5 + 4] * scale - shift - top
                bin_height = (rows if rows > least else least) / bin_rows
                bin_width = (columns if columns > least else least) / bin_columns
                n_down = samples if samples > 0 else math.ceil(min(bin_height, MAX_SAMPLES))
                n_right = samples if samples > 0 else math.ceil(min(bin_width, MAX_SAMPLES))
                for k in range(n_bins):
                    at = (roi * channels + channel) * n_bins + k
                    if not is_adjoint:
                        bin_values[at] = 0
                    if image < 0 or image >= n_images or n_down * n_right == 0:
                        continue
                    plane = image * planes + first_plane + (k if by_position else 0)
                    pixels = plane * height * width
                    share = 1.0 / (n_down * n_right)
                    total = 0.0
                    downs = reaching(top + (k // bin_columns) * bin_height, bin_height, n_down, -1, height)
                    rights = reaching(left + (k % bin_columns) * bin_width, bin_width, n_right, -1, width)
                    for a in range(downs[0], downs[1]):
                        y = top + (k // bin_columns) * bin_height + (a + 0.5) * bin_height / n_down
                        for b in range(rights[0], rights[1]):
                            x = left + (k % bin_columns) * bin_width + (b + 0.5) * bin_width / n_right
                            if not (-1.0 <= y <= height and -1.0 <= x <= width):
                                continue
                            row, down, low = neighbours(y, height, width)
                            column, right, near = neighbours(x, width, 1)
                            place = pixels + row + column
                            if is_adjoint:
                                d = bin_values[at] * share
                                spread(image_values, place, down, right, low, near, d)
                            else:
                                total += interpolated(image_values, place, down, right, low, near)
                    if not is_adjoint:
                        bin_values[at] = total * share

    return kernel


def rotated_body(template: Template) -> Body:
    """RROIAlign's kernel."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, RotatedAlign)
    n_images, channels, height, width = data.shape
    n_rois = buffer_of(template, template.ins[1]).shape[0]
    words = {
        "n_rois": n_rois, "n_images": n_images, "channels": channels, "height": height, "width": width,
        "bin_rows": routine.bins[0], "bin_columns": routine.bins[1], "samples": routine.sample_ratio,
        "scale": routine.scale,
    }  # fmt: skip
    reason = f"{n_rois} turned regions x {channels} channels"
    return Body(template, "roi", rotated_align_kernel, (data.dtype,), data.dtype, words, reason)


def rotated_align_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Places and weights of a region's samples are collected and then serve all channels, one plane after the other;
    only samples near the image are looked at, which, seen from the region, lies in a turned rectangle."""
    values, int32s, floats = compiler.elements(dtype), compiler.elements("int32"), compiler.floats
    reaching, neighbours, _ = sampling(compiler)
    item_size = ITEM_SIZE[dtype]

    @compiler.jit
    def ends(x, y, across, along, height, width):
        """Of the image and the pixel around it: the least and the most of across * (x' - x) + along * (y' - y)."""
        first, last = across * (-1 - x), across * (width - x)
        top, bottom = along * (-1 - y), along * (height - y)
        return min(first, last) + min(top, bottom), max(first, last) + max(top, bottom)

    @compiler.jit
    def add(pooled, at, n_bins, data, first, size, channels, places, weights, n):
        """Adds n collected samples to their bins, in every channel."""
        place, share = int32s(places), values(weights)
        for _ in range(channels):
            found, total = place[0], pooled[at + place[0]]
            for k in range(0, 4 * n, 4):
                if place[k] != found:
                    pooled[at + found] = total
                    found = place[k]
                    total = pooled[at + found]
                top = first + place[k + 1]
                bottom = top + place[k + 2]
                right = place[k + 3]
                upper = share[k] * data[top] + share[k + 1] * data[top + right]
                total += upper + (share[k + 2] * data[bottom] + share[k + 3] * data[bottom + right])
            pooled[at + found] = total
            at += n_bins
            first += size

    def kernel(chunk, n_chunks, desc, bufs):
        data, rois = values(bufs[desc[0]] + desc[1]), values(bufs[desc[2]] + desc[3])
        pooled = values(bufs[desc[4]] + desc[5])
        n_rois, n_images, channels, height, width = desc[10], desc[11], desc[12], desc[13], desc[14]
        bin_rows, bin_columns, samples, scale = desc[15], desc[16], desc[17], floats(desc)[18]
        places = bufs[desc[6]] + desc[7] + chunk * COLLECTED * 16
        weights = bufs[desc[8]] + desc[9] + chunk * COLLECTED * 32
        n_bins, size = bin_rows * bin_columns, height * width
        for roi in range(chunk * n_rois // n_chunks, (chunk + 1) * n_rois // n_chunks):
            first = roi * channels * n_bins
            for at in range(first, first + channels * n_bins):
                pooled[at] = 0
            image = int(rois[roi * 6])
            if image < 0 or image >= n_images:
                continue
            x, y, angle = rois[roi * 6 + 1] * scale, rois[roi * 6 + 2] * scale, rois[roi * 6 + 5] * math.pi / 180
            columns, rows = max(rois[roi * 6 + 3] * scale, 1.0), max(rois[roi * 6 + 4] * scale, 1.0)
            cos, sin = math.cos(angle), math.sin(angle)
            bin_height, bin_width = rows / bin_rows, columns / bin_columns
            n_down = samples if samples > 0 else math.ceil(min(bin_height, MAX_SAMPLES))
            n_right = samples if samples > 0 else math.ceil(min(bin_width, MAX_SAMPLES))
            left, right = ends(x, y, cos, -sin, height, width)
            top, bottom = ends(x, y, sin, cos, height, width)
            share = 1.0 / (n_down * n_right)
            plane = image * channels * size
            n = 0
            for k in range(n_bins):
                bin_top = (k // bin_columns) * bin_height - rows / 2
                bin_left = (k % bin_columns) * bin_width - columns / 2
                downs = reaching(bin_top, bin_height, n_down, top, bottom)
                rights = reaching(bin_left, bin_width, n_right, left, right)
                for a in range(downs[0], downs[1]):
                    v = bin_top + (a + 0.5) * bin_height / n_down
                    for b in range(rights[0], rights[1]):
                        u = bin_left + (b + 0.5) * bin_width / n_right
                        row_place, column_place = v * cos - u * sin + y, u * cos + v * sin + x
                        if not (-1.0 <= row_place <= height and -1.0 <= column_place <= width):
                            continue
                        row, down, low = neighbours(row_place, height, width)
                        column, step, near = neighbours(column_place, width, 1)
                        place, weight = int32s(places + n * 16), values(weights + n * 4 * item_size)
                        place[0] = k
                        place[1] = row + column
                        place[2] = down
                        place[3] = step
                        weight[0] = share * (1 - low) * (1 - near)
                        weight[1] = share * (1 - low) * near
                        weight[2] = share * low * (1 - near)
                        weight[3] = share * low * near
                        n += 1
                        if n == COLLECTED:
                            add(pooled, first, n_bins, data, plane, size, channels, places, weights, n)
                            n = 0
            if n > 0:
                add(pooled, first, n_bins, data, plane, size, channels, places, weights, n)

    return kernel


def mean_body(template: Template) -> Body:
    """PSROIPooling's kernel, or that of its adjoint."""
    routine, source = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, RoiMean)
    n_images, planes, height, width = routine.shape
    n_rois = buffer_of(template, template.ins[1]).shape[0]
    words = {
        "n_rois": n_rois, "n_images": n_images, "planes": planes, "height": height, "width": width,
        "bins": routine.bins, "groups": routine.groups, "channels": routine.channels, "scale": routine.scale,
    }  # fmt: skip
    reason = f"{n_rois} regions x {routine.channels} channels"
    options = source.dtype, routine.is_adjoint
    return Body(template, "roi", roi_mean_kernel, options, str(options), words, reason)


def roi_mean_kernel(compiler: Compiler, dtype: str, is_adjoint: bool) -> Callable[..., None]:
    """One sweep over the pixels of each bin; every channel has planes of its own."""
    values, floats, real = compiler.elements(dtype), compiler.floats, FLOATS[dtype]

    @compiler.jit
    def span(first, last, scale, bins):
        """Where a region begins and how wide its bins are."""
        begin = math.floor(first + 0.5) if first >= 0 else -math.floor(0.5 - first)
        end = math.floor(last + 0.5) if last >= 0 else -math.floor(0.5 - last)
        start = real(begin) * scale
        return start, max(real(end + 1) * scale - start, real(0.1)) / real(bins)

    @compiler.jit
    def bin_range(k, start, step, extent):
        """The rows or columns that a bin covers."""
        begin, end = math.floor(real(k) * step + start), math.ceil(real(k + 1) * step + start)
        return min(max(begin, 0), extent), min(max(end, 0), extent)

    def kernel(chunk, n_chunks, desc, bufs):
        pixels = values(bufs[desc[4 if is_adjoint else 0]] + desc[5 if is_adjoint else 1])
        pooled = values(bufs[desc[0 if is_adjoint else 4]] + desc[1 if is_adjoint else 5])
        rois = values(bufs[desc[2]] + desc[3])
        n_rois, n_images, planes, height, width = desc[6], desc[7], desc[8], desc[9], desc[10]
        bins, groups, channels, scale = desc[11], desc[12], desc[13], real(floats(desc)[14])
        size = height * width
        for channel in range(chunk * channels // n_chunks, (chunk + 1) * channels // n_chunks):
            first_plane = channel * groups * groups
            if is_adjoint:
                end_plane = first_plane + groups * groups if channel < channels - 1 else planes
                for image in range(n_images):
                    for at in range((image * planes + first_plane) * size, (image * planes + end_plane) * size):
                        pixels[at] = 0
            for roi in range(n_rois):
                image = int(rois[roi * 5])
                left, right_step = span(rois[roi * 5 + 1], rois[roi * 5 + 3], scale, bins)
                top, down_step = span(rois[roi * 5 + 2], rois[roi * 5 + 4], scale, bins)
                for k in range(bins * bins):
                    at = (roi * channels + channel) * bins * bins + k
                    if not is_adjoint:
                        pooled[at] = 0
                    if image < 0 or image >= n_images:
                        continue
                    a, b = k // bins, k % bins
                    rows = bin_range(a, top, down_step, height)
                    columns = bin_range(b, left, right_step, width)
                    if rows[0] >= rows[1] or columns[0] >= columns[1]:
                        continue
                    n_pixels = (rows[1] - rows[0]) * (columns[1] - columns[0])
                    plane = first_plane + a * groups // bins * groups + b * groups // bins
                    first = (image * planes + plane) * size
                    total = 0.0
                    for row in range(rows[0], rows[1]):
                        for place in range(first + row * width + columns[0], first + row * width + columns[1]):
                            if is_adjoint:
                                pixels[place] += pooled[at] / n_pixels
                            else:
                                total += pixels[place]
                    if not is_adjoint:
                        pooled[at] = total / n_pixels

    return kernel
