"""Whether random numbers follow a distribution, by their moments and by Pearson's chi-square test."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Generator = Callable[[int], Any]  # gives so many numbers
Buckets = Sequence[Any]  # (low, high) pairs in ascending order, or the values of a discrete distribution


def gen_buckets_probs_with_ppf(ppf: Callable[[float], float], nbuckets: int) -> tuple[list, list[float]]:
    """Ranges of equal probability, from the inverse of the distribution function, and these probabilities."""
    assert nbuckets > 0
    bounds = [ppf(k / nbuckets) for k in range(nbuckets + 1)]
    return list(itertools.pairwise(bounds)), [1 / nbuckets] * nbuckets


def mean_check(generator: Generator, mu: float, sigma: float, nsamples: int = 1000000) -> bool:
    """Whether the mean lies within three standard errors of `mu`."""
    return bool(abs(np.mean(generator(nsamples)) - mu) < 3 * sigma / math.sqrt(nsamples))


def var_check(generator: Generator, sigma: float, nsamples: int = 1000000) -> bool:
    """Whether the variance lies within three standard errors, of normal numbers, of sigma squared."""
    variance = np.var(np.asarray(generator(nsamples)), ddof=1)
    return bool(abs(variance - sigma**2) < 3 * sigma**2 * math.sqrt(2 / (nsamples - 1)))


def chi_square_check(
    generator: Generator, buckets: Buckets, probs: Sequence[float], nsamples: int = 1000000
) -> tuple[float, np.ndarray, np.ndarray]:
    """The probability of numbers that fit as badly into the buckets; how many are there, how many are expected."""
    assert isinstance(buckets, list) and len(probs) == len(buckets)
    samples = np.asarray(generator(nsamples))
    if isinstance(buckets[0], (list, tuple)):
        assert all(low <= high for low, high in buckets)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(buckets))
        observed = np.array([((low <= samples) & (samples < high)).sum() for low, high in buckets])
    else:
        observed = np.array([(samples == value).sum() for value in buckets])
    expected = (nsamples * np.asarray(probs, "float64")).astype("int64")
    distance = float(((observed - expected) ** 2 / expected).sum())
    return _chi_square_above(distance, len(buckets) - 1), observed, expected


def verify_generator(
    generator: Generator,
    buckets: Buckets,
    probs: Sequence[float],
    nsamples: int = 1000000,
    nrepeat: int = 5,
    success_rate: float = 0.2,
    alpha: float = 0.05,
) -> list[float]:
    """The probabilities of several such tests; raises AssertionError where too few of them exceed `alpha`."""
    found = [chi_square_check(generator, buckets, probs, nsamples) for _ in range(nrepeat)]
    chances = [chance for chance, _, _ in found]
    if sum(chance > alpha for chance in chances) < nrepeat * success_rate:
        counts = [(observed.tolist(), expected.tolist()) for _, observed, expected in found]
        raise AssertionError(
            f"the numbers do not follow the distribution: chi-square p={chances}, counts and expected counts {counts}, "
            f"buckets={buckets}, probs={probs}"
        )
    return chances


def _chi_square_above(distance: float, n_free: int) -> float:
    """The probability of a larger sum of `n_free` squared normal numbers (DLMF 8.8.6, from Q(1/2) or Q(1))."""
    x = distance / 2
    a = 1.0 if n_free % 2 == 0 else 0.5
    found = math.exp(-x) if a == 1 else math.erfc(math.sqrt(x))
    while a < n_free / 2 and x > 0:
        found += math.exp(a * math.log(x) - x - math.lgamma(a + 1))
        a += 1
    return found
