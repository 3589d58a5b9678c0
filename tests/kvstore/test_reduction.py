"""Sums of gradients over ranks, which are threads here: in which buckets, how early, and what was sent too early."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.arrivals import arrivals
from symc.kvstore import buckets
from symc.kvstore.reduction import Reduction
from symc.kvstore.traffic import Traffic

from .ranks import ThreadCommunicator, on_ranks

SHAPES = ((3, 5), (1,), (7,), (2, 3), (2, 1, 33), (1,))
DTYPES = ("float32", "float64", "float16", "float32", "float32", "int32")


def values_of(rank: int, step: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng((rank, step))
    return [rng.integers(-8, 8, shape).astype(dtype) for shape, dtype in zip(SHAPES, DTYPES)]


def sums_of(n_ranks: int, step: int = 0) -> list[np.ndarray]:
    return [sum(x.astype(np.float64) for x in xs) for xs in zip(*(values_of(k, step) for k in range(n_ranks)))]


@pytest.mark.parametrize("bucket_bytes, n_buckets", [(1 << 22, 3), (1, len(SHAPES))])
def test_arrays_of_any_shape_and_dtype(monkeypatch, bucket_bytes, n_buckets):
    monkeypatch.setattr(buckets, "BUCKET_BYTES", bucket_bytes)

    def work(ranks: ThreadCommunicator) -> tuple[list[list[np.ndarray]], Traffic]:
        traffic = Traffic()
        own = [mx.nd.array(x, dtype=x.dtype) for x in values_of(ranks.rank)]
        reduction = Reduction(ranks, own, False, traffic)
        return [[x.copy() for x in reduction(own)] for _ in range(2)], traffic

    for sums, traffic in on_ranks(3, work):
        for found in sums:
            for x, y, dtype in zip(found, sums_of(3), DTYPES):
                assert x.dtype == dtype
                np.testing.assert_array_equal(x, y)
        assert (traffic.n_sums, traffic.n_buckets, traffic.n_early_bytes) == (2, 2 * n_buckets, 0)
        assert traffic.n_bytes >= 2 * sum(x.nbytes for x in values_of(0))
        assert "2 sums of" in str(traffic) and "0% on their way" in str(traffic)


N_STEPS = 6
ORDER = (5, 2, 0, 1, 4, 3)  # in which the pass writes its gradients


def run_pass(reduction: Reduction, arrays: list[mx.nd.NDArray], values: list[np.ndarray]) -> None:
    """What a backward pass does: it writes memory, tells of it, and changes the versions in the end."""
    for k in ORDER:
        arrays[k]._host[...] = values[k]
        reduction.written(arrays[k]._address)
    for array in arrays:
        array._touch()
    reduction.complete()


def plain(reduction, arrays, values, rank, step):
    run_pass(reduction, arrays, values)


def clipped(reduction, arrays, values, rank, step):
    """On one rank alone a gradient is written through the NDArray."""
    run_pass(reduction, arrays, [values[0] + 1, *values[1:]] if rank == 1 else values)
    if rank == 1:
        arrays[0][:] = values[0]


def two_passes(reduction, arrays, values, rank, step):
    run_pass(reduction, arrays, [2 * x for x in values])
    run_pass(reduction, arrays, values)


def written_twice(reduction, arrays, values, rank, step):
    """Once by a program, then by the sum of two terms."""
    arrays[2]._host[...] = 7
    reduction.written(arrays[2]._address)
    run_pass(reduction, arrays, values)


def broken_off(reduction, arrays, values, rank, step):
    arrays[5]._host[...] = 3
    reduction.written(arrays[5]._address)  # no end of the pass
    for array, value in zip(arrays, values):
        array[:] = value


def silent_on_one_rank(reduction, arrays, values, rank, step):
    if rank == 1 and step == N_STEPS - 2:
        for array, value in zip(arrays, values):
            array[:] = value
    else:
        run_pass(reduction, arrays, values)


def other_arrays(reduction, arrays, values, rank, step):
    run_pass(reduction, arrays, values)
    if step == N_STEPS - 2:
        arrays[:] = [mx.nd.array(x, dtype=x.dtype) for x in values]


@pytest.mark.parametrize("bucket_bytes", [1 << 22, 64])
@pytest.mark.parametrize(
    "write, n_early",  # and in how many of the last two steps something is sent early
    [(plain, 2), (clipped, 0), (two_passes, 0), (written_twice, 0), (broken_off, 0), (silent_on_one_rank, 2),
     (other_arrays, 1)],
)  # fmt: skip
def test_what_is_sent_early_is_right_or_sent_again(monkeypatch, bucket_bytes, write, n_early):
    monkeypatch.setattr(buckets, "BUCKET_BYTES", bucket_bytes)

    def work(ranks: ThreadCommunicator) -> tuple[list[list[np.ndarray]], int]:
        traffic, found, early = Traffic(), [], []
        arrays = [mx.nd.zeros(x.shape, dtype=x.dtype) for x in values_of(0)]
        reduction = Reduction(ranks, arrays, True, traffic)
        for step in range(N_STEPS):
            before = traffic.n_early_bytes
            write(reduction, arrays, values_of(ranks.rank, step), ranks.rank, step)
            found.append([x.copy() for x in reduction(arrays)])
            early.append(traffic.n_early_bytes > before)
        assert (reduction in arrivals._listeners) == (write in (plain, silent_on_one_rank))
        return found, sum(early[-2:])

    results = on_ranks(2, work)
    for found, _ in results:
        for step, sums in enumerate(found):
            for x, y in zip(sums, sums_of(2, step)):
                np.testing.assert_array_equal(x, y)
    assert results[0][1] == n_early
