"""Datasets, samplers and loaders, as in MXNet."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.gluon import data

ROOT = Path(__file__).parents[3]
X = np.arange(20).reshape(10, 2)
Y = np.arange(10)


def test_array_datasets():
    pairs = data.ArrayDataset(X, mx.nd.array(Y))
    assert len(pairs) == 10
    x, y = pairs[3]
    assert x.tolist() == [6, 7] and y == 3 and isinstance(y, np.float32)
    assert data.ArrayDataset(list("abc"))[1] == "b"
    assert isinstance(data.ArrayDataset(mx.nd.array(X))[1], mx.nd.NDArray)
    with pytest.raises(AssertionError, match=r"array\[0\] has length 10 while array\[1\] has 3"):
        data.ArrayDataset(X, Y[:3])
    with pytest.raises(AssertionError, match="at least 1"):
        data.ArrayDataset()


def items(dataset):
    return [dataset[k] for k in range(len(dataset))]


def test_parts_of_datasets():
    numbers = data.SimpleDataset(list(range(10)))
    assert items(numbers.filter(lambda n: n % 3 == 0)) == [0, 3, 6, 9]
    assert [items(numbers.shard(3, k)) for k in range(3)] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert items(numbers.take(3)) == [0, 1, 2] and len(numbers.take(None)) == 10 == len(numbers.take(99))
    assert items(numbers.sample(data.SequentialSampler(3, start=4))) == [4, 5, 6]
    with pytest.raises(TypeError, match="Invalid sampler type"):
        numbers.sample([1, 2])
    with pytest.raises(AssertionError, match="Shard index 3 out of bound"):
        numbers.shard(3, 3)


def test_transformed_datasets():
    pairs = data.ArrayDataset(X, Y)
    seen = []
    lazy = pairs.transform(lambda x, y: (seen.append(y), x.sum() + y)[1])
    assert not seen and lazy[2] == 11 and seen == [2]
    assert items(pairs.transform(lambda x, y: y, lazy=False))[:3] == [0, 1, 2]
    first = pairs.transform_first(lambda x: x * 10)[1]
    assert first[0].tolist() == [20, 30] and first[1] == 1
    assert data.SimpleDataset([1, 2]).transform_first(lambda n: -n)[1] == -2


@pytest.mark.parametrize(
    ("last_batch", "n_batches", "epochs"),
    [
        ("keep", 3, [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]] * 2),
        ("discard", 2, [[[0, 1, 2, 3], [4, 5, 6, 7]]] * 2),
        ("rollover", 2, [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]]),
    ],
)
def test_batches_of_samples(last_batch, n_batches, epochs):
    batches = data.BatchSampler(data.SequentialSampler(10), 4, last_batch)
    assert len(batches) == n_batches
    assert [list(batches) for _ in range(2)] == epochs


def test_samplers():
    np.random.seed(5)  # noqa: NPY002 - the stream that MXNet draws from
    drawn = list(data.RandomSampler(6))
    expected = np.arange(6)
    np.random.seed(5)  # noqa: NPY002
    np.random.shuffle(expected)  # noqa: NPY002
    assert drawn == expected.tolist()
    assert list(data.FilterSampler(lambda n: n > 2, [1, 5, 2, 4])) == [1, 3]
    with pytest.raises(ValueError, match="must be one of 'keep', 'discard', or 'rollover', but got all"):
        data.BatchSampler(data.SequentialSampler(3), 2, "all")


@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "thread_pool": True, "prefetch": 0}])
def test_loaders_give_batches_in_order(options):
    loader = data.DataLoader(data.ArrayDataset(X.astype("float64"), Y).transform_first(lambda x: x + 1), 4, **options)
    assert len(loader) == 3
    for _ in range(2):
        batches = list(loader)
        assert [type(part) for part in batches[0]] == [mx.nd.NDArray] * 2 and isinstance(batches[0], list)
        np.testing.assert_array_equal(np.concatenate([x.asnumpy() for x, _ in batches]), X + 1)
        np.testing.assert_array_equal(np.concatenate([y.asnumpy() for _, y in batches]), Y)
        assert batches[0][0].dtype == np.float64 and batches[0][1].dtype == np.int64


def test_what_batches_are_made_of():
    stacked = data.dataloader.default_batchify_fn([mx.nd.ones((2,)), mx.nd.zeros((2,))])
    assert stacked.asnumpy().tolist() == [[1, 1], [0, 0]]
    sums = data.DataLoader(data.SimpleDataset([1, 2, 3]), 2, last_batch="discard", batchify_fn=sum)
    assert list(sums) == [3]
    by_hand = data.DataLoader(data.SimpleDataset([1, 2, 3]), batch_sampler=[[2], [0, 1]])
    assert [b.asnumpy().tolist() for b in by_hand] == [[3], [1, 2]]
    with pytest.raises(mx.SymcError, match=r"samples of the shapes \(2,\), \(3,\); make them equal"):
        list(data.DataLoader([np.ones(3), np.ones(2)], 2))


def fail(n):
    raise OSError(f"sample {n} cannot be read")


def stay(n):
    time.sleep(30)


@pytest.mark.parametrize("options", [{}, {"num_workers": 1}, {"num_workers": 1, "thread_pool": True}])
def test_errors_of_workers_come_out(options):
    with pytest.raises(OSError, match="sample 1 cannot be read"):
        list(data.DataLoader(data.SimpleDataset([1]).transform(fail), 1, **options))


def leave(n):
    os._exit(7)


def test_a_worker_that_ends_is_told_at_once():
    loader = data.DataLoader(data.SimpleDataset([1, 2, 3]).transform(leave), 1, num_workers=1)
    for _ in range(2):
        with pytest.raises(mx.SymcError, match="a worker ended with exit code 7 before its batch was made"):
            list(loader)


def test_what_cannot_be_sent_is_told():
    loader = data.DataLoader(data.SimpleDataset([1, 2]), 1, num_workers=1, batchify_fn=unsendable)
    with pytest.raises(mx.SymcError, match="a worker cannot send function: "):
        list(loader)
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"pickle|local object"):
        list(data.DataLoader(data.SimpleDataset([1, 2]), 1, num_workers=1, batchify_fn=lambda batch: batch))


def of_all_kinds(batch):
    x = np.arange(24, dtype="float32").reshape(2, 3, 4) + batch[0]
    return {
        "plain": x,
        "turned": x.T,
        "parts": x[:, ::2],
        "empty": x[:0],
        "large": np.full(300000, batch[0]),
        "text": "x",
    }


def test_arrays_come_from_processes_as_they_are():
    for k, batch in enumerate(data.DataLoader(data.SimpleDataset([1, 2]), 1, num_workers=2, batchify_fn=of_all_kinds)):
        expected = of_all_kinds([k + 1])
        assert batch.pop("text") == expected.pop("text")
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array, strict=True)
            batch[name] += 1


def unsendable(batch):
    return lambda: batch


def test_loaders_end_while_large_batches_wait():
    for _ in range(3):
        loader = data.DataLoader(np.ones((99, 5000)), 8, num_workers=4)
        iterator = iter(loader)
        assert next(iterator).shape == (8, 5000)
        workers = [worker.process for worker in loader._processes.all]
        del iterator, loader
        for process in workers:
            process.join(20)
            while process.exitcode is None and process.sentinel in wait([process.sentinel], 0):
                time.sleep(0.01)  # a thread of the loader's has asked how it ended, and is about to write it down
            assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("options", [{}, {"num_workers": 1}, {"num_workers": 1, "thread_pool": True}])
def test_batches_in_pinned_memory(options):
    loader = data.DataLoader(data.ArrayDataset(X, Y), 5, pin_memory=True, auto_reload=True, **options)
    assert {part.context for batch in loader for part in batch} == {mx.cpu_pinned(0)}


def test_a_worker_that_stays_away():
    with pytest.raises(mx.SymcError, match=r"not there after 0.3 s; timeout="):
        list(data.DataLoader(data.SimpleDataset([1]).transform(stay), 1, num_workers=1, timeout=0.3))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "batch_size must be specified unless"),
        ({"batch_size": 1, "shuffle": True, "sampler": [0]}, "shuffle must not be specified if sampler"),
        ({"batch_size": 1, "batch_sampler": [[0]]}, "must not be specified if batch_sampler"),
        ({"batch_size": 1, "timeout": 0}, "timeout must be more than 0"),
    ],
)
def test_options_that_do_not_fit(options, text):
    with pytest.raises(ValueError, match=text):
        data.DataLoader(data.SimpleDataset([1]), **options)


PARENT = """
import signal
import time
import symc as mx
from symc.gluon import data

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without


