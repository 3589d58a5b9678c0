"""Loaders of other libraries: batches by a pool of `multiprocessing`, datasets derived from MXNet's own base."""

from __future__ import annotations

import multiprocessing
import pickle
import time

import numpy as np
import pytest

import symc as mx
from symc.gluon.data.dataloader import _MultiWorkerIter
from symc.gluon.data.dataset import _DownloadedDataset

NUMBERS = [[0, 1], [2, 3], [4]]
DATA = mx.nd.arange(10).reshape((5, 2))


def stacked(samples):
    return mx.nd.stack(*samples)


def own_batch(numbers, batchify, dataset):
    """A worker that has its dataset already, and sends batches as bytes."""
    assert dataset is None
    return pickle.dumps(batchify([DATA[k] for k in numbers]))


def late(numbers, batchify, dataset):
    time.sleep(20)


def refused(numbers, batchify, dataset):
    raise KeyError("no such sample")


@pytest.fixture
def pool():
    with multiprocessing.get_context("fork").Pool(2) as made:
        yield made


class EachSecondTwice(_MultiWorkerIter):
    """Derived as GluonCV derives its loader of random transforms: it asks for batches itself."""

    def _push_next(self):
        numbers = next(self._iter, None)
        if numbers is None:
            return
        factor = 1 + self._sent_idx % 2
        asked = self._worker_pool.apply_async(doubled, (numbers, self._batchify_fn, factor))
        self._data_buffer[self._sent_idx] = asked
        self._sent_idx += 1


def doubled(numbers, batchify, factor):
    return pickle.dumps(batchify([DATA[k] * factor for k in numbers]))


@pytest.mark.parametrize("prefetch", [0, 1, 9])
def test_batches_come_in_order(pool, prefetch):
    expected = [DATA.asnumpy()[numbers].tolist() for numbers in NUMBERS]
    own = _MultiWorkerIter(pool, stacked, NUMBERS, worker_fn=own_batch, prefetch=prefetch)
    sent = _MultiWorkerIter(pool, stacked, NUMBERS, prefetch=prefetch, dataset=DATA, pin_memory=True)
    assert len(own) == 3 and own.next().asnumpy().tolist() == expected[0]
    assert [batch.asnumpy().tolist() for batch in own] == expected[1:]
    batches = list(sent)
    assert [batch.asnumpy().tolist() for batch in batches] == expected
    assert all(batch.context == mx.cpu_pinned(0) for batch in batches)


def test_derived_classes_ask_for_batches_themselves(pool):
    batches = [batch.asnumpy().tolist() for batch in EachSecondTwice(pool, stacked, NUMBERS, prefetch=2)]
    assert batches == [[[0, 1], [2, 3]], [[8, 10], [12, 14]], [[8, 9]]]


def test_a_worker_that_fails_or_is_late(pool):
    with pytest.raises(mx.MXNetError, match=r"not there after 0\.1 s"):
        next(_MultiWorkerIter(pool, stacked, NUMBERS, worker_fn=late, timeout=0.1))
    with pytest.raises(KeyError, match="no such sample"):
        next(_MultiWorkerIter(pool, stacked, NUMBERS, worker_fn=refused))


class Squares(_DownloadedDataset):
    def _get_data(self):
        self._data, self._label = mx.nd.arange(4) ** 2, np.arange(4)


def test_a_dataset_of_ones_own(tmp_path):
    dataset = Squares(str(tmp_path / "deep" / "folder"), None)
    assert (tmp_path / "deep" / "folder").is_dir() and len(dataset) == 4
    assert dataset[3][0].asscalar() == 9 and dataset[3][1] == 3
    assert Squares(str(tmp_path), lambda x, label: label + 1)[2] == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(mx.MXNetError, match="Squares: there can be no folder"):
        Squares(str(tmp_path / "file" / "folder"), None)
    with pytest.raises(NotImplementedError, match="must override _get_data"):
        _DownloadedDataset(str(tmp_path), None)
