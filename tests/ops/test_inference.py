"""Shapes from partial shapes, in both directions, as MXNet infers them; and every refusal with its reason."""

from __future__ import annotations

import contextlib

import pytest

from symc.core.errors import DTypeError, ParameterError, ShapeError

from .reference import make_op
from .test_ops import FAMILIES, TABLES

# op, parameters, input shapes, expected input shapes, expected first output; None is unknown
INFERRED = [
    ("elemwise_add", {}, [(2, None), (None, 3)], [(2, 3), (2, 3)], (2, 3)),
    ("elemwise_add", {}, [None, (2, 3)], [(2, 3), (2, 3)], (2, 3)),
    ("broadcast_add", {}, [(None, 3), (1, 3)], [(None, 3), (1, 3)], (None, 3)),
    ("broadcast_add", {}, [(None, 3), (5, 3)], [(None, 3), (5, 3)], (5, 3)),
    ("broadcast_add", {}, [(2, None), (3,)], [(2, None), (3,)], (2, 3)),
    ("Reshape", {"shape": (0, -1)}, [(None, 3, 4)], [(None, 3, 4)], (None, None)),
    ("Reshape", {"shape": (6, 4)}, [(None, 3, 4)], [(2, 3, 4)], (6, 4)),
    ("Reshape", {"shape": (0, -3)}, [(None, 3, 4)], [(None, 3, 4)], (None, 12)),
    ("Reshape", {"shape": (-4, -1, 2, 0)}, [(None, 3)], [(None, 3)], (None, 2, 3)),
    ("Flatten", {}, [(None, 3, 4)], [(None, 3, 4)], (None, 12)),
    ("expand_dims", {"axis": 1}, [(None, 3)], [(None, 3)], (None, 1, 3)),
    ("squeeze", {}, [(None, 1, 3)], [(None, 1, 3)], None),
    ("transpose", {}, [(None, 3)], [(None, 3)], (3, None)),
    ("slice", {"begin": (None, 1), "end": (None, 3)}, [(None, 5)], [(None, 5)], (None, 2)),
    ("slice_axis", {"axis": 0, "begin": 1, "end": 3}, [(None, 5)], [(None, 5)], (None, 5)),
    ("slice_like", {"axes": (1,)}, [(None, 5), (2, 3)], [(None, 5), (2, 3)], (None, 3)),
    ("Concat", {"num_args": 2}, [(2, 3), (None, 4)], [(2, 3), (2, 4)], (2, 7)),
    ("Concat", {"num_args": 2}, [(2, 3), (2, None)], [(2, 3), (2, None)], (2, None)),
    ("stack", {"num_args": 2}, [(2, 3), (None, 3)], [(2, 3), (2, 3)], (2, 2, 3)),
    ("SliceChannel", {"num_outputs": 2}, [(None, 4)], [(None, 4)], (None, 2)),
    ("tile", {"reps": (2, 2)}, [(None, 3)], [(None, 3)], (None, 6)),
    ("sum", {"axis": 1}, [(None, 3)], [(None, 3)], (None,)),
    ("sum", {}, [(None, 3)], [(None, 3)], (1,)),
    ("broadcast_like", {}, [(2, 1), (None, 3)], [(2, 1), (None, 3)], (2, 3)),
    ("where", {}, [(2,), (None, 3), None], [(2,), (2, 3), (2, 3)], (2, 3)),
    ("Pad", {"mode": "edge", "pad_width": (0, 0, 1, 1)}, [(None, 3)], [(None, 3)], (None, 5)),
    ("_zeros", {"shape": (0, 3)}, [], [], (None, 3)),
    ("_arange", {"start": 5, "infer_range": True}, [], [], None),
]


@pytest.mark.parametrize("name, params, ins, want_ins, want_out", INFERRED)
def test_infers(name: str, params: dict, ins: list, want_ins: list, want_out: tuple | None) -> None:
    rule = make_op(name, params)
    found = ins, [None] * len(rule.result_names())
    for _ in range(2):  # a second round changes nothing
        found = rule.infer_shape(*found)
        assert found[0] == want_ins
        assert found[1][0] == want_out


