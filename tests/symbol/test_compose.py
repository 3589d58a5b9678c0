"""Composition: inputs by position and keyword, variables made for missing ones, substitution, attributes, errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import pickletools

import numpy as np
import pytest

import symc as mx
from symc.functions import FLUENT
from symc.symbol.operators import NDARRAY_ONLY

var = mx.sym.var


@pytest.fixture(autouse=True)
def _fresh_names():
    with mx.name.NameManager():
        yield


def fc(**kwargs):
    return mx.sym.FullyConnected(var("data"), num_hidden=3, name="fc", **kwargs)


def split(n=2):
    return mx.sym.SliceChannel(var("q"), num_outputs=n, name="s")


def test_missing_inputs_become_variables_with_the_operators_attributes():
    f = fc()
    assert f.list_arguments() == ["data", "fc_weight", "fc_bias"]
    assert f.attr_dict() == {n: {"num_hidden": "3"} for n in ("fc_weight", "fc_bias", "fc")}
    assert mx.sym.Activation(act_type="relu").list_arguments() == ["activation0_data"]


def test_inputs_by_keyword_keep_the_operators_order():
    f = mx.sym.FullyConnected(bias=var("b"), data=var("x"), num_hidden=3, name="f")
    assert f.list_arguments() == ["x", "f_weight", "b"]


def test_parameters_choose_the_inputs():
    assert mx.sym.FullyConnected(var("d"), num_hidden=2, no_bias=True, name="f").list_arguments() == ["d", "f_weight"]
    with pytest.raises(mx.MXNetError, match=r"argument name bias not found.\nCandidate arguments:\n\t\[0\]data"):
        mx.sym.FullyConnected(var("d"), bias=var("b"), no_bias=True, num_hidden=2)


def test_variadic_operators():
    made = mx.sym.Concat(var("a"), var("b"), dim=1, name="c")
    assert made.list_arguments() == ["a", "b"] and made.list_attr() == {"num_args": "2", "dim": "1"}
    assert mx.sym.Concat(arg1=var("b"), arg0=var("a"), name="c").list_arguments() == ["a", "b"]
    assert mx.sym.Concat(var("a"), num_args=2, name="c").list_arguments() == ["a", "c_arg1"]
    with pytest.raises(TypeError, match="either as positional or keyword arguments, not both"):
        mx.sym.Concat(var("a"), b=var("b"))
    with pytest.raises(mx.MXNetError, match="requires 1, provided 2"):
        mx.sym.Concat(var("a"), var("b"), num_args=1)
    with pytest.raises(mx.MXNetError, match="argument name data not found"):
        mx.sym.Concat(data=var("a"))


def test_auxiliary_states_are_marked_and_initialized():
    b = mx.sym.BatchNorm(var("d"), moving_mean=var("m"), eps=0.1, name="bn")
    assert b.list_arguments() == ["d", "bn_gamma", "bn_beta"]
    assert b.list_auxiliary_states() == ["m", "bn_moving_var"]
    assert b.list_inputs() == ["d", "bn_gamma", "bn_beta", "m", "bn_moving_var"]
    assert b.attr_dict()["m"] == {"__init__": '["zero", {}]'}
    assert b.attr_dict()["bn_moving_var"] == {"__init__": '["one", {}]', "eps": "0.1"}
    with pytest.raises(mx.MXNetError, match="Mutation target can only be Variable"):
        mx.sym.BatchNorm(var("d"), moving_mean=mx.sym.exp(var("m")))


def test_a_symbol_called_with_symbols_is_a_changed_copy():
    f = mx.sym.exp(var("a")) + var("b")
    g = f(a=mx.sym.log(var("z"), name="l"), name="new")
    assert g.list_arguments() == ["z", "b"] and g.name == "new"
    assert f.list_arguments() == ["a", "b"] and f.name == "_plus0"
    assert mx.sym.Group([var("a"), f])(a=var("q")).list_outputs() == ["q", "_plus0_output"]
    twice = var("x")
    assert (twice + twice)(x=var("z")).list_arguments() == ["z"]


@pytest.mark.parametrize(
    "operator, parameters, left_out",
    [
        ("Pooling", {"global_pool": True}, "kernel"),
        ("Convolution", {"kernel": (3, 3), "num_filter": 2}, "stride"),
        ("Deconvolution", {"kernel": (3, 3), "num_filter": 2}, "target_shape"),
        ("slice", {"begin": (0, 1), "end": (1, 2)}, "step"),
        ("Dropout", {}, "axes"),
        ("transpose", {}, "axes"),
    ],
)
def test_a_tuple_that_may_be_left_out_may_be_none(operator, parameters, left_out):
    function, x = getattr(mx.sym, operator), var("x", shape=(2, 3, 8, 9))
    expected = function(x, name="y", **parameters)
    for none in (None, "None"):
        made = mx.sym.load_json(function(x, name="y", **parameters, **{left_out: none}).tojson())
        assert made.infer_shape() == expected.infer_shape()
    with pytest.raises(mx.MXNetError, match=r"Invalid Parameter format for reps expect Shape\(tuple\), required"):
        mx.sym.tile(x, reps=None)


@pytest.mark.parametrize(
    "text, number", [("-inf", -np.inf), (-np.inf, -np.inf), ("+inf", np.inf), ("-Infinity", -np.inf), ("-1.5f", -1.5)]
)
def test_real_parameters_are_read_as_c_reads_them(text, number):
    y = mx.sym.load_json(mx.sym._internal._maximum_scalar(var("x"), scalar=text).tojson())
    assert y.eval(x=mx.nd.array([-3.0]))[0].asscalar() == max(number, -3.0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda f: f(var("z")), mx.MXNetError, "General composition only support kwargs for now"),
        (
            lambda f: f(nope=var("z")),
            mx.MXNetError,
            r"argument name nope not found.\nCandidate arguments:\n\t\[0\]data",
        ),
        (lambda f: f(1), TypeError, "Compose expect `Symbol` as arguments"),
        (lambda f: f(var("z"), data=var("z")), TypeError, "not both"),
        (lambda f: f(data=split()), mx.MXNetError, "Keyword Argument data is a tuple, single value is required"),
        (lambda f: mx.sym.exp(split()), mx.MXNetError, "Keyword Argument data is a tuple"),
        (lambda f: mx.sym.Concat(split(), f), mx.MXNetError, "Argument 0 is a tuple"),
        (lambda f: mx.sym.exp("x"), AssertionError, "Argument data must be Symbol instances, but got x"),
        (lambda f: mx.sym.Concat(f, 3), AssertionError, "Positional arguments must be Symbol instances, but got 3"),
        (lambda f: mx.sym.FullyConnected(f, 3), AssertionError, "Argument weight must be Symbol instances"),
        (lambda f: mx.sym.exp(f, b=f), mx.MXNetError, "argument name b not found"),
        (lambda f: mx.sym.exp(f, data=f), TypeError, "multiple values for argument 'data'"),
        (lambda f: mx.sym.exp(f, None, None, None, 1), TypeError, "takes at most 4 arguments"),
        (lambda f: mx.sym.Convolution(f, kernel=(1, 1)), mx.MXNetError, "Required parameter num_filter"),
        (lambda f: mx.sym.FullyConnected(f, num_hidden="a"), mx.MXNetError, "Invalid Parameter format for num_hidden"),
        (lambda f: mx.sym.FullyConnected(f, num_hidden="9" * 5000), mx.MXNetError, "but value='9{200}[.]{3}', in"),
        (lambda f: mx.sym.Activation(f, act_type="relu" * 999), mx.MXNetError, 'act_type="(relu){50}[.]{3}"'),
        (
            lambda f: mx.sym.FullyConnected(f, num_hidden=2, attr={"mood": "x"}),
            mx.MXNetError,
            "Cannot find argument 'mood'",
        ),
        (
            lambda f: mx.sym.FullyConnected(f, num_hidden=2, weight_lr_mult=2),
            mx.MXNetError,
            r"w = Variable\(lr_mult=2\)",
        ),
        (lambda f: mx.sym.nosuchop, AttributeError, "has no attribute 'nosuchop'"),
        (lambda f: mx.sym.linalg.nosuchop, AttributeError, "has no attribute 'nosuchop'"),
        (lambda f: f + "a", TypeError, "type <class 'str'> not supported"),
        (lambda f: f == None, TypeError, "not supported"),  # noqa: E711
        (lambda f: f + True, mx.MXNetError, "Invalid Parameter format for scalar"),
        (lambda f: mx.sym.maximum(f, "a"), TypeError, "not supported"),
        (lambda f: mx.sym.Group(f), mx.base.NotImplementedForSymbol, "__bool__.* is not implemented for Symbol"),
        (lambda f: mx.sym.Group([]), TypeError, "Expected a list of symbols as input"),
        (lambda f: mx.sym.Group([f, 1]), TypeError, "Expected a list of symbols as input"),
        (lambda f: mx.sym.Variable(3), TypeError, "Expect a string for variable `name`"),
        (lambda f: mx.sym.Variable("x", init=3), TypeError, "init must be an initializer or its name, got 3"),
        (lambda f: mx.sym.Variable("x", init=mx.init.Zero), TypeError, "init must be an initializer or its name"),
        (lambda f: f.as_np_ndarray(), mx.base.NotImplementedForSymbol, "Function as_np_ndarray is not implemented"),
        (lambda f: mx.sym.Variable("x", custom="1"), ValueError, "must start and end with double underscores"),
        (lambda f: mx.sym.Variable("x", attr={"lr_mult": 2}), ValueError, "only accepts string values"),
        (lambda f: mx.sym.Variable("x", dtype="foo"), TypeError, "foo"),
        (lambda f: bool(f), mx.MXNetError, 'Function __bool__ .namely operator "bool". is not implemented for Symbol'),
        (lambda f: f.__iadd__(1), NotImplementedError, "only available in NDArray"),
        (lambda f: f.gradient(["data"]), mx.MXNetError, "not implemented"),
        (lambda f: f.list_attr(recursive=True), DeprecationWarning, "attr_dict"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(fc())


@pytest.mark.parametrize("name", NDARRAY_ONLY)
def test_ndarray_methods_are_refused(name):
    with pytest.raises(NotImplementedError, match=f"Function {name} is not implemented for Symbol"):
        getattr(var("x"), name)()


def test_lists_indices_and_groups():
    g = mx.sym.Group([split(), mx.sym.exp(var("b"))])
    assert g.list_outputs() == ["s_output0", "s_output1", "exp0_output"] and len(g) == 3 and g.name is None
    assert [s.list_outputs() for s in g] == [["s_output0"], ["s_output1"], ["exp0_output"]]
    assert g["s_output1"].attr("_value_index") == "1" and g[1:3].list_outputs() == ["s_output1", "exp0_output"]
    assert repr(g) == "<Symbol group [s, s, exp0]>" and repr(g[0]) == "<Symbol s>" and str(split()) == "<Symbol s>"
    for index, error in ((3, IndexError), ("nope", ValueError), (-1, mx.MXNetError), (1.5, TypeError)):
        with pytest.raises(error):
            g[index]
    with pytest.raises(ValueError, match="multiple outputs with name"):
        mx.sym.Group([mx.sym.exp(var("a"), name="e"), mx.sym.exp(var("b"), name="e")])["e_output"]


def test_internals_and_children():
    b = mx.sym.BatchNorm(mx.sym.exp(var("d"), name="e"), name="bn")
    assert b.get_internals().list_outputs() == [
        "d", "e_output", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var", "bn_output",
    ]  # fmt: skip
    assert b.get_internals()["e_output"].list_arguments() == ["d"]
    assert b.get_children().list_outputs() == ["e_output", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var"]
    assert var("x").get_children() is None


def test_attributes():
    f = mx.sym.Convolution(var("d"), kernel=(1, 1), num_filter=1, attr={"__mood__": "so so"}, lr_mult=1.0)
    want = {"num_filter": "1", "kernel": "(1, 1)", "__mood__": "so so", "__lr_mult__": "1.0", "lr_mult": "1.0"}
    assert list(f.list_attr().items()) == list(want.items())
    assert f.attr("__mood__") == "so so" and f.attr("lr_mult") == "1.0" and f.attr("nope") is None
    assert (f.attr("name"), f.attr("op_name")) == ("convolution0", "Convolution")
    assert mx.sym.exp(var("a"), foo=3).list_attr() == {"foo": "3"}  # no parameters, so nothing is checked


def test_variable_attributes():
    x = mx.sym.Variable(
        "x", shape=(2, 3), dtype="float16", lr_mult=2, wd_mult=0.5, init="zeros", __mine__=1, stype="csr"
    )
    assert x.list_attr() == {
        "__shape__": "(2, 3)", "__dtype__": "2", "__lr_mult__": "2", "lr_mult": "2", "__wd_mult__": "0.5",
        "wd_mult": "0.5", "__init__": "zeros", "__mine__": "1", "__storage_type__": "2",
    }  # fmt: skip


def test_setting_attributes_parses_again():
    f = fc()
    f._set_attr(num_hidden="7", lr_mult="2", name="other")
    assert f.infer_shape(data=(2, 5))[1] == [(2, 7)]
    assert f.list_outputs() == ["other_output"] and f.attr("lr_mult") == "2"
    with pytest.raises(mx.MXNetError, match="Cannot find argument 'mood'"):
        f._set_attr(mood="x")
    with pytest.raises(ValueError, match="only accepts string"):
        f._set_attr(num_hidden=7)
    with pytest.raises(mx.MXNetError, match="non-grouped"):
        mx.sym.Group([f, var("x")])._set_attr(x="1")


def test_parameters_are_kept_as_pythons_text():
    assert (var("x") * 2.5).list_attr() == {"scalar": "2.5"} and (-var("x")).list_attr() == {"scalar": "-1.0"}
    assert (np.float32(1.1) + var("x")).list_attr() == {"scalar": "1.1"}
    assert mx.sym.Cast(var("x"), dtype=np.float16).list_attr() == {"dtype": "float16"}
    shape = tuple(np.array([2, 3]))
    assert mx.sym.Reshape(var("x"), shape=shape).list_attr() == {"shape": "(2, 3)"}
    assert mx.sym.clip(var("x"), 0, 1.5).list_attr() == {"a_min": "0", "a_max": "1.5"}


def test_copies_are_independent():
    f = fc()
    for g in (copy.copy(f), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        g._set_attr(num_hidden="9")
        assert f.attr("num_hidden") == "3" and g.list_arguments() == f.list_arguments()
    assert {f: 1}[f] == 1


def test_a_pickle_holds_json_and_names_nothing_but_its_reader():
    stream = pickle.dumps(fc())
    named = [f"{module} {name}" for module, name in _globals_of(stream)]
    assert named == ["symc.symbol.json load_json"]
    assert pickle.loads(stream).tojson() == fc().tojson()


def _globals_of(stream):
    """(module, name) of all that unpickling looks up."""
    strings = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            strings.append(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield tuple(strings[-2:])
        else:
            assert opcode.name not in ("GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")


def test_an_atomic_symbol_is_the_node_alone():
    net = mx.sym.FullyConnected(mx.sym.exp(var("x")), num_hidden=3, name="fc")
    atomic = net._gen_atomic_symbol()
    assert atomic.list_arguments() == ["data", "weight", "bias"] and atomic.list_attr() == {"num_hidden": "3"}
    with pytest.raises(mx.MXNetError, match="only a symbol of one operator has an atomic symbol, got <Symbol x>"):
        var("x")._gen_atomic_symbol()


def test_fluent_methods_are_the_operators():
    x = var("x")
    assert x.reshape((-1,)).attr("shape") == "(-1,)" and x.astype("float16").name == "cast0"
    assert x.flatten().name == "flatten0" and x.expand_dims(1).attr("axis") == "1"
    assert x.split_v2(2).list_outputs() == ["_split_v20_output0", "_split_v20_output1"]
    assert not hasattr(x, "T")
    registered = [n for n in FLUENT if n in dir(mx.sym)]
    assert len(registered) > 50 and all(inspect.getdoc(getattr(mx.sym.Symbol, n)) for n in FLUENT)


def test_functions_have_signatures_and_documentation():
    assert str(inspect.signature(mx.sym.FullyConnected)) == (
        "(data=None, weight=None, bias=None, num_hidden=_Null, no_bias=_Null, flatten=_Null, "
        "name=None, attr=None, out=None, **kwargs)"
    )
    assert str(inspect.signature(mx.sym.Concat)).startswith("(*data, num_args=_Null, dim=_Null")
    assert "num_hidden : int" in mx.sym.FullyConnected.__doc__ and mx.sym.exp.__name__ == "exp"
    assert {"exp", "FullyConnected", "Group", "zeros"} <= set(dir(mx.sym)) and "_plus_scalar" in dir(mx.sym._internal)
    assert mx.sym.op.exp(var("x")).name == "exp0" and mx.sym.sparse.exp(var("x")).name == "exp1"


def test_the_user_line_is_remembered():
    line = inspect.currentframe().f_lineno + 1
    f = mx.sym.exp(var("x")).log()
    assert all(node.origin == f"{__file__}:{line}" for node in f.nodes())


def test_operators_without_inputs_ignore_symbols_by_keyword():
    zeros = mx.sym.zeros((2, 3))
    drawn = mx.sym.random.randn(2, 3, loc=1.0, data=zeros)
    assert drawn.list_arguments() == [] and drawn.infer_shape()[1] == [(2, 3)]
    with pytest.raises(mx.MXNetError, match="argument name date not found"):
        mx.sym.relu(date=zeros)
