"""Optimizer updates against what the real MXNet 1.9.1 gave (tests/data/updates.npz).

`python tests/ndarray/test_updates.py FILE`, run in the oracle's environment, records it.
"""

import pathlib
import sys

import numpy as np

DATA = pathlib.Path(__file__).parent.parent / "data" / "updates.npz"
COMMON = {"rescale_grad": 0.5, "lr": 0.1, "wd": 0.01}
# name: parameters, number of states
UPDATES = {
    "sgd_update": ({}, 0),
    "signsgd_update": ({}, 0),
    "sgd_mom_update": ({"momentum": 0.9}, 1),
    "nag_mom_update": ({"momentum": 0.9}, 1),
    "signum_update": ({"momentum": 0.9, "wd_lh": 0.02}, 1),
    "rmsprop_update": ({}, 1),
    "adam_update": ({}, 2),
    "ftrl_update": ({}, 2),
    "ftml_update": ({"t": 3}, 3),
    "rmspropalex_update": ({"gamma1": 0.5}, 3),
}


def run(mx, name, is_clipped):
    """The new weight, then the states, after one update."""
    extra, n_states = UPDATES[name]
    params = {**COMMON, **extra}
    if is_clipped:
        params["clip_grad" if name == "ftml_update" else "clip_gradient"] = 0.3
        if name.startswith("rmsprop"):
            params["clip_weights"] = 0.9
    weight, grad = mx.nd.array([1, -2, 0.5, 0.03]), mx.nd.array([0.25, 1.5, -2, 0])
    states = [mx.nd.array(np.array([0.4, 0.9, 1.6, 2.5]) * scale) for scale in (1, 0.2, 0.5)[:n_states]]
    new = getattr(mx.nd, name)(weight, grad, *states, **params)
    assert weight.asnumpy().tolist() == np.float32([1, -2, 0.5, 0.03]).tolist()
    return [a.asnumpy() for a in (new, *states)]


def flat(arrays):
    """All elements of several arrays, one after the other."""
    return np.concatenate([a.ravel() for a in arrays])


F16, F32 = "float16", "float32"
MOM, ADAM = {"momentum": 0.9}, {"beta1": 0.8, "beta2": 0.95}
# name: dtypes of the inputs of one weight, the arrays after them, parameters
OTHERS = {
    "mp_sgd_update": ((F16, F16, F32), (), {"lr": 0.1, "wd": 0.01}),
    "mp_sgd_mom_update": ((F16, F16, F32, F32), (), {"lr": 0.1, "wd": 0.01, **MOM}),
    "mp_nag_mom_update": ((F16, F16, F32, F32), (), {"lr": 0.1, "wd": 0.01, **MOM}),
    "lamb_update_phase1": ((F32,) * 4, (), {"t": 3, "wd": 0.1, **ADAM}),
    "mp_lamb_update_phase1": ((F16, F16, F32, F32, F32), (), {"t": 2, "wd": 0.1, "bias_correction": False}),
    "lamb_update_phase2": ((F32, F32), (0.7, 1.5), {"lr": 0.1, "lower_bound": 0.8}),
    "multi_sgd_update": ((F32,) * 2, (), {"lrs": (0.1, 0.2), "wds": (0.01, 0.02)}),
    "multi_sgd_mom_update": ((F32,) * 3, (), {"lrs": (0.1, 0.2), "wds": (0.01, 0.02), **MOM}),
    "multi_mp_sgd_update": ((F16, F16, F32), (), {"lrs": (0.1, 0.2), "wds": (0.01, 0.02)}),
    "multi_mp_sgd_mom_update": ((F16, F16, F32, F32), (), {"lrs": (0.1, 0.2), "wds": (0.01, 0.02), **MOM}),
    "preloaded_multi_sgd_update": ((F32,) * 2, ((0.1, 0.2), (0.01, 0.02)), {"num_weights": 2}),
    "preloaded_multi_sgd_mom_update": ((F32,) * 3, ((0.1, 0.2), (0.01, 0.02)), {"num_weights": 2, **MOM}),
    "preloaded_multi_mp_sgd_update": ((F16, F16, F32), ((0.1, 0.2), (0.01, 0.02)), {"num_weights": 2}),
    "preloaded_multi_mp_sgd_mom_update": ((F16, F16, F32, F32), ((0.1, 0.2), (0.01, 0.02)), {"num_weights": 2, **MOM}),
    "_internal._adamw_update": ((F32,) * 4, (0.5,), {"lr": 0.1, "eta": 0.9, "wd": 0.1, **ADAM}),
    "_internal._mp_adamw_update": ((F16, F16, F32, F32, F32), (0.5,), {"lr": 0.1, "eta": 0.9, **ADAM}),
    "_internal._multi_adamw_update": (
        (F32,) * 4, (0.5,), {"lrs": (0.1, 0.2), "etas": (0.9, 0.8), "wds": (0.1, 0), **ADAM},
    ),
    "_internal._multi_mp_adamw_update": (
        (F16, F16, F32, F32, F32), (0.5,), {"lrs": (0.1, 0.2), "etas": (0.9, 0.8), "wds": (0.1, 0), **ADAM},
    ),
    "_internal._multi_lamb_update": (
        (F32,) * 4, (), {"learning_rates": (0.1, 0.2), "wds": (0.1, 0), "step_count": (1, 4), "upper_bound": 2.0},
    ),
    "_internal._multi_mp_lamb_update": (
        (F16, F16, F32, F32, F32), (), {"learning_rates": (0.1, 0.2), "wds": (0.1, 0), "step_count": (1, 4)},
    ),
}  # fmt: skip