@pytest.mark.parametrize(
    "name, params, out, want",
    [
        ("exp", {}, (2, 3), (2, 3)),
        ("transpose", {"axes": (1, 2, 0)}, (3, None, 2), (2, 3, None)),
        ("expand_dims", {"axis": 1}, (2, 1, 3), (2, 3)),
        ("stack", {"num_args": 1}, (1, 2), (2,)),
        ("_zeros", {"shape": (0, 3)}, (5, 3), None),
    ],
)
def test_infers_backward(name: str, params: dict, out: tuple, want: tuple | None) -> None:
    rule = make_op(name, params)
    ins, outs = rule.infer_shape([None] * len(rule.input_names()), [out])
    assert outs == [out]
    assert ins == ([] if want is None else [want])


@pytest.mark.parametrize(
    "name, params, data, out, want",
    [
        ("SliceChannel", {"num_outputs": 3}, (None, 15, None), (3, 5, 2), (3, 15, 2)),
        ("SliceChannel", {"num_outputs": 3}, (None, None, 2), (None, 5, 2), (None, 15, 2)),
        ("SliceChannel", {"num_outputs": 4, "squeeze_axis": True}, (None, None), (5,), (5, 4)),
        ("_split_v2", {"indices": (), "sections": 2, "axis": 0}, (None, None), (3, 4), (6, 4)),
        ("_split_v2", {"indices": (0, 1), "axis": 0}, (None, None), (1, 4), (None, 4)),
    ],
)
def test_pieces_tell_the_whole(name: str, params: dict, data: tuple, out: tuple, want: tuple) -> None:
    rule = make_op(name, params)
    outs = [None, out, *[None] * (len(rule.result_names()) - 2)]
    (found,), _ = rule.infer_shape([data], outs)
    assert found == want


def test_pieces_of_another_rank_are_refused() -> None:
    with pytest.raises(ShapeError, match="Shape inconsistent"):
        make_op("SliceChannel", {"num_outputs": 2}).infer_shape([(None, None)], [(3,), None])


@pytest.mark.parametrize(
    "name, ins",
    [
        ("batch_dot", [(None, 3, 4), (None, None, 5)]),
        ("where", [(None, 2), (None, 2), (None, 2)]),
        ("where", [(None,), (2, 2), (2, 2)]),
    ],
)
def test_says_nothing_before_enough_is_known(name: str, ins: list) -> None:
    assert make_op(name, {}).infer_shape(ins, [None]) == (ins, [None])


