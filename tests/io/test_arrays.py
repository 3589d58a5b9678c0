"""`NDArrayIter`: batches, epochs and names as MXNet 1.9 gives them (the expected numbers are recorded from it)."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx

DATA = np.arange(10).reshape(5, 2)  # row k is (2 k, 2 k + 1)
LABEL = np.arange(5)


def epochs(iterator, n_epochs=1):
    """The labels and the pad of every batch, by epoch; the data must be the rows with these numbers."""
    found = []
    for _ in range(n_epochs):
        epoch = []
        for batch in iterator:
            labels = batch.label[0].asnumpy().astype(int)
            np.testing.assert_array_equal(batch.data[0].asnumpy(), DATA[labels])
            epoch.append((labels.tolist(), batch.pad))
        found.append(epoch)
        iterator.reset()
    return found


PAD = [([0, 1], 0), ([2, 3], 0), ([4, 0], 1)]


@pytest.mark.parametrize(
    ("handle", "expected"),
    [
        ("pad", [PAD, PAD]),
        ("discard", [PAD[:2], PAD[:2]]),
        ("roll_over", [PAD[:2], [([4, 0], 1), ([1, 2], 0), ([3, 4], 0)], PAD[:2]]),
    ],
)
def test_the_last_batch(handle, expected):
    iterator = mx.io.NDArrayIter(DATA, LABEL, 2, last_batch_handle=handle)
    assert epochs(iterator, len(expected)) == expected


def test_the_layout_is_told():
    iterator = mx.io.NDArrayIter(DATA, LABEL, 2, layout="NHWC")
    assert [d.layout for d in (*iterator.provide_data, *iterator.provide_label)] == ["NHWC", "NHWC"]
    with pytest.raises(ValueError, match="layout 'TNC'; expected one whose first axis is N"):
        mx.io.NDArrayIter(DATA, LABEL, 2, layout="TNC")


def test_a_batch_larger_than_the_data_goes_round():
    assert epochs(mx.io.NDArrayIter(DATA, LABEL, 8)) == [[([0, 1, 2, 3, 4, 0, 1, 2], 3)]]
    assert epochs(mx.io.NDArrayIter(DATA, LABEL, 12)) == [[([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1], 7)]]


def test_shuffled_epochs_are_in_numpys_order():
    np.random.seed(3)  # noqa: NPY002 - the stream that MXNet draws from
    assert epochs(mx.io.NDArrayIter(DATA, LABEL, 2, shuffle=True), 3) == [
        [([3, 4], 0), ([1, 0], 0), ([2, 3], 1)],
        [([4, 2], 0), ([3, 1], 0), ([0, 4], 1)],
        [([2, 1], 0), ([0, 4], 0), ([3, 2], 1)],
    ]
    np.random.seed(3)  # noqa: NPY002 - the stream that MXNet draws from
    assert epochs(mx.io.NDArrayIter(DATA, LABEL, 2, shuffle=True, last_batch_handle="roll_over"), 2) == [
        [([3, 4], 0), ([1, 0], 0)],
        [([2, 4], 1), ([2, 3], 0), ([1, 0], 0)],
    ]


def test_names_shapes_and_dtypes():
    def told(*args, **kwargs):
        iterator = mx.io.NDArrayIter(*args, **kwargs)
        return [
            [(d.name, d.shape, d.dtype, d.layout) for d in (iterator.provide_data, iterator.provide_label)[k]]
            for k in (0, 1)
        ]

    f = np.float32
    assert told(DATA) == [[("data", (1, 2), f, "NCHW")], []]
    assert told([DATA, DATA], batch_size=2)[0] == [("_0_data", (2, 2), f, "NCHW"), ("_1_data", (2, 2), f, "NCHW")]
    assert told([DATA], [LABEL]) == [[("data", (1, 2), f, "NCHW")], [("softmax_label", (1,), f, "NCHW")]]
    assert told({"b": DATA, "a": DATA}, {"y": LABEL}, 2) == [
        [("a", (2, 2), f, "NCHW"), ("b", (2, 2), f, "NCHW")], [("y", (2,), f, "NCHW")],
    ]  # fmt: skip
    typed = mx.nd.array(DATA, dtype="int32"), mx.nd.array(LABEL, dtype="float16")
    assert told(*typed, 2, data_name="x", label_name="q") == [
        [("x", (2, 2), np.int32, "NCHW")], [("q", (2,), np.float16, "NCHW")],
    ]  # fmt: skip
    assert told(*typed, 2, shuffle=True) == [  # of which MXNet makes new arrays
        [("data", (2, 2), f, "NCHW")], [("softmax_label", (2,), f, "NCHW")],
    ]  # fmt: skip


def test_lists_of_numbers_are_arrays():
    """As in MXNet; a list that is given itself is one of arrays."""
    (batch,) = mx.io.NDArrayIter({"a": [[1, 2], [3, 4]]}, [[5, 6]], batch_size=2)
    assert [a.asnumpy().tolist() for a in (*batch.data, *batch.label)] == [[[1, 2], [3, 4]], [5, 6]]
    assert [d.name for d in mx.io.NDArrayIter([[1, 2], [3, 4]]).provide_data] == ["_0_data", "_1_data"]


def test_getters_and_resets():
    iterator = mx.io.NDArrayIter(DATA, LABEL, 2, last_batch_handle="roll_over")
    assert iterator.iter_next() and iterator.cursor == 0
    assert iterator.getdata()[0].asnumpy().tolist() == [[0, 1], [2, 3]] and iterator.getlabel()[0].shape == (2,)
    assert iterator.getpad() == 0 and iterator.getindex() is None
    assert epochs(iterator)[0] == [([2, 3], 0)]
    iterator.hard_reset()
    assert epochs(iterator)[0] == PAD[:2]
    while iterator.iter_next():
        pass
    with pytest.raises(AssertionError, match=r"epoch is over; call reset"):
        iterator.getdata()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mx.io.NDArrayIter("x"), TypeError, "Input must be NDArray"),
        (lambda: mx.io.NDArrayIter({"a": "x"}), TypeError, "Invalid type '<class 'str'>' for a"),
        (lambda: mx.io.NDArrayIter(np.ones((2, 3)), [1.0, 2.0]), ValueError, "_0_softmax_label is a number"),
        (lambda: mx.io.NDArrayIter(None), AssertionError, "there is no data"),
        (lambda: mx.io.NDArrayIter([]), AssertionError, "there is no data"),
        (lambda: mx.io.NDArrayIter(DATA, LABEL[:4]), ValueError, "softmax_label has 4 samples, expected 5"),
        (lambda: mx.io.NDArrayIter(DATA, last_batch_handle="stop"), ValueError, "expected pad, discard or roll_over"),
        (
            lambda: mx.io.NDArrayIter(DATA, batch_size=6, last_batch_handle="roll_over"),
            ValueError,
            "fill no batch of 6",
        ),
    ],
)
def test_what_is_wrong_is_said(make, error, text):
    with pytest.raises(error, match=text) as caught:
        make()
    assert isinstance(caught.value, mx.SymcError)


def test_descriptions_and_batches():
    d = mx.io.DataDesc("x", (2, 3))
    assert d == ("x", (2, 3)) and len(d) == 2 and repr(d) == "DataDesc[x,(2, 3),<class 'numpy.float32'>,NCHW]"
    assert [mx.io.DataDesc.get_batch_axis(layout) for layout in (None, "NCHW", "TNC", "XY")] == [0, 0, 1, -1]
    assert mx.io.DataDesc.get_list([("a", (1, 2))], [("a", np.float16)])[0].dtype is np.float16
    assert mx.io.DataDesc.get_list([("a", (1, 2))], None) == [("a", (1, 2))]
    batch = mx.io.DataBatch([mx.nd.ones((2, 3))], [mx.nd.ones(2)], pad=0)
    assert str(batch) == "DataBatch: data shapes: [(2, 3)] label shapes: [(2,)]"
    assert str(mx.io.DataBatch([mx.nd.ones((2, 3))])) == "DataBatch: data shapes: [(2, 3)] label shapes: None"
    with pytest.raises(AssertionError, match="Data must be list of NDArrays"):
        mx.io.DataBatch(mx.nd.ones((2, 3)))


def test_an_iterator_of_other_length():
    labels = [batch[0] for batch in PAD]
    resized = mx.io.ResizeIter(mx.io.NDArrayIter(DATA, LABEL, 2), 4)
    assert [b for b, _ in epochs(resized, 2)[1]] == [*labels, labels[0]]
    assert resized.batch_size == 2 and resized.provide_data == [("data", (2, 2))]
    going_on = mx.io.ResizeIter(mx.io.NDArrayIter(DATA, LABEL, 2), 2, reset_internal=False)
    assert [[b for b, _ in epoch] for epoch in epochs(going_on, 3)] == [labels[:2], [labels[2], labels[0]], labels[1:]]


def test_prefetched_batches():
    assert epochs(mx.io.PrefetchingIter(mx.io.NDArrayIter(DATA, LABEL, 2)), 3) == [PAD] * 3
    both = mx.io.PrefetchingIter(
        [mx.io.NDArrayIter(DATA, LABEL, 2), mx.io.NDArrayIter(-DATA, LABEL, 2)],
        rename_data=[{"data": "a"}, {"data": "b"}],
        rename_label=[{"softmax_label": "x"}, {"softmax_label": "y"}],
    )
    assert [d.name for d in (*both.provide_data, *both.provide_label)] == ["a", "b", "x", "y"]
    for batch in both:
        np.testing.assert_array_equal(batch.data[0].asnumpy(), -batch.data[1].asnumpy())
    with pytest.raises(StopIteration):
        both.next()
    unequal = mx.io.PrefetchingIter([mx.io.NDArrayIter(DATA, LABEL, 2), mx.io.NDArrayIter(DATA[:2], LABEL[:2], 2)])
    with pytest.raises(AssertionError, match="different numbers of batches"):
        list(unequal)


def test_an_error_of_the_inner_iterator_comes_out():
    class Failing(mx.io.NDArrayIter):
        def next(self):
            raise OSError("no more disk")

    with pytest.raises(OSError, match="no more disk"):
        mx.io.PrefetchingIter(Failing(DATA)).next()


@pytest.mark.parametrize("make", [
    lambda n: mx.io.NDArrayIter(DATA, batch_size=n),
    lambda n: mx.image.ImageIter(n, (3, 8, 8), imglist=[[0.0, "a.png"]]),
    lambda n: mx.rnn.BucketSentenceIter([[1, 2], [3, 4]], n, buckets=[2]),
    lambda n: mx.gluon.data.DataLoader(DATA, batch_size=n),
])  # fmt: skip
@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_a_sample(make, batch_size):
    with pytest.raises(mx.MXNetError, match=f"a batch has at least one sample, got batch_size={batch_size}"):
        make(batch_size)