def run_other(mx, name, is_clipped):
    """The result of each weight, then all inputs after the update."""
    dtypes, shared, params = OTHERS[name]
    n_weights = 2 if "multi" in name else 1
    if n_weights == 2:
        params = {**params, "num_tensors" if "lamb" in name else "num_weights": 2}
    if is_clipped and name != "lamb_update_phase2":
        params = {**params, "clip_gradient": 0.3}
    rng = np.random.default_rng(7)
    inputs = []
    for shape in [(2, 3), (4,)][:n_weights]:
        for k, dtype in enumerate(dtypes):
            values = rng.normal(size=shape)
            inputs.append(mx.nd.array(values if k < 2 else abs(values), dtype=dtype))  # variances are positive
    arrays = [mx.nd.array(np.reshape(numbers, -1)) for numbers in shared]
    function = mx.nd
    for part in name.split("."):
        function = getattr(function, part)
    weights = inputs[:: len(dtypes)]
    out = [w.zeros_like() for w in weights]
    if name == "mp_lamb_update_phase1":
        out = [w.astype(F32) for w in out]
    function(*inputs, *arrays, out=out if n_weights > 1 else out[0], **params)
    # Without the gradients, which MXNet's AdamW scales in place. MXNet's mp_nag decays the momentum by the new weight.
    left_out = {1, 2} if name == "mp_nag_mom_update" else {1}
    kept = [a for k, a in enumerate(inputs) if k % len(dtypes) not in left_out]
    return [a.asnumpy().astype(F32) for a in (*out, *kept)]


if __name__ == "__main__":
    import mxnet

    cases = [(run, name, clipped) for name in UPDATES for clipped in (False, True)]
    cases += [(run_other, name, clipped) for name in OTHERS for clipped in (False, True)]
    recorded = {f"{n} {c}": flat(case(mxnet, n, c)) for case, n, c in cases}
    np.savez_compressed(sys.argv[1], **recorded)
    sys.exit()

import pytest  # noqa: E402

import symc  # noqa: E402
from symc.ndarray.updates import update  # noqa: E402


@pytest.mark.parametrize("is_clipped", [False, True])
@pytest.mark.parametrize("name", UPDATES)
def test_update_equals_mxnets(name, is_clipped):
    want = np.load(DATA)[f"{name} {is_clipped}"]
    assert np.isfinite(want).all()
    got = flat(run(symc, name, is_clipped))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)  # MXNet rounds beta ** t to float32


