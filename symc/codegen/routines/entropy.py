"""Divergences of a histogram from its quantised selves: the clipped histograms are shared out."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable

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
    """Four passes over each clipped histogram: means of bins, zeros, sums, logarithms; nothing but means is stored."""
    singles, doubles = compiler.elements("float32"), compiler.elements("float64")
    smoothing = SMOOTHING

    @compiler.jit
    def place_of(hist, n, first, last, at):
        """The clipped histogram at a place: its ends hold what lies outside."""
        total = 1.0 * hist[at]
        if at == first:
            for k in range(first):
                total += hist[k]
        if at == last:
            for k in range(last + 1, n):
                total += hist[k]
        return total

    @compiler.jit
    def mean_of(means, width, n_bins, place):
        """The quantised histogram there."""
        number = place // width
        if number >= n_bins:
            number = n_bins - 1
        return means[number]

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
            means[number] = total / count if count > 0 else 0.0
        outer, inner = place_of(hist, n, first, last, first), place_of(hist, n, first, last, last)
        n_zeros, n_empty = 0, 0
        for place in range(length):
            p = outer if place == 0 else inner if place == length - 1 else 1.0 * hist[first + place]
            q = mean_of(means, width, n_bins, place) if p != 0.0 else 0.0
            n_zeros += p == 0.0
            n_empty += q == 0.0
        if n_zeros == length or n_empty == length:
            return math.inf
        p_cost, q_cost = smoothing * n_zeros / (length - n_zeros), smoothing * n_empty / (length - n_empty)
        if p_cost >= 1.0 or q_cost >= 1.0:
            return math.inf
        p_sum, q_sum, cross = 0.0, 0.0, 0.0
        for place in range(length):
            p = outer if place == 0 else inner if place == length - 1 else 1.0 * hist[first + place]
            q = mean_of(means, width, n_bins, place) if p != 0.0 else 0.0
            p = smoothing if p == 0.0 else p - p_cost
            q = smoothing if q == 0.0 else q - q_cost
            if p <= 0.0 or q <= 0.0:
                return math.inf
            p_sum += p
            q_sum += q
            cross += p * math.log(p / q)
        # sum of (p / P) log((p / P) / (q / Q))
        return cross / p_sum + math.log(q_sum / p_sum)

    def kernel(chunk, n_chunks, desc, bufs):
        hist = singles(bufs[desc[0]] + desc[1])
        out = singles(bufs[desc[2]] + desc[3])
        means = doubles(bufs[desc[4]] + desc[5] + chunk * desc[7] * 8)
        n, n_bins = desc[6], desc[7]
        count = n // 2 + 1 - n_bins // 2
        for k in range(chunk * count // n_chunks, (chunk + 1) * count // n_chunks):
            out[k] = divergence_of(hist, means, n, n_bins, k + n_bins // 2)

    return kernel
