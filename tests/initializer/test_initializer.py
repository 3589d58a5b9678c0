"""Initializers: texts and rules as MXNet 1.9.1's, values by their statistics or by an oracle."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ArgumentTypeError

DUMPS = {
    mx.init.Zero: '["zero", {}]',
    mx.init.One: '["one", {}]',
    mx.init.Uniform: '["uniform", {"scale": 0.07}]',
    mx.init.Normal: '["normal", {"sigma": 0.01}]',
    mx.init.Orthogonal: '["orthogonal", {"scale": 1.414, "rand_type": "uniform"}]',
    mx.init.Xavier: '["xavier", {"rnd_type": "uniform", "factor_type": "avg", "magnitude": 3}]',
    mx.init.MSRAPrelu: '["msraprelu", {"factor_type": "avg", "slope": 0.25}]',
    mx.init.Bilinear: '["bilinear", {}]',
    mx.init.LSTMBias: '["lstmbias", {"forget_bias": 1.0}]',
}


def initialized(init, name="x_weight", shape=(2, 3), attrs=None):
    array = mx.nd.full(shape, -5)
    init(mx.init.InitDesc(name, attrs), array)
    return array.asnumpy()


@pytest.mark.parametrize("cls", DUMPS, ids=lambda c: c.__name__)
def test_dumps_and_create_agree_with_mxnet(cls):
    assert cls().dumps() == DUMPS[cls]
    assert mx.init.create(DUMPS[cls]) == cls() == mx.init.create(cls.__name__)


def test_constants_dump_arrays_as_lists():
    for value in (np.arange(2.0), mx.nd.array([0, 1]), [0.0, 1.0]):
        constant = mx.init.Constant(value)
        assert constant.dumps() == '["constant", {"value": [0.0, 1.0]}]'
        np.testing.assert_array_equal(initialized(mx.init.create(constant.dumps()), shape=(3, 2)), [[0, 1]] * 3)
    assert mx.init.Constant(3).dumps() == '["constant", {"value": 3}]'
    assert mx.init.Constant(np.float32(3)).dumps() == '["constant", {"value": 3.0}]'


@pytest.mark.parametrize("value", [[None], ["1"], [1, [2]]])
def test_constants_are_numbers(value):
    with pytest.raises(ArgumentTypeError, match="Constant: value: expected"):
        initialized(mx.init.Constant(value), "a_weight")


@pytest.mark.parametrize(
    "source", ["zeros", "ZERO", '["zero", {}]', '{"initializer": "zero"}', {"initializer": "zero"}]
)
def test_create(source):
    assert mx.init.create(source) == mx.init.Zero()


def test_create_takes_an_instance_or_a_keyword():
    init = mx.init.Normal(2)
    assert mx.init.create(init) is init
    assert mx.init.create(initializer="normal", sigma=2) == init != mx.init.Normal(3)
    assert init != 3


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (
            ("nope",),
            AssertionError,
            "nope is not registered. Please register with initializer.register first; there are ",
        ),
        ((3,), AssertionError, "initializer must be of string type, got 3"),
        ((mx.init.Zero(), 3), AssertionError, "already an instance"),
        (('["zero"',), ArgumentError, "is no JSON"),
        (('["zero", 3]',), ArgumentError, r'expected \["name", {arguments}\]'),
        (("[" * 100_000,), ArgumentError, "is no JSON"),
        (('["zero", {"value": 3}]',), ArgumentError, "unexpected keyword argument 'value'"),
    ],
)
def test_create_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        mx.init.create(*arguments)


@pytest.mark.parametrize(
    "name, value",
    [("a_weight", 7), ("a_bias", 0), ("a_gamma", 1), ("a_beta", 0), ("a_min", 0), ("a_max", 1), ("a_bias_quantize", 0)],
)
def test_the_name_decides(name, value):
    assert (initialized(mx.init.Constant(7), name) == value).all()


def test_quantized_weights_are_bytes():
    drawn = initialized(mx.init.Zero(), "a_weight_quantize", (500,))
    assert drawn.min() >= -127 and drawn.max() <= 127 and len(set(drawn.tolist())) > 100


def test_a_name_without_a_rule_is_refused():
    with pytest.raises(ValueError, match="Unknown initialization pattern for bn_moving_mean"):
        initialized(mx.init.Zero(), "bn_moving_mean")


def test_a_variables_own_initializer_wins():
    net = mx.sym.FullyConnected(
        mx.sym.Variable("x"), mx.sym.Variable("fc_bias", init=mx.init.Constant(4)), num_hidden=2
    )
    assert net.attr_dict()["fc_bias"] == {"__init__": '["constant", {"value": 4}]'}
    assert (initialized(mx.init.Zero(), "fc_bias", attrs=net.attr_dict()["fc_bias"]) == 4).all()
    with pytest.raises(AssertionError, match="nope is not registered"):
        initialized(mx.init.Zero(), attrs={"__init__": "nope"})


@pytest.mark.parametrize(
    "name, shape, value",
    [
        ("a_weight", (2,), 7),
        ("a_bias", (2,), 0),
        ("a_gamma", (2,), 1),
        ("bn_moving_mean", (2,), 0),
        ("bn_moving_var", (2,), 1),
        ("bn_moving_avg", (2,), 0),
        ("stn_loc_weight", (2,), 0),
        ("stn_loc_bias", (6,), [1, 0, 0, 0, 1, 0]),
        ("upsampling_weight", (1, 1, 3, 3), np.outer([0.25, 0.75, 0.75], [0.25, 0.75, 0.75])),
    ],
)
def test_a_plain_string_follows_the_older_rules(name, shape, value):
    array = mx.nd.zeros(shape)
    with pytest.warns(DeprecationWarning, match="has been deprecated"):
        mx.init.Constant(7)(name, array)
    np.testing.assert_array_equal(array.asnumpy(), np.broadcast_to(value, shape))


def test_what_is_no_name_or_no_array_is_refused():
    with pytest.raises(ArgumentTypeError, match="name must be string"):
        mx.init.Zero()(3, mx.nd.zeros(2))
    with pytest.raises(TypeError, match="arr must be NDArray"):
        mx.init.Zero()(mx.init.InitDesc("a"), np.zeros(2))
    with pytest.raises(ArgumentError, match=r"shape \(6,\), got \(3,\)"), pytest.warns(match="deprecated"):
        mx.init.Zero()("stn_loc_bias", mx.nd.zeros(3))
    with pytest.raises(NotImplementedError, match="must override _init_weight"):
        initialized(mx.init.Initializer())


# (n_out, n_in, taps) = (60, 40, 6): a uniform distribution on [-c, c) has the standard deviation c / sqrt(3).
SPREADS = [
    (mx.init.Uniform(0.5), 0.5 / 3**0.5),
    (mx.init.Normal(0.5), 0.5),
    (mx.init.Xavier(), (3 / (50 * 6)) ** 0.5 / 3**0.5),
    (mx.init.Xavier(factor_type="in", magnitude=2), (2 / (40 * 6)) ** 0.5 / 3**0.5),
    (mx.init.Xavier("gaussian", "out", 2), (2 / (60 * 6)) ** 0.5),
    (mx.init.MSRAPrelu(slope=0.5), (2 / 1.25 / (50 * 6)) ** 0.5),
]


@pytest.mark.parametrize("init, spread", SPREADS, ids=[i.dumps() for i, _ in SPREADS])
def test_spread(init, spread):
    drawn = initialized(init, shape=(60, 40, 2, 3)).astype("f8")
    standard_error = spread / drawn.size**0.5
    assert abs(drawn.mean()) < 5 * standard_error
    assert abs(drawn.std() - spread) < 5 * standard_error
    if "gaussian" not in init.dumps() and not isinstance(init, (mx.init.Normal, mx.init.MSRAPrelu)):
        assert np.abs(drawn).max() <= spread * 3**0.5 * (1 + 1e-6)


def test_the_seed_decides():
    mx.random.seed(3)
    first = initialized(mx.init.Xavier())
    mx.random.seed(3)
    np.testing.assert_array_equal(initialized(mx.init.Xavier()), first)
    assert (initialized(mx.init.Xavier()) != first).all()


@pytest.mark.parametrize("shape", [(6, 2, 5), (20, 4)])
@pytest.mark.parametrize("rand_type", ["uniform", "normal"])
def test_orthogonal(shape, rand_type):
    drawn = initialized(mx.init.Orthogonal(2.0, rand_type), shape=shape).reshape(shape[0], -1).astype("f8")
    small = drawn @ drawn.T if drawn.shape[0] < drawn.shape[1] else drawn.T @ drawn
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_bilinear_weights_interpolate():
    one = np.array([0.25, 0.75, 0.75, 0.25])
    want = np.broadcast_to(np.outer(one, one), (2, 3, 4, 4))
    np.testing.assert_allclose(initialized(mx.init.Bilinear(), shape=(2, 3, 4, 4)), want, rtol=1e-6)


@pytest.mark.parametrize(
    "init, shape, message",
    [
        (mx.init.Xavier(), (3,), r"cannot be applied to vector x_weight. It requires at least 2D, got shape \(3,\)"),
        (mx.init.Xavier(factor_type="x"), (3, 3), "Incorrect factor type 'x'"),
        (mx.init.Xavier(rnd_type="x"), (3, 3), "Unknown random type 'x'"),
        (mx.init.Orthogonal(rand_type="x"), (3, 3), "rand_type is 'x'"),
    ],
)
def test_distributions_refuse(init, shape, message):
    with pytest.raises(ArgumentError, match=message):
        initialized(init, shape=shape)


def test_load(caplog):
    held = {"arg:a_weight": mx.nd.ones((2, 3)), "aux:m": mx.nd.full((2,), 2)}
    caplog.set_level(logging.INFO)
    load = mx.init.Load(held, mx.init.Constant(7), verbose=True)
    assert (initialized(load, "a_weight") == 1).all()
    assert (initialized(load, "b_weight") == 7).all()
    assert [r.message for r in caplog.records] == ["Initialized a_weight by loading", "Initialized b_weight by default"]
    with pytest.raises(AssertionError, match=r"Shape mismatch, target \(3,\) vs loaded \(2,\)"):
        initialized(load, "m", (3,))
    with pytest.raises(AssertionError, match="Not found in loaded param and no default"):
        initialized(mx.init.Load(held), "c_weight")
    with pytest.raises(ArgumentTypeError, match="expected a dict of arrays"):
        mx.init.Load([mx.nd.ones(2)])


def test_load_from_a_file(tmp_path):
    path = str(tmp_path / "a.params")
    mx.nd.save(path, {"arg:w": mx.nd.full((2, 3), 4)})
    assert (initialized(mx.init.Load(path), "w") == 4).all()


def test_mixed_takes_the_first_match():
    mixed = mx.init.Mixed(["a", ".*"], [mx.init.One(), mx.init.Constant(3)])
    assert (initialized(mixed, "a_weight") == 1).all()
    assert (initialized(mixed, "b_weight") == 3).all()
    with pytest.raises(ArgumentError, match="foo did not match any pattern"):
        initialized(mx.init.Mixed(["bias"], [mx.init.Zero()]), "foo")
    with pytest.raises(AssertionError, match="2 patterns for 1 initializers"):
        mx.init.Mixed(["a", "b"], [mx.init.Zero()])


def test_lstm_bias():
    np.testing.assert_array_equal(initialized(mx.init.LSTMBias(2.0), shape=(8,)), [0, 0, 2, 2, 0, 0, 0, 0])


def test_registering_ones_own():
    @mx.init.register
    @mx.init.alias("mine")
    class TestsOwn(mx.init.Initializer):
        def __init__(self, value):
            super().__init__(value=value)
            self.value = value

        def _init_weight(self, _, arr):
            arr[:] = self.value

    assert mx.init.create("testsown", 3).dumps() == '["testsown", {"value": 3}]'
    weight = mx.sym.Variable("w", init=TestsOwn(3))
    assert (initialized(mx.init.Zero(), "w", attrs=weight.attr_dict()["w"]) == 3).all()
    assert isinstance(mx.init.create("mine", value=3), TestsOwn)
    assert mx.registry.get_registry(mx.init.Initializer)["mine"] is TestsOwn
    with pytest.warns(UserWarning, match=r"registered with name mine replaces .*TestsOwn"):
        mx.init.alias("mine")(TestsOwn)
    with pytest.raises(AssertionError, match="Can only register subclass of Initializer"):
        mx.init.register(int)


def test_verbosity(caplog):
    caplog.set_level(logging.INFO)
    initialized(mx.init.Constant(-2).set_verbosity(True), "a_weight")
    initialized(mx.init.One().set_verbosity(True, lambda a: str(a.shape)), "b_bias", (2,))
    assert [r.message for r in caplog.records] == [
        "Initialized a_weight as weight: 2.0",
        "Initialized b_bias as bias: (2,)",
    ]