def made(x):
    time.sleep(x)
    return mx.nd.ones((300, 300))

loader = data.DataLoader(data.SimpleDataset([0, 0, 60, 60]).transform(made), 1, num_workers=2)
batches = iter(loader)
next(batches), next(batches)
print(*(worker.process.pid for worker in loader._processes.all), flush=True)
next(batches)
"""


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(signal_sent):
    """In the middle of their work, by Ctrl-C (sent to all of the terminal's) as well; no memory outlives them."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    maps = [Path(f"/proc/{pid}/maps") for pid in (parent.pid, *workers)]
    assert not any("/dev/shm" in path.read_text() for path in maps if path.exists())  # nothing that could be left
    if signal_sent == signal.SIGKILL:
        parent.kill()
    else:
        os.killpg(parent.pid, signal_sent)
    begin = time.monotonic()
    _, errors = parent.communicate(timeout=60)
    assert ("KeyboardInterrupt" in errors) == (signal_sent == signal.SIGINT)
    while any(map(is_alive, workers)) and time.monotonic() < begin + 60:  # 2 s, on a machine without other work
        time.sleep(0.01)
    assert len(workers) == 2 and not any(map(is_alive, workers))


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_wikitext_is_numbered_as_mxnet_numbers_it(tmp_path):
    """The values are those of MXNet 1.9.1 for these files."""
    text = " \n = Robert <unk> = \n \n Robert was an actor , and a  writer . \n\n He was seen in 2000 . \n a b c d e\n"
    (tmp_path / "wiki.train.tokens").write_text(text)
    with zipfile.ZipFile(tmp_path / "wikitext-2-v1.zip", "w") as archive:
        archive.writestr("wikitext-2/wiki.test.tokens", "He saw an actor and Robert .\n")
    train = mx.gluon.contrib.data.text.WikiText2(str(tmp_path), seq_len=4)
    words = train.vocabulary.idx_to_token
    assert words == ("<unk> <eos> . = Robert a was , 2000 He actor an and b c d e in seen writer".split())
    flat = "= Robert <unk> = <eos> Robert was".split()
    assert len(train) == 6
    x, y = train[0]
    assert [words[k] for k in x.asnumpy()] == flat[:4] and [words[k] for k in y.asnumpy()] == flat[1:5]
    assert x.dtype == np.int32
    assert train.frequencies["Robert"] == 2
    test = mx.gluon.contrib.data.text.WikiText2(str(tmp_path), "test", train.vocabulary, 3)
    assert [" ".join(words[k] for k in part.asnumpy()) for part in test[1]] == ["actor and Robert", "and Robert ."]


def test_wikitext_is_not_downloaded(tmp_path):
    with pytest.raises(
        mx.MXNetError, match=r"WikiText103: put wiki.valid.tokens or wikitext-103-v1.zip into .*nothing is"
    ):
        mx.gluon.contrib.data.text.WikiText103(str(tmp_path), "validation")
    with pytest.raises(ValueError, match="no segment 'valid'; there are train, validation, test"):
        mx.gluon.contrib.data.text.WikiText2(str(tmp_path), "valid")
