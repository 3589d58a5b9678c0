"""Memory of large arrays is used again when nobody can reach it any more, and not before."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import symc as mx
from symc.core.errors import AllocationError
from symc.ndarray import recycled
from symc.ndarray.recycled import LEAST_BYTES, MOST_BYTES, PAGE_BYTES, RECYCLER, Recycler
from symc.ndarray.storage import empty_aligned, zeros_aligned

N = LEAST_BYTES // 4  # floats of the smallest array that is recycled
F32 = np.dtype("float32")


@pytest.fixture(autouse=True)
def nothing_waits():
    gc.collect()
    RECYCLER.clear()
    yield
    RECYCLER.clear()


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape, dtype", [((N,), "float32"), ((3, N // 2), "float64"), ((LEAST_BYTES, 1), "bool")])
def test_memory_comes_back(shape, dtype):
    array = empty_aligned(shape, np.dtype(dtype))
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert address(zeros_aligned(shape, np.dtype(dtype))) % PAGE_BYTES == PAGE_BYTES // 2
    assert array.flags.c_contiguous and array.flags.writeable and address(array) % PAGE_BYTES == PAGE_BYTES // 2
    first = address(array)
    array[...] = 1
    del array
    assert RECYCLER.waiting_bytes >= LEAST_BYTES
    again = empty_aligned(shape, np.dtype(dtype))
    assert address(again) == first and RECYCLER.waiting_bytes == 0


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[5:],
        lambda a: a.reshape(2, -1)[1].view("uint8"),
        lambda a: memoryview(a),
        lambda a: np.from_dlpack(a),
        lambda a: np.lib.stride_tricks.as_strided(a, (3,), (4,)),
    ],
)
def test_a_view_holds_it(view):
    array = empty_aligned((N,), F32)
    array[...] = 7
    seen = view(array)
    del array
    gc.collect()
    other = empty_aligned((N,), F32)
    other[...] = 1
    assert RECYCLER.waiting_bytes == 0 and np.asarray(seen).view("uint8").max() > 63  # 7.0 is 0x40E00000
    del seen, other
    gc.collect()
    assert RECYCLER.waiting_bytes > 2 * LEAST_BYTES


def test_results_of_calls_are_recycled_and_those_still_held_are_left_alone():
    x = mx.sym.Variable("x")
    executor = (x * 2.0).simple_bind(mx.cpu(), grad_req="null", x=(N,))
    values = np.arange(N, dtype="float32")
    (held,) = executor(x=values)
    part = held[N // 2 :]
    del held
    for k in range(5):
        executor(x=values + k)
    np.testing.assert_array_equal(part.asnumpy(), 2 * values[N // 2 :])
    assert LEAST_BYTES < RECYCLER.waiting_bytes < 3 * LEAST_BYTES


def test_what_waits_is_bounded_and_the_oldest_goes_first():
    recycler = Recycler(3 * (LEAST_BYTES + PAGE_BYTES))
    arrays = [recycler.array((N,), F32) for _ in range(5)]
    places = [address(a) for a in arrays]
    while arrays:
        arrays.pop(0)
    assert recycler.waiting_bytes == recycler.most_bytes
    again = [recycler.array((N,), F32) for _ in range(3)]
    assert [address(a) for a in again] == places[:1:-1]


def test_one_that_is_larger_than_the_bound_is_let_go():
    recycler = Recycler(1000)
    del (made := [recycler.array((N,), F32)])[0]
    assert not made and recycler.waiting_bytes == 0


def test_memory_returned_while_the_lock_is_held_is_let_go():
    """As when the garbage collector runs inside the recycler itself."""
    recycler = Recycler(MOST_BYTES)
    array = [recycler.array((N,), F32)]
    with recycler._lock:
        array.clear()
    assert recycler.waiting_bytes == 0


def test_waiting_memory_is_given_up_where_memory_is_missing(monkeypatch):
    del (made := [empty_aligned((N,), F32)])[0]
    assert not made and RECYCLER.waiting_bytes
    monkeypatch.setattr(recycled.np, "empty", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(AllocationError, match="cannot allocate"):
        empty_aligned((N + 1,), F32)
    assert RECYCLER.waiting_bytes == 0


def test_threads_never_share_memory():
    wrong = []

    def work(mark: int) -> None:
        for _ in range(200):
            array = empty_aligned((N,), F32)
            array[...] = mark
            wrong.extend([mark] * bool((array[::997] != mark).any()))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
