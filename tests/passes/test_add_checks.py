"""Elements that an operator cannot work with raise where MXNet raises, whether it runs alone or in a program."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ElementError, SymcError
from symc.passes.add_checks import add_checks

from .golden import changes, keeps

S = mx.sym
ALLOWED = "Error in operator y: take: indices must lie between 0 and 4; mode='clip' and mode='wrap' allow others"


def test_take_of_mode_raise_gets_a_check():
    changes(
        add_checks,
        """
        argument %x: float32[5]
        argument %i: float64[2]
        %y = take(%x, %i, mode='raise'): float32[2]
        head y = %y
        """,
        f"""
        argument %x: float32[5]
        argument %i: float64[2]
        %y = take(%x, %i, mode='raise'): float32[2]
        %y.greater_equal_scalar = _greater_equal_scalar(%i, scalar=0.0): float64[2]
        %y.lesser_equal_scalar = _lesser_equal_scalar(%i, scalar=4.0): float64[2]
        %y.elemwise_mul = elemwise_mul(%y.greater_equal_scalar, %y.lesser_equal_scalar): float64[2]
        %y.rminus_scalar = _rminus_scalar(%y.elemwise_mul): float64[2]
        %y.Cast = Cast(%y.rminus_scalar, dtype='float32'): float32[2]
        %y.sum = sum(%y.Cast): float32[1]
        head y = %y
        check "{ALLOWED}" = %y.sum
        """,
    )


@pytest.mark.parametrize("mode", ["", ", mode='wrap'"])
def test_other_modes_get_none(mode):
    keeps(
        add_checks,
        f"""
        argument %x: float32[5]
        argument %i: int32[2]
        %y = take(%x, %i{mode}): float32[2]
        head y = %y
        """,
    )


TAKE = ("take", {"mode": "raise"}, (5,))
GATHER = ("gather_nd", {}, (5, 3))
CASES = [  # operator, parameters, shape of the data; indices, whether they are allowed
    (*TAKE, [0, 4], True),
    (*TAKE, [0, 5], False),
    (*TAKE, [-1, 2], False),
    (*TAKE, [4.5, 2], False),  # as in MXNet, which compares before it truncates
    (*TAKE, [np.nan, 2], False),
    ("take", {"mode": "raise", "axis": 1}, (5, 3), [[2, 0]], True),
    ("take", {"mode": "raise", "axis": -1}, (5, 3), [[2, 3]], False),
    (*GATHER, [[0, 4], [2, 0]], True),
    (*GATHER, [[0, -5], [2, -3]], True),
    (*GATHER, [[0, 5], [2, 0]], False),
    (*GATHER, [[0, 4], [2, -4]], False),
    (*GATHER, [[5]], False),
]


WAYS = ("nd", "forward", "call", "training", "recorded", "cached", "recorded and cached")


def run(way, name, inputs, params):
    """Twice the operator's result, computed in one of several ways; the first input has a gradient."""
    arrays = {f"x{k}": mx.nd.array(v) for k, v in enumerate(inputs)}
    names = list(arrays)
    make, function = (getattr(m.linalg if name in REFUSED else m, name) for m in (S, mx.nd))
    symbol = S.Group([make(*map(S.Variable, names), **params)])
    if way == "nd":
        return function(*arrays.values(), **params)
    arrays["x0"].attach_grad()
    if way == "recorded":
        with mx.autograd.record():
            return function(*arrays.values(), **params)
    if way.endswith("cached"):
        with mx.autograd.record() if way.startswith("recorded") else mx.autograd.pause():
            return mx.nd.CachedOp(symbol)(*arrays.values())
    grads = {"x0": arrays["x0"].grad} if way == "training" else None
    grad_req = {n: "write" if grads and n == "x0" else "null" for n in names}
    executor = symbol.bind(mx.cpu(), arrays, grads, grad_req=grad_req)
    if way == "call":
        return executor(**{names[-1]: inputs[-1]})[0]
    return executor.forward(is_train=way == "training")[0]


@pytest.mark.parametrize("name, params, shape, indices, is_allowed", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_positions_out_of_range_raise(way, name, params, shape, indices, is_allowed):
    data, at = np.arange(np.prod(shape), dtype="float32").reshape(shape), np.array(indices, "float32")
    if not is_allowed:
        with pytest.raises(ElementError, match=f"Error in operator {name}.*: {name}: ind"):
            run(way, name, (data, at), params)
        return
    whole = at.astype(int)
    want = data.take(whole, axis=params.get("axis", 0)) if name == "take" else data[tuple(whole)]
    np.testing.assert_array_equal(run(way, name, (data, at), params).asnumpy(), want)


MATRICES = {
    "indefinite": [[1, 2], [2, 1]],
    "semidefinite": [[1, 2], [2, 4]],
    "without a diagonal": [[0, 1], [1, 0]],
    "zeros": [[0, 0], [0, 0]],
    "definite": [[2, 1], [1, 3]],
    "nan": [[np.nan, 0], [0, 1]],
}
REFUSED = {  # as MXNet does, in batches too; what has NaN before is let through
    "potrf": ({"indefinite", "semidefinite", "without a diagonal", "zeros"}, "a matrix is not positive definite"),
    "potri": ({"without a diagonal", "zeros"}, "a matrix is no Cholesky factor"),
    "inverse": ({"semidefinite", "zeros"}, "a matrix is singular"),
}


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("way", WAYS)
def test_matrices_without_a_result_raise(way, name, kind):
    refused, text = REFUSED[name]
    batch = np.array([MATRICES["definite"], MATRICES[kind]], "float32")
    for params in ({}, {"lower": False}) if name != "inverse" else ({},):
        if kind in refused:
            with pytest.raises(ElementError, match=f"{name}.*{text}"):
                run(way, name, (batch,), params)
            continue
        got = run(way, name, (batch,), params).asnumpy()
        assert np.isfinite(got[0]).all() and np.isnan(got[1]).any() == (kind == "nan")


def test_a_run_after_a_refused_one_is_right():
    symbol = S.take(S.Variable("x"), S.Variable("i"), mode="raise", name="y")
    executor = symbol.bind(mx.cpu(), {"x": mx.nd.arange(5), "i": mx.nd.array([7])})
    with pytest.raises(IndexError) as caught:
        executor.forward()
    assert str(caught.value) == ALLOWED and isinstance(caught.value, SymcError)
    assert executor.forward(i=mx.nd.array([3]))[0].asscalar() == 3


def test_a_large_take_is_compiled_and_checked():
    x, at = mx.nd.arange(100), mx.nd.arange(100).tile(2000)
    assert mx.nd.take(x, at, mode="raise").asnumpy().tolist() == at.asnumpy().tolist()
    at[777] = 100
    with pytest.raises(ElementError, match="indices must lie between 0 and 99"):
        mx.nd.take(x, at, mode="raise")