@pytest.mark.parametrize(
    "name, params, ins, message",
    [
        ("elemwise_add", {}, [(2, 3), (2, 4)], r"Shape inconsistent, Provided = \[2,3\], inferred shape=\(2,4\)"),
        ("broadcast_add", {}, [(2, 3), (2, 4)], r"could not be broadcast together with shapes \[2,3\] \[2,4\]"),
        ("Reshape", {"shape": (5, 2)}, [(2, 3)], "Target shape size is different to source"),
        ("Reshape", {"shape": (5, -1)}, [(2, 3)], "6 elements do not fit"),
        ("Reshape", {"shape": (-1, -1)}, [(2, 3)], "One and only one dim can be inferred"),
        ("Reshape", {"shape": (0, 0, 0)}, [(2, 3)], "needs more than the 2 dimensions"),
        ("Reshape", {"shape": (-4, 2, 2, 0)}, [(3, 3)], "Split dims 2, 2 do not divide original dim 3"),
        ("Reshape", {"shape": (-5,)}, [(3, 3)], "-5 is no shape code"),
        ("squeeze", {"axis": 0}, [(2, 3)], "cannot squeeze"),
        ("expand_dims", {"axis": 4}, [(2, 3)], "axis 4 does not exist"),
        ("reshape_like", {}, [(4,), (2, 3)], "Target shape size"),
        ("transpose", {"axes": (0, 0)}, [(2, 3)], "no permutation"),
        ("slice", {"begin": (0,), "end": (1,), "step": (0,)}, [(3,)], "cannot be 0"),
        ("slice_axis", {"axis": 0, "begin": 2, "end": 5}, [(3,)], "Invalid begin, end"),
        ("slice_like", {}, [(2, 3), (3, 3)], "exceeds limit of input"),
        ("Concat", {"num_args": 2}, [(2, 3), (3, 3)], "Shape inconsistent"),
        ("SliceChannel", {"num_outputs": 2}, [(4, 3)], "does not split into 2 equal pieces"),
        ("SliceChannel", {"num_outputs": 2, "squeeze_axis": True}, [(4, 4)], "squeeze_axis needs"),
        ("_split_v2", {"indices": (0, 5)}, [(2, 3)], "do not cut an axis"),
        ("broadcast_to", {"shape": (3, 3)}, [(2, 3)], "its size must be 1"),
        ("broadcast_to", {"shape": (3,)}, [(1, 1)], "cannot be broadcasted"),
        ("broadcast_axis", {"axis": 1, "size": (2, 3)}, [(1, 1)], "differ in length"),
        ("where", {}, [(2,), (3, 3), (3, 3)], "Shape inconsistent"),
        ("where", {}, [(2, 2, 2), (2, 2), (2, 2)], "nor 1-d"),
        ("Pad", {"mode": "reflect", "pad_width": (0, 0, 3, 1)}, [(1, 3)], "reflecting 3 elements"),
        ("Pad", {"mode": "edge", "pad_width": (0, 0)}, [(1, 3)], "two numbers for each axis"),
        ("sum", {"axis": (0, 0)}, [(2, 3)], "Reduction axes have duplicates"),
        ("sum", {"axis": 2}, [(2, 3)], "axis 2 does not exist"),
        ("_arange", {"start": 5, "stop": 2}, [], "Invalid range"),
        ("_arange", {"start": 0, "stop": "nan"}, [], "Invalid range"),
        ("_arange", {"start": 0, "stop": "inf"}, [], "Invalid range"),
        ("_arange", {"start": 0, "stop": 3, "step": "nan"}, [], "Invalid range"),
    ],
)
def test_refuses(name: str, params: dict, ins: list, message: str) -> None:
    rule = make_op(name, params)
    with pytest.raises(ShapeError, match=message):
        rule.infer_shape(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_without_axes_are_taken_or_refused(family: str) -> None:
    """Never by an error that Python raises where an axis is missing."""
    for case in TABLES[family].CASES:
        rule = make_op(case.op, case.params)
        for k in range(len(case.shapes)):
            ins = [() if j == k else shape for j, shape in enumerate(case.shapes)]
            with contextlib.suppress(ShapeError):
                rule.infer_shape(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize(
    "name, params", [("norm", {"ord": 3}), ("repeat", {"repeats": -1}), ("Pad", {"mode": "wrap", "pad_width": (0, 0)})]
)
def test_refuses_parameters(name: str, params: dict) -> None:
    with pytest.raises(ParameterError):
        make_op(name, params)


@pytest.mark.parametrize(
    "name, params, dtypes, want",
    [
        ("_plus_scalar", {"scalar": 2.5}, ["int32"], "int32"),
        ("_plus_scalar", {"scalar": 2.5, "is_int": False}, ["int32"], "float64"),
        ("_plus_scalar", {"scalar": 2}, ["bool"], "int64"),
        ("_plus_scalar", {"scalar": 2.5, "is_int": False}, ["float16"], "float16"),
        ("where", {}, ["int8", "float32", "float32"], "float32"),
        ("Cast", {"dtype": "uint8"}, ["float64"], "uint8"),
        ("amp_cast", {"dtype": "float16"}, ["int32"], "int32"),
        ("norm", {"out_dtype": "float64"}, ["float32"], "float64"),
    ],
)
def test_infers_dtype(name: str, params: dict, dtypes: list, want: str) -> None:
    assert make_op(name, params).infer_dtype(dtypes, [None])[1] == [want]


def test_refuses_mixed_dtypes() -> None:
    with pytest.raises(DTypeError, match="expected one dtype, got float32, int32"):
        make_op("elemwise_add").infer_dtype(["int32", "float32"], [None])


def test_pooling_refuses_integers_as_mxnet_does() -> None:
    with pytest.raises(DTypeError, match="Pooling: This operation only support floating point types, not int32"):
        make_op("Pooling", {"kernel": (2, 2)}).infer_dtype(["int32"], [None])


EMPTY = [  # op, parameters, input shapes: an output with elements, picked from an input without
    ("take", {}, [(0, 3), (2,)]),
    ("take", {"mode": "wrap", "axis": 1}, [(3, 0), (2,)]),
    ("pick", {}, [(3, 0), (3,)]),
    ("pick", {"mode": "wrap"}, [(3, 0), (3,)]),
    ("batch_take", {}, [(3, 0), (3,)]),
    ("gather_nd", {}, [(0, 3), (1, 2)]),
    ("gather_nd", {}, [(2, 0, 3), (2, 5)]),
    ("SequenceLast", {}, [(0, 2, 3)]),
    ("SequenceLast", {"use_sequence_length": True}, [(0, 2, 3), (2,)]),
    ("argmax", {"axis": 1}, [(3, 0)]),
    ("argmin", {}, [(0,)]),
    ("argmax_channel", {}, [(3, 0)]),
    ("max", {}, [(3, 0)]),
    ("min", {"axis": 1, "keepdims": True}, [(3, 0)]),
    ("softmax_cross_entropy", {}, [(5, 0), (5,)]),
    ("_contrib_BilinearResize2D", {"height": 3, "width": 3}, [(1, 2, 0, 4)]),
    ("_contrib_AdaptiveAvgPooling2D", {}, [(1, 2, 0, 4)]),
    ("BilinearSampler", {}, [(1, 2, 5, 0), (1, 2, 3, 4)]),
    ("SpatialTransformer", {"target_shape": (4, 3), "transform_type": "affine", "sampler_type": "bilinear"},
     [(1, 2, 0, 5), (1, 6)]),
    ("ROIPooling", {"pooled_size": (2, 2), "spatial_scale": 1.0}, [(0, 3, 6, 6), (2, 5)]),
    ("_contrib_ROIAlign", {"pooled_size": (2, 2), "spatial_scale": 1.0}, [(1, 3, 6, 0), (2, 5)]),
    ("Pooling", {"kernel": (1, 1), "pad": (1, 1)}, [(1, 2, 0, 3)]),
    ("Pooling", {"kernel": (1, 1), "global_pool": True}, [(1, 2, 0, 3)]),
    ("_sample_multinomial", {}, [(2, 0)]),
    ("Pad", {"mode": "edge", "pad_width": (1, 1, 0, 0)}, [(0, 3)]),
    ("Pad", {"mode": "reflect", "pad_width": (1, 1, 0, 0)}, [(0, 3)]),
    ("scatter_nd", {"shape": (0, 3)}, [(2, 3), (1, 2)]),
    ("_scatter_set_nd", {"shape": (0, 3)}, [(0, 3), (2, 3), (1, 2)]),
    ("_contrib_index_copy", {}, [(0, 3), (2,), (2, 3)]),
    ("topk", {"axis": 1}, [(3, 0)]),
]  # fmt: skip


@pytest.mark.parametrize("name, params, ins", EMPTY, ids=lambda v: str(v))
def test_nothing_is_picked_from_what_has_no_elements(name: str, params: dict, ins: list) -> None:
    rule = make_op(name, params)
    with pytest.raises(ShapeError):
        rule.checked_shapes(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize("name, params, ins", [
    ("Deconvolution", {"kernel": (4, 4), "stride": (3, 3), "pad": (3, 3), "num_filter": 3}, [(2, 33, 1, 4), None]),
    ("Deconvolution", {"kernel": (1,), "pad": (1,), "num_filter": 3}, [(2, 33, 1), None]),
    ("broadcast_to", {"shape": (-1, 4)}, [(1, 4)]),
    ("broadcast_axis", {"axis": 0, "size": -2}, [(1, 4)]),
    ("_zeros", {"shape": (-2, 3)}, []),
    ("_random_uniform", {"shape": (-2, 3)}, []),
    ("_sample_multinomial", {"shape": (-2,)}, [(2, 4)]),
], ids=lambda v: str(v))  # fmt: skip
def test_no_extent_is_below_zero(name: str, params: dict, ins: list) -> None:
    rule = make_op(name, params)
    with pytest.raises(ShapeError, match="no extent below 0"):
        rule.checked_shapes(ins, [None] * len(rule.result_names()))


@pytest.mark.parametrize("name, params, ins, out", [
    ("take", {}, [(0, 3), (0,)], (0, 3)),
    ("take", {}, [(5, 0), (2,)], (2, 0)),
    ("pick", {}, [(0, 4), (0,)], (0,)),
    ("argmax", {"axis": 0}, [(3, 0)], (0,)),
    ("max", {"axis": 0}, [(3, 0)], (0,)),
    ("sum", {}, [(3, 0)], (1,)),
    ("Pooling", {"kernel": (1, 1)}, [(0, 2, 3, 3)], (0, 2, 3, 3)),
    ("Pad", {"mode": "constant", "pad_width": (1, 1, 0, 0)}, [(0, 3)], (2, 3)),
    ("slice", {"begin": (2,), "end": (1,)}, [(3,)], (0,)),
    ("repeat", {"repeats": 0}, [(2, 3)], (0,)),
    ("Pad", {"mode": "edge", "pad_width": (0, 0, 1, 1)}, [(0, 3)], (0, 5)),
])  # fmt: skip
def test_nothing_gives_nothing(name: str, params: dict, ins: list, out: tuple) -> None:
    assert make_op(name, params).checked_shapes(ins, [None])[1] == [out]
