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


if __name__ == "__main__":
    import mxnet

    cases = [(name, clipped) for name in UPDATES for clipped in (False, True)]
    np.savez(sys.argv[1], **{f"{n} {c}": np.stack(run(mxnet, n, c)) for n, c in cases})
    sys.exit()

import pytest  # noqa: E402

import symc  # noqa: E402


@pytest.mark.parametrize("is_clipped", [False, True])
@pytest.mark.parametrize("name", UPDATES)
def test_update_equals_mxnets(name, is_clipped):
    want = np.load(DATA)[f"{name} {is_clipped}"]
    assert np.isfinite(want).all()
    for got, expected in zip(run(symc, name, is_clipped), want):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)  # MXNet rounds beta ** t to float32


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