@pytest.mark.parametrize("is_clipped", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_other_update_equals_mxnets(name, is_clipped):
    want = np.load(DATA)[f"{name} {is_clipped}"]
    assert np.isfinite(want).all()
    got = flat(run_other(symc, name, is_clipped))
    half = F16 in OTHERS[name][0]  # a result rounded to float16 the other way
    np.testing.assert_allclose(got, want, rtol=1e-3 if half else 2e-5, atol=1e-6)


def test_what_was_prepared_for_other_arrays_is_prepared_anew():
    for k in range(3):  # new weights may lie where those before lay
        weight, grad, momentum = (symc.nd.array([value]) for value in (10, 1, 0))
        for gradient in (grad, grad, symc.nd.array([2])):
            update("sgd_mom_update", {"momentum": 0.5}, [weight], [gradient], [[momentum]], [(1 + k, 0, 1)])
        assert weight.asnumpy() == 10 - (1 + k) * (1 + 1.5 + 2.75)


def test_an_overflowed_loss_scale_skips_the_step():
    arrays = [symc.nd.ones((3,)) * k for k in (1, 2, 3, 4)]
    for scale in (np.nan, np.inf, 0):
        new = symc.nd.contrib.adamw_update(*arrays, symc.nd.array([scale]), lr=0.1, eta=1)
        assert [a.asnumpy()[0] for a in (new, *arrays)] == [1, 1, 2, 3, 4]


def test_rates_by_layer():
    lrs, weights, grads, wds = (np.array(v, np.float32) for v in ([1, 2, 3], [4, 0, 9], [1, 1, 0], [0.1, 0.2, 0.3]))
    got = symc.nd.multi_lars(*map(symc.nd.array, (lrs, weights, grads, wds)), eta=0.5, eps=0.1, rescale_grad=2)
    np.testing.assert_allclose(got.asnumpy(), [0.5 * 2 / (2 + 0.1 * 2 + 0.1), 2, 3], rtol=1e-6)


def test_adagrad_by_row_and_by_element():
    rng = np.random.default_rng(3)
    weight, grad = rng.normal(size=(2, 3, 4)).astype(F32), rng.normal(size=(2, 3, 4)).astype(F32)
    by_row, by_element = rng.random((2, 1, 1)).astype(F32), rng.random((2, 3, 4)).astype(F32)
    g = np.clip(grad.astype(float) * 0.5, -0.4, 0.4)
    common = {"lr": 0.1, "rescale_grad": 0.5, "clip_gradient": 0.4}
    history = symc.nd.array(by_row)
    got = symc.nd.contrib.group_adagrad_update(symc.nd.array(weight), symc.nd.array(grad), history, **common)
    want = by_row + (g * g).mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(history.asnumpy(), want, rtol=1e-5)
    np.testing.assert_allclose(got.asnumpy(), weight - 0.1 * g / (np.sqrt(want) + 1e-5), rtol=1e-5)
    history = symc.nd.array(by_element)
    got = symc.nd.sparse.adagrad_update(symc.nd.array(weight), symc.nd.array(grad), history, epsilon=0.01, **common)
    want = by_element + g * g
    np.testing.assert_allclose(history.asnumpy(), want, rtol=1e-5)
    np.testing.assert_allclose(got.asnumpy(), weight - 0.1 * g / np.sqrt(want + 0.01), rtol=1e-5)


def test_reset_arrays():
    arrays = [symc.nd.ones((2, 3)), symc.nd.ones((4,), dtype="float16")]
    symc.nd.reset_arrays(*arrays, num_arrays=2)
    assert [a.asnumpy().any() for a in arrays] == [False, False]


def test_rates_for_another_number_of_weights():
    arrays = [symc.nd.ones((2,))] * 4
    with pytest.raises(symc.MXNetError, match="lrs has 1 numbers for 2 weights"):
        symc.nd.multi_sgd_update(*arrays, lrs=(0.1,), wds=(0, 0), num_weights=2)


@pytest.mark.parametrize("shapes", [[(0, 3)], [(1,), (5, 7)], [(17, 33)] * 40 + [(300, 201)]])
def test_weights_and_states_are_updated_where_they_lie(shapes):
    rng = np.random.default_rng(2)
    weights, grads, means, variances = ([rng.random(s) for s in shapes] for _ in range(4))
    arrays = [[symc.nd.array(x, dtype="float64") for x in xs] for xs in (weights, grads, means, variances)]
    seen = [x.reshape(-1) for x in (*arrays[0], *arrays[2], *arrays[3])]
    rates = [(0.01 * (k + 1), 0.1, 0.5) for k in range(len(shapes))]
    update("adam_update", {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-8}, *arrays[:2], [*zip(*arrays[2:])], rates)
    wanted = []
    for w, g, m, v, (lr, wd, rescale) in zip(weights, grads, means, variances, rates):
        g = rescale * g + wd * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        wanted.append((w - lr * m / (np.sqrt(v) + 1e-8), m, v))
    for got, want in zip(seen, (x for xs in zip(*wanted) for x in xs)):
        np.testing.assert_allclose(got.asnumpy(), want.ravel(), rtol=1e-4, atol=1e-7)  # rates are float32


def test_update_into_the_weight():
    weight, grad, mom = symc.nd.ones((2, 3)), symc.nd.ones((2, 3)), symc.nd.zeros((2, 3))
    version = mom._version
    assert symc.nd.sgd_mom_update(weight, grad, mom, out=weight, lr=0.5, momentum=0.9) is weight
    assert weight.asnumpy()[0, 0] == 0.5 and mom.asnumpy()[0, 0] == -0.5 and mom._version != version


def test_a_changing_rate_is_prepared_but_not_compiled_again():
    weight, grad = symc.nd.ones((200_000,)), symc.nd.ones((200_000,))
    for lr in (0.5, 0.25, 0.125):
        symc.nd.sgd_update(weight, grad, lr=lr, out=weight)
    assert weight.asnumpy()[-1] == 0.125
