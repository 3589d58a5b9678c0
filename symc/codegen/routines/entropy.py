"""Divergences of a histogram from its quantised selves: the clipped histograms are shared out."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from symc.loopir.entropy import SMOOTHING, Divergences
from symc.loopir.kernel import Template, buffer_of

from .body import Body, Compiler


def body(template: Template) -> Body:
    """The one kernel."""
    routine, (n,) = template.routine, buffer_of(template, template.ins[0]).shape
    assert isinstance(routine, Divergences)
    words = {"n": n, "n_bins": routine.n_bins}
    return Body(template, "entropy", entropy_kernel, (), "", words, f"{n} places in {routine.n_bins} bins")


def entropy_kernel(compiler: Compiler) -> Callable[..., None]:
    """Four passes over each clipped histogram: means of bins, zeros, sums, logarithms; nothing but means is stored.

    Sums are float32, from first to last.
    """
    elements, single = compiler.elements("float32"), np.float32
    smoothing, nothing = SMOOTHING, np.float32(0)

    @compiler.jit
    def total_of(hist, first, end):
        """What lies outside, and the place beside it."""
        total = nothing
        for k in range(first, end):
            total = single(total + hist[k])
        return total

    @compiler.jit
    def mean_of(means, width, n_bins, place):
        """The quantised histogram there."""
        number = place // width
        if number >= n_bins:
            number = n_bins - 1
        return means[number]

    @compiler.jit
    def smoothed(x, cost):
        return smoothing if x == nothing else single(x - cost)

    @compiler.jit
    def divergence_of(hist, means, n, n_bins, reach):
        first, last = n // 2 - reach, n // 2 + reach
        length = 2 * reach + 1
        width = length // n_bins
        for number in range(n_bins):
            end = (number + 1) * width
            if number == n_bins - 1:
                end = length
            total, count = 0.0, 0
            for place in range(number * width, end):
                kept = 0.0
                if place > 0:
                    kept = math.floor(1.0 * hist[first + place])
                total += kept
                if kept != 0.0:
                    count += 1
            means[number] = single(single(total) / single(count)) if count > 0 else nothing
        outer, inner = total_of(hist, 0, first + 1), total_of(hist, last, n)
        n_zeros, n_empty = 0, 0
        for place in range(length):
            p = outer if place == 0 else inner if place == length - 1 else hist[first + place]
            q = mean_of(means, width, n_bins, place) if p != nothing else nothing
            n_zeros += p == nothing
            n_empty += q == nothing
        if n_zeros == length or n_empty == length:
            return single(math.inf)
        p_cost = single(single(smoothing * single(n_zeros)) / single(length - n_zeros))
        q_cost = single(single(smoothing * single(n_empty)) / single(length - n_empty))
        if p_cost >= 1.0 or q_cost >= 1.0:
            return single(math.inf)
        p_sum, q_sum = nothing, nothing
        for place in range(length):
            p = outer if place == 0 else inner if place == length - 1 else hist[first + place]
            q = mean_of(means, width, n_bins, place) if p != nothing else nothing
            p, q = smoothed(p, p_cost), smoothed(q, q_cost)
            if p <= nothing or q <= nothing:
                return single(math.inf)
            p_sum, q_sum = single(p_sum + p), single(q_sum + q)
        found = nothing
        for place in range(length):
            p = outer if place == 0 else inner if place == length - 1 else hist[first + place]
            q = mean_of(means, width, n_bins, place) if p != nothing else nothing
            p, q = single(smoothed(p, p_cost) / p_sum), single(smoothed(q, q_cost) / q_sum)
            found = single(found + single(p * single(math.log(single(p / q)))))
        return found

    def kernel(chunk, n_chunks, desc, bufs):
        hist = elements(bufs[desc[0]] + desc[1])
        out = elements(bufs[desc[2]] + desc[3])
        means = elements(bufs[desc[4]] + desc[5] + chunk * desc[7] * 4)
        n, n_bins = desc[6], desc[7]
        count = n // 2 + 1 - n_bins // 2
        for k in range(chunk * count // n_chunks, (chunk + 1) * count // n_chunks):
            out[k] = divergence_of(hist, means, n, n_bins, k + n_bins // 2)

    return kernel
