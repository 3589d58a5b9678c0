"""Shapes, dtypes and refusals of sorting, sequences, rearranging, coordinates, matrices, statistics and vision."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import DTypeError, ParameterError, ShapeError

from .reference import make_op

NEAREST = {"scale": 2, "sample_type": "nearest"}
USE = {"use_sequence_length": True}
AFFINE = {"transform_type": "affine", "target_shape": (4, 5)}
LSTM = {"mode": "lstm", "state_size": 3, "num_layers": 2, "state_outputs": True}
POOLED = {"pooled_size": (2, 2), "spatial_scale": 1.0}
HALF_KNOWN = (None, 3, None, 4)

# op, parameters, input shapes, expected input shapes, expected output shapes; None is unknown
INFERRED = [
    ("topk", {"k": 2}, [(None, 5)], [(None, 5)], [(None, 2)]),
    ("topk", {"k": 2, "axis": 0, "ret_typ": "both"}, [(3, None)], [(3, None)], [(2, None)] * 2),
    ("topk", {"k": 2, "ret_typ": "mask"}, [(None, 5)], [(None, 5)], [(None, 5)]),
    ("sort", {"axis": None}, [(None, 5)], [(None, 5)], [None, None]),
    ("argsort", {"axis": None}, [(2, 3)], [(2, 3)], [(6,)]),
    ("argmax_channel", {}, [(None, 3, 4)], [(None, 3, 4)], [(None, 4)]),
    ("SequenceMask", USE, [(4, None), (3,)], [(4, 3), (3,)], [(4, 3)]),
    ("SequenceLast", {**USE, "axis": 1}, [(None, 4, 2), (3,)], [(3, 4, 2), (3,)], [(3, 2)]),
    ("SequenceReverse", USE, [(4, 3), None], [(4, 3), (3,)], [(4, 3)]),
    ("cumsum", {"axis": 1}, [(None, 3)], [(None, 3)], [(None, 3)]),
    ("cumsum", {}, [(None, 3)], [(None, 3)], [None]),
    ("RNN", LSTM, [(5, 2, 4), None, None, None], [(5, 2, 4), (204,), (2, 2, 3), (2, 2, 3)],
     [(5, 2, 3), (2, 2, 3), (2, 2, 3)]),
    ("RNN", {**LSTM, "bidirectional": True, "projection_size": 2}, [(5, 2, 4), None, None, None],
     [(5, 2, 4), (408,), (4, 2, 2), (4, 2, 3)], [(5, 2, 4), (4, 2, 2), (4, 2, 3)]),
    ("RNN", {**LSTM, "mode": "gru", "state_outputs": False, "p": 0.5}, [(None, None, 4), (153,), (2, 7, None)],
     [(None, 7, 4), (153,), (2, 7, 3)], [(None, 7, 3)] * 2),
    ("RNN", {**LSTM, **USE, "mode": "rnn_relu"}, [(5, None, None), (51,), None, (2,)],
     [(5, 2, 4), (51,), (2, 2, 3), (2,)], [(5, 2, 3), (2, 2, 3)]),
    ("RNN", LSTM, [None, (204,), None, (2, 2, 3)], [None, (204,), None, (2, 2, 3)], [None] * 3),
    ("_rnn_param_concat", {"dim": 0, "num_args": 2}, [(2, None), (3, 4)], [(2, 4), (3, 4)], [(5, 4)]),
    ("_rnn_param_concat", {"dim": 0, "num_args": 3}, [(2,), None, (None,)], [(2,), (None,), (None,)], [(None,)]),
    ("depth_to_space", {"block_size": 2}, [(None, 8, 2, None)], [(None, 8, 2, None)], [(None, 2, 4, None)]),
    ("space_to_depth", {"block_size": 2}, [(None, 2, 4, None)], [(None, 2, 4, None)], [(None, 8, 2, None)]),
    ("Crop", {"num_args": 2}, [HALF_KNOWN, (1, 1, 2, 2)], [HALF_KNOWN, (1, 1, 2, 2)], [(None, 3, 2, 2)]),
    ("UpSampling", {**NEAREST, "num_args": 1}, [HALF_KNOWN], [HALF_KNOWN], [(None, 3, None, 8)]),
    ("UpSampling", {"scale": 2, "sample_type": "bilinear", "num_args": 2}, [(1, 3, 5, 6), None],
     [(1, 3, 5, 6), (3, 1, 4, 4)], [(1, 3, 10, 12)]),
    ("im2col", {"kernel": (3, 3)}, [(None, 2, 5, 5)], [(None, 2, 5, 5)], [(None, 18, 9)]),
    ("col2im", {"kernel": (3, 3), "output_size": (5, 5)}, [(1, 18, None)], [(1, 18, 9)], [(1, 2, 5, 5)]),
    ("diag", {"k": 1}, [(3, 4)], [(3, 4)], [(3,)]),
    ("diag", {}, [(None, 4)], [(None, 4)], [(None,)]),
    ("gather_nd", {}, [(3, None, 5), (1, 2)], [(3, None, 5), (1, 2)], [(2, None, 5)]),
    ("scatter_nd", {"shape": (3, 4)}, [None, (1, 6)], [(6, 4), (1, 6)], [(3, 4)]),
    ("_contrib_index_copy", {}, [(5, 3), None, (2, None)], [(5, 3), (2,), (2, 3)], [(5, 3)]),
    ("_ravel_multi_index", {"shape": (4, 5)}, [None], [(2, None)], [(None,)]),
    ("_unravel_index", {"shape": (4, 5)}, [(6,)], [(6,)], [(2, 6)]),
    ("moments", {"axes": (0,), "keepdims": True}, [(2, None)], [(2, None)], [(1, None)] * 2),
    ("multi_sum_sq", {"num_arrays": 2}, [None, (3,)], [None, (3,)], [(2,)]),
    ("_histogram", {}, [(9,), (4,)], [(9,), (4,)], [(3,), (4,)]),
    ("_contrib_index_array", {"axes": (1,)}, [(None, 3)], [(None, 3)], [(None, 3, 1)]),
    ("shape_array", {}, [(None, 3)], [(None, 3)], [(2,)]),
    ("khatri_rao", {"num_args": 2}, [(2, 3), (4, None)], [(2, 3), (4, 3)], [(8, 3)]),
    ("_linalg_gemm", {}, [(2, 3), (3, 4), None], [(2, 3), (3, 4), (2, 4)], [(2, 4)]),
    ("_linalg_gemm2", {"axis": 0}, [(3, None, 4), (4, 2, 5)], [(3, None, 4), (4, 2, 5)], [(3, 2, 5)]),
    ("_linalg_trmm", {}, [(None, 3), (None, 5)], [(3, 3), (3, 5)], [(3, 5)]),
    ("_linalg_maketrian", {"offset": -1}, [(2, 6)], [(2, 6)], [(2, 4, 4)]),
    ("_linalg_extracttrian", {}, [(None, 3, 3)], [(None, 3, 3)], [(None, 6)]),
    ("_contrib_interleaved_matmul_selfatt_valatt", {"heads": 2}, [(4, 2, 24), None], [(4, 2, 24), (4, 4, 4)],
     [(4, 2, 8)]),
    ("BilinearSampler", {}, [(1, 2, 5, 6), None], [(1, 2, 5, 6), (1, 2, None, None)], [(1, 2, None, None)]),
    ("GridGenerator", AFFINE, [None], [(None, 6)], [(None, 2, 4, 5)]),
    ("SpatialTransformer", {**AFFINE, "sampler_type": "bilinear"}, [(2, 3, 6, 6), None], [(2, 3, 6, 6), (2, 6)],
     [(2, 3, 4, 5)]),
    ("ROIPooling", POOLED, [(2, 3, 6, 6), (4, None)], [(2, 3, 6, 6), (4, 5)], [(4, 3, 2, 2)]),
    ("_contrib_ROIAlign", {**POOLED, "position_sensitive": True}, [(2, 8, 6, 6), (4, 5)], [(2, 8, 6, 6), (4, 5)],
     [(4, 2, 2, 2)]),
]  # fmt: skip


@pytest.mark.parametrize("name, params, ins, want_ins, want_outs", INFERRED)
def test_infers(name: str, params: dict, ins: list, want_ins: list, want_outs: list) -> None:
    rule = make_op(name, params)
    found = ins, [None] * len(rule.result_names())
    for _ in range(2):  # a second round changes nothing
        found = rule.infer_shape(*found)
        assert (list(found[0]), list(found[1])) == (want_ins, want_outs)


REFUSED = [
    ("topk", {"k": 6}, [(3, 5)], "k must be smaller than 5, get k = 6"),
    ("topk", {"axis": 2}, [(3, 5)], "axis 2 does not exist"),
    ("topk", {"dtype": "uint8"}, [(3, 300)], "does not have a sufficient precision"),
    ("SequenceMask", {}, [(3,)], "must be of rank 2 or greater"),
    ("SequenceMask", {"axis": 2}, [(3, 4, 5)], "expects axis to be 0 or 1"),
    ("SequenceReverse", {"axis": 1}, [(3, 4)], "expects axis to be 0"),
    ("SequenceLast", USE, [(3, 4), (3,)], "Shape inconsistent"),
    ("cumsum", {"axis": 2}, [(3, 4)], "axis 2 does not exist"),
    ("RNN", LSTM, [(5, 4), None, None, None], "data .*input size.* must have 3 dimensions"),
    ("RNN", LSTM, [(5, 2, 4), None, (2, 1, 3), None], r"Provided = \[2,1,3\], inferred shape=\(2,2,3\)"),
    ("RNN", LSTM, [(5, None, 4), None, (2, 1, 3), (2, 2, 3)], "extent: 1 against 2"),
    ("RNN", LSTM, [(5, 2, 4), (203,), None, None], r"Provided = \[203\], inferred shape=\(204\)"),
    ("RNN", LSTM, [(5, 2, None), (203,), None, None], r"no input size gives RNN\(.*\) parameters of \[203\]"),
    ("RNN", {**LSTM, "num_layers": 0}, [(5, 2, 4), None, None, None], "num_layers of at least 1, got 0"),
    ("RNN", {**LSTM, "projection_size": 0}, [(5, 2, 4), None, None, None], "projection_size=0 with mode lstm"),
    ("RNN", {**LSTM, "mode": "gru", "projection_size": 2}, [(5, 2, 4), None, None], "projection_size=2 with mode gru"),
    ("_rnn_param_concat", {"dim": 0, "num_args": 2}, [(2, 3), (3, 4)], "Shape inconsistent"),
    ("depth_to_space", {"block_size": 2}, [(1, 7, 2, 3)], "should be a multiple of 4"),
    ("depth_to_space", {"block_size": 0}, [(1, 8, 2, 3)], "must be a positive integer"),
    ("space_to_depth", {"block_size": 2}, [(8, 2, 3)], "requires exactly 4D tensor"),
    ("Crop", {"num_args": 1}, [(1, 2, 6, 7)], "should be larger than 1"),
    ("Crop", {"num_args": 1, "h_w": (3, 4), "offset": (5, 5)}, [(1, 2, 6, 7)], "does not lie inside"),
    ("UpSampling", {**NEAREST, "num_args": 2}, [(1, 2, 3, 4), (1, 3, 4, 8)], "does not divide output height"),
    ("im2col", {"kernel": (7, 7)}, [(1, 2, 5, 5)], "kernel size exceed input"),
    ("col2im", {"kernel": (3, 3), "output_size": (5, 5)}, [(1, 17, 9)], "multiples of kernel size"),
    ("col2im", {"kernel": (3, 3), "output_size": (5, 5)}, [(1, 18, 8)], "does not match convolution parameters"),
    ("diag", {"k": 5}, [(3, 4)], "Diagonal does not exist"),
    ("diag", {"axis1": 1, "axis2": -1}, [(3, 4)], "cannot refer to the same axis"),
    ("gather_nd", {}, [(3, 4), (3,)], "at least 2 dimensions"),
    ("gather_nd", {}, [(3, 4), (3, 6)], "Number of indices exceeds data dimension"),
    ("scatter_nd", {"shape": (3, 4)}, [(3,), (2, 2)], r"combination for scatter_nd: \[3\], \[2,2\], \[3,4\]"),
    ("_contrib_index_copy", {}, [(4, 2), (1, 1), (1, 2)], "index_vector must have 1"),
    ("_ravel_multi_index", {"shape": (7, 6)}, [(3, 3)], "does not match shape parameter"),
    ("_ravel_multi_index", {}, [(3, 3)], "Empty shape parameter"),
    ("moments", {}, [(2, 3)], "Empty axes is not supported"),
    ("_histogram", {"bin_cnt": 3}, [(9,)], "both or neither"),
    ("_histogram", {"bin_cnt": 3, "range": (2.0, 1.0)}, [(9,)], "the smaller one first"),
    ("_histogram", {}, [(9,), (1,)], "number of bounds should be >= 2"),
    ("khatri_rao", {"num_args": 2}, [(2, 3), (4, 5)], "Shape inconsistent"),
    ("_linalg_gemm2", {}, [(2, 3, 4), (2, 5, 5)], "Incompatible matrix dimensions"),
    ("_linalg_gemm2", {}, [(2, 3, 4), (4, 5)], "must have as many dimensions"),
    ("_linalg_gemm2", {"axis": -1}, [(2, 3), (3, 4)], "is that of the columns"),
    ("_linalg_trmm", {}, [(2, 3, 4), (2, 4, 3)], "First operand must be a tensor of square matrices"),
    ("_linalg_extractdiag", {"offset": 4}, [(4, 4)], "Illegal offset 4"),
    ("_linalg_maketrian", {}, [(2, 4)], "invalid dimension for the last axis"),
    ("_contrib_interleaved_matmul_selfatt_qk", {"heads": 2}, [(4, 2, 25)], "multiple of 3 projections"),
    ("_contrib_interleaved_matmul_encdec_qk", {"heads": 2}, [(4, 2, 8), (5, 2, 20)], r"queries.shape\[2\] \* 2"),
    ("CTCLoss", {}, [(6, 2, 0), (2, 3)], "no classes, expected the blank one"),
    ("WarpCTC", {"label_length": 2, "input_length": 2}, [(4, 0), (4,)], "no classes, expected the blank one"),
    ("preloaded_multi_sgd_update", {"num_weights": 2}, [(3,)] * 4 + [(1,), (2,)], "a number for each of 2 weights"),
    ("preloaded_multi_mp_sgd_update", {}, [(3,)] * 3 + [(1,), (2, 1)], r"wds of shape \[2,1\], expected a number"),
    ("_contrib_div_sqrt_dim", {}, [()], "must have at least 1 dimensions"),
    ("_contrib_BilinearResize2D", {"mode": "odd_scale"}, [(1, 1, 4, 4)], "needs scale_height"),
    ("_contrib_AdaptiveAvgPooling2D", {"output_size": (1, 2, 3)}, [(1, 1, 4, 4)], "one or two positive numbers"),
    ("GridGenerator", {"transform_type": "affine"}, [(2, 6)], "two positive numbers"),
    ("ROIPooling", POOLED, [(1, 1, 4, 4), (3, 4)], r"\[num_rois, 5\]"),
    ("_contrib_ROIAlign", {**POOLED, "position_sensitive": True}, [(1, 6, 4, 4), (3, 5)], "Input channels"),
]


@pytest.mark.parametrize(
    "total, found", [(17, (6,)), (18, "13 elements do not part evenly into 2 inputs"), (4, "5 exceed 4")]
)
def test_what_is_left_of_joined_parameters_is_parted_evenly(total: int, found: tuple | str) -> None:
    rule = make_op("_rnn_param_concat", {"dim": 0, "num_args": 3})
    ins, outs = [(None,), (5,), (None,)], [(total,)]
    if isinstance(found, tuple):
        assert rule.infer_shape(ins, outs) == ([found, (5,), found], outs)
        return
    with pytest.raises(ShapeError, match=found):
        rule.infer_shape(ins, outs)


@pytest.mark.parametrize("name, params, ins, message", REFUSED)
def test_refuses(name: str, params: dict, ins: list, message: str) -> None:
    rule = make_op(name, params)
    with pytest.raises(ShapeError, match=message):
        rule.infer_shape(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize(
    "name, params, n_inputs",
    [
        ("Activation", {"act_type": "softrelu"}, 1), ("LeakyReLU", {"act_type": "gelu"}, 1),
        ("SoftmaxActivation", {}, 1), ("MAERegressionOutput", {}, 2), ("SoftmaxOutput", {}, 1),
        ("softmax_cross_entropy", {}, 1), ("LRN", {"nsize": 3}, 1), ("_contrib_box_decode", {}, 2),
        ("sgd_update", {"lr": 1}, 2), ("mp_sgd_update", {"lr": 1}, 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_what_mxnet_computes_in_floats_alone_is_refused(name: str, params: dict, n_inputs: int, dtype: str) -> None:
    rule = make_op(name, params)
    ins = [dtype] * n_inputs + [None] * (len(rule.input_names()) - n_inputs)
    with pytest.raises(DTypeError, match=rf"{name} only supports floating point data .*, got {dtype}"):
        rule.infer_dtype(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize("rates", [{"r1": 0}, {"r2": 0}])
def test_updates_need_the_numbers_that_they_read(rates: dict) -> None:
    ins = [(2,), (2,), (rates.get("r1", 1),), (rates.get("r2", 1),)]
    with pytest.raises(ShapeError, match=r"r[12] of shape \[0\] has no elements for a result of \[2\]"):
        make_op("lamb_update_phase2", {"lr": 1}).checked_shapes(ins, [None])


@pytest.mark.parametrize(
    "name, params",
    [
        ("topk", {"ret_typ": "values"}), ("topk", {"dtype": "int8"}), ("UpSampling", {"scale": 0, "num_args": 1}),
        ("ROIPooling", {"pooled_size": (2, 2), "spatial_scale": 2.0}), ("SpatialTransformer", {"sampler_type": "no"}),
    ],
)  # fmt: skip
def test_refuses_parameters(name: str, params: dict) -> None:
    with pytest.raises(ParameterError):
        make_op(name, params)


@pytest.mark.parametrize(
    "name, params, dtypes, want",
    [
        ("topk", {"ret_typ": "both"}, ["float16"], ["float16", "float32"]),
        ("topk", {"dtype": "int64"}, ["int8"], ["int64"]),
        ("sort", {}, ["int32"], ["int32", "int32"]),
        ("cumsum", {}, ["bool"], ["int64"]),
        ("cumsum", {"dtype": "float64"}, ["int8"], ["float64"]),
        ("SequenceMask", USE, ["float64", "int32"], ["float64"]),
        ("amp_multicast", {"num_outputs": 2}, ["float16", "float32"], ["float32", "float32"]),
        ("amp_multicast", {"num_outputs": 2, "cast_narrow": True}, ["float16", "int32"], ["float16", "int32"]),
        ("gather_nd", {}, ["float16", "int64"], ["float16"]),
        ("_histogram", {}, ["float64", None], ["int64", "float64"]),
        ("all_finite", {}, ["float16"], ["float32"]),
        ("_contrib_allclose", {}, ["float64", None], ["uint8"]),
    ],
)
def test_infers_dtype(name: str, params: dict, dtypes: list, want: list) -> None:
    assert make_op(name, params).infer_dtype(dtypes, [None] * len(want))[1] == want


def test_bool_is_not_sorted() -> None:
    with pytest.raises(DTypeError, match="cannot sort bool"):
        make_op("sort").infer_dtype(["bool"], [None, None])


def test_lengths_out_of_range_count_as_the_nearest() -> None:
    x, lengths = mx.sym.Variable("x"), mx.sym.Variable("n")
    given = {"x": mx.nd.array([[1.0, 2], [3, 4], [5, 6]]), "n": mx.nd.array([-1.0, 9])}
    net = mx.sym.SequenceLast(x, lengths, use_sequence_length=True)
    assert net.bind(mx.cpu(), given).forward()[0].asnumpy().tolist() == [1, 6]
    net = mx.sym.SequenceReverse(x, lengths, use_sequence_length=True)
    assert net.bind(mx.cpu(), given).forward()[0].asnumpy().tolist() == [[1, 6], [3, 4], [5, 2]]


def test_of_equal_coordinates_the_last_counts_and_gradients_add() -> None:
    data, at = mx.nd.array([1.0, 2, 3]), mx.nd.array([[1, 1, 0]])
    net = mx.sym.scatter_nd(mx.sym.Variable("x"), mx.sym.Variable("i"), shape=(3,))
    assert net.bind(mx.cpu(), {"x": data, "i": at}).forward()[0].asnumpy().tolist() == [3, 2, 0]
    table, found = mx.nd.array([5.0, 6, 7]), mx.nd.zeros((3,))
    net = mx.sym.gather_nd(mx.sym.Variable("x"), mx.sym.Variable("i"))
    executor = net.bind(mx.cpu(), {"x": table, "i": at}, args_grad={"x": found}, grad_req={"x": "add", "i": "null"})
    for _ in range(2):
        executor.forward(is_train=True)
        executor.backward([data])
    assert found.asnumpy().tolist() == [6, 6, 0]


def test_nan_sorts_as_the_largest() -> None:
    x = np.array([[np.nan, -np.inf, 1, np.nan, np.inf]], "float32")
    for is_ascend, want in ((True, [1, 2, 4, 0, 3]), (False, [0, 3, 4, 2, 1])):
        net = mx.sym.argsort(mx.sym.Variable("x"), is_ascend=is_ascend)
        assert net.bind(mx.cpu(), {"x": mx.nd.array(x)}).forward()[0].asnumpy().tolist() == [want]


def test_a_shape_that_depends_on_values_is_refused_with_the_reason() -> None:
    net = mx.sym.contrib.boolean_mask(mx.sym.Variable("x"), mx.sym.Variable("m"), name="kept")
    assert net.infer_shape_partial(x=(4, 2)) == ([(4, 2), (4,)], [()], [])
    with pytest.raises(ShapeError, match="shape of kept cannot be decided"):
        net.simple_bind(mx.cpu(), x=(4, 2), m=(4,))
