"""Automatic names, prefixes and attribute scopes, as the real MXNet 1.9.1 gives them."""

from __future__ import annotations

import threading

import pytest

import symc as mx
from symc.symbol.listing import map_order


@pytest.fixture(autouse=True)
def _fresh_names():
    with mx.name.NameManager():
        yield


def var(name="x"):
    return mx.sym.var(name)


def test_operators_count_by_the_function_name():
    made = [
        mx.sym.FullyConnected(var(), num_hidden=3),
        mx.sym.FullyConnected(var(), num_hidden=3),
        mx.sym.Reshape(var(), shape=(1,)),
        mx.sym.reshape(var(), shape=(1,)),
        mx.sym.identity(var()),
        mx.sym.zeros((2,)),
        mx.sym.linspace(0, 1, 3),
    ]
    assert [s.name for s in made] == [
        "fullyconnected0", "fullyconnected1", "reshape0", "reshape1", "identity0", "_zeros0", "_linspace0",
    ]  # fmt: skip


@pytest.mark.parametrize("given", [3, b"fc", ["fc"]])
def test_a_name_is_a_string(given):
    for make in (mx.sym.Variable, lambda name: mx.sym.relu(mx.sym.Variable("x"), name=name)):
        with pytest.raises(TypeError, match="string"):
            make(given)


def test_python_operators():
    x, y = var(), var("y")
    assert [s.name for s in (x + y, x - y, x * y, x / y, x % y, x**y)] == [
        "_plus0", "_minus0", "_mul0", "_div0", "_mod0", "_power0",
    ]  # fmt: skip
    made = (x + 1, 1 + x, x - 1, 1 - x, x * 2, x / 2, 2 / x, x % 2, 2 % x, x**2, 2**x, -x, abs(x))
    assert [s.name for s in made] == [
        "_plusscalar0", "_plusscalar1", "_minusscalar0", "_rminusscalar0", "_mulscalar0", "_divscalar0",
        "_rdivscalar0", "_modscalar0", "_rmodscalar0", "_powerscalar0", "_rpower_scalar0", "_mulscalar1", "abs0",
    ]  # fmt: skip
    assert [s.name for s in (x == 1, x != 1, x > 1, x >= 1, x < 1, x <= 1, 1 < x, x == y)] == [
        "_equal_scalar0", "_not_equal_scalar0", "_greater_scalar0", "_greater_equal_scalar0", "_lesser_scalar0",
        "_lesser_equal_scalar0", "_greater_scalar1", "_equal0",
    ]  # fmt: skip


def test_maximum_and_friends():
    x = var()
    made = (mx.sym.maximum(x, var("y")), mx.sym.maximum(x, 2), mx.sym.minimum(2, x), mx.sym.pow(x, 2),
            mx.sym.pow(base=2, exp=x), mx.sym.hypot(left=x, right=2))  # fmt: skip
    assert [s.name for s in made] == [
        "_maximum0", "_maximumscalar0", "_minimumscalar0", "_powerscalar0", "_rpowerscalar0", "_hypotscalar0",
    ]  # fmt: skip
    assert mx.sym.maximum(2, 3) == 3 and mx.sym.pow(2, 3) == 8


def test_prefix_names_operators_but_not_variables():
    with mx.name.Prefix("net_"):
        first = mx.sym.FullyConnected(var("data"), num_hidden=2, name="fc")
        second = mx.sym.FullyConnected(first, num_hidden=2)
    assert (first.name, second.name) == ("net_fc", "net_fullyconnected0")
    assert second.list_arguments()[:3] == ["data", "net_fc_weight", "net_fc_bias"]


def test_the_innermost_manager_decides_alone():
    with mx.name.Prefix("a_"), mx.name.Prefix("b_"):
        assert mx.sym.exp(var()).name == "b_exp0"
    with mx.name.NameManager():
        assert [mx.sym.exp(var()).name for _ in range(2)] == ["exp0", "exp1"]
    assert mx.sym.exp(var()).name == "exp0"


def test_a_manager_entered_twice_is_left_twice():
    outer, manager = mx.name.current(), mx.name.NameManager()
    with manager:
        with manager:
            pass
        assert mx.name.current() is manager
    assert mx.name.current() is outer
    assert mx.name.NameManager.current is outer


def test_names_are_counted_per_thread():
    mx.sym.exp(var())
    names = []
    thread = threading.Thread(target=lambda: names.append(mx.sym.exp(var()).name))
    thread.start()
    thread.join()
    assert names == ["exp0"]


def test_scopes_nest_and_explicit_attributes_win():
    with mx.AttrScope(group="4", data="great"):
        x = mx.sym.Variable("x", attr={"dtype": "data", "group": "1"})
        y = mx.sym.Variable("y")
        with mx.AttrScope(ctx_group="dev"):
            z = mx.sym.exp(y)
    assert x.list_attr() == {"group": "1", "data": "great", "dtype": "data"}
    assert y.list_attr() == {"group": "4", "data": "great"}
    assert z.list_attr() == {"group": "4", "data": "great", "__ctx_group__": "dev", "ctx_group": "dev"}
    assert mx.sym.exp(y).list_attr() == {}


def test_a_scope_can_be_used_again():
    scope = mx.AttrScope(__a__="1")
    with mx.AttrScope(__b__="2"), scope:
        assert var().list_attr() == {"__b__": "2", "__a__": "1"}
    with scope:
        assert var().list_attr() == {"__a__": "1"}


def test_scope_values_are_strings():
    with pytest.raises(ValueError, match="Attributes need to be string"):
        mx.AttrScope(x=1)


@pytest.mark.parametrize(
    "keys, listed",
    [  # recorded from MXNet 1.9.1: the iteration order of its hash map
        (["b", "pool_type", "no_bias"], ["pool_type", "no_bias", "b"]),
        (
            ["c", "pooling_convention", "global_pool", "layout", "lower_bound", "b", "num_group", "p", "stride", "mode",
             "__init__", "kernel"],
            ["c", "pooling_convention", "global_pool", "__init__", "p", "lower_bound", "layout", "b", "num_group",
             "stride", "kernel", "mode"],
        ),
    ],
)  # fmt: skip
def test_attributes_are_listed_in_mxnets_order(keys, listed):
    assert map_order(keys) == listed
