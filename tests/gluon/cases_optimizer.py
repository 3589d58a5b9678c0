"""Every optimizer: five updates, its states; schedules; the counts and factors that decide rates."""

from __future__ import annotations

import os
import pickle

import numpy as np

try:
    from recorded import refusal  # by MXNet's Python
except ImportError:
    from .recorded import refusal


def flat(state):
    """The arrays of a state, None where there is none."""
    if isinstance(state, (list, tuple)):
        return [x for each in state for x in flat(each)]
    return [None if state is None else state.asnumpy().ravel()]


def updates(name, dtype="float32", n_weights=1, **options):
    """A case: five updates of some weights by an updater."""

    def run(mx, folder):
        rng = np.random.RandomState(7)
        names = {0: "a_weight", 1: "b_bias", 2: "c_gamma"}
        optimizer = mx.optimizer.create(name, param_idx2name=names, **options)
        updater = mx.optimizer.get_updater(optimizer)
        weights = [mx.nd.array(rng.normal(size=(2, 3)), dtype=dtype) for _ in range(n_weights)]
        for _ in range(5):
            grads = [mx.nd.array(rng.normal(size=(2, 3)), dtype=dtype) for _ in weights]
            if n_weights > 1:
                updater(list(range(n_weights)), grads, weights)
            else:
                updater(0, grads[0], weights[0])
        return {
            "weights": [w.astype("float32").reshape(-1) for w in weights],
            "states": {k: flat(s) for k, s in updater.states.items()},
            "attributes": sorted(vars(optimizer)),
            "rate": optimizer.learning_rate,
            "counts": optimizer._index_update_count,
        }

    return run


COMMON = {"wd": 0.05, "rescale_grad": 0.5, "clip_gradient": 0.6}


def schedules(mx, folder):
    module = mx.lr_scheduler
    warm = {"warmup_steps": 3, "warmup_begin_lr": 0.2}
    made = {
        "factor": module.FactorScheduler(2, 0.5, base_lr=1.0),
        "factor stop": module.FactorScheduler(1, 0.1, stop_factor_lr=0.05, base_lr=1.0),
        "multi": module.MultiFactorScheduler([2, 4], 0.1, base_lr=1.0),
        "multi warm": module.MultiFactorScheduler([5, 6], 0.1, base_lr=1.0, **warm),
        "poly": module.PolyScheduler(10, 1.0, 3, 0.1),
        "poly warm": module.PolyScheduler(10, 1.0, **warm),
        "cosine": module.CosineScheduler(10, 1.0, 0.1, **warm),
        "constant": module.CosineScheduler(10, 1.0, warmup_mode="constant", **warm),
    }
    found = {name: [schedule(k) for k in range(13)] for name, schedule in made.items()}
    found["refused"] = [
        refusal(module.FactorScheduler, 0),
        refusal(module.FactorScheduler, 1, 2.0),
        refusal(module.MultiFactorScheduler, [2, 2]),
        refusal(module.PolyScheduler, 0),
        refusal(module.LRScheduler, 0.1, 1, 0.2),
        refusal(module.LRScheduler, 0.1, -1),
        refusal(module.LRScheduler, 0.1, warmup_mode="x"),
    ]
    return found


def factors(mx, folder):
    """lr_mult and wd_mult by index, by name and by the symbol's attributes."""
    w = mx.sym.var("a_weight", lr_mult=0.5, wd_mult=3)
    net = mx.sym.FullyConnected(mx.sym.var("x"), weight=w, num_hidden=2, name="fc")
    names = {0: "a_weight", 1: "fc_bias", 2: "d_gamma"}
    found = {}
    for name in ("sgd", "lars"):
        optimizer = mx.optimizer.create(name, param_idx2name=names, sym=net, learning_rate=0.2, wd=0.1)
        found[name] = [optimizer._get_lrs([0, 1, 2, 9]), optimizer._get_wds([0, 1, 2, 9])]
        optimizer.set_lr_mult({"fc_bias": 4.0, 2: 5.0})
        optimizer.set_wd_mult({"fc_bias": 1.5})
        found[name] += [optimizer._get_lrs([0, 1, 2, 9]), optimizer._get_wds([0, 1, 2, 9])]
    scheduled = mx.optimizer.SGD(lr_scheduler=mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=1.0))
    scheduled._update_count([0, 1])
    scheduled._update_count(0)
    found["scheduled"] = [scheduled.num_update, scheduled.learning_rate]
    found["refused"] = [
        refusal(scheduled.set_learning_rate, 0.1)[0],
        refusal(mx.optimizer.create, "nosuch")[0],
        refusal(mx.optimizer.SGD, param_idx2name=[1])[0],
    ]
    return found


def states(mx, folder):
    """A states file is read again, by `pickle` it has MXNet's classes, the update after it is the same."""
    rng = np.random.RandomState(7)
    net = mx.gluon.nn.Dense(2, in_units=3, prefix="d_")
    net.initialize(mx.init.One())
    x = mx.nd.array(rng.normal(size=(4, 3)))
    schedule = mx.lr_scheduler.FactorScheduler(2, 0.5, base_lr=0.1)
    options = {"momentum": 0.9, "lr_scheduler": schedule}

    def step(trainer):
        with mx.autograd.record():
            value = (net(x) ** 2).sum()
        value.backward()
        trainer.step(4)
        return value.asscalar()

    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", options)
    losses = [step(trainer) for _ in range(3)]
    path = os.path.join(folder, "states")
    trainer.save_states(path)
    with open(path, "rb") as file:
        content = file.read()
    other = mx.gluon.Trainer(net.collect_params(), "adam")
    other.load_states(path)
    losses += [step(other) for _ in range(2)]
    words = [b"mxnet.ndarray.ndarray", b"mxnet.optimizer.optimizer", b"mxnet.lr_scheduler", b"FactorScheduler", b"SGD"]
    with open(path, "rb") as file:
        other._updaters[0].set_states(pickle.dumps({0: None, 1: (None, None)}))
    return {
        "losses": losses,
        "words": [word in content for word in words],
        "restored": [type(other.optimizer).__name__, other.optimizer.num_update, other.learning_rate],
        "states": list(other._updaters[0].states),
    }


def of_lists(mx, folder):
    """The updates of `nd.contrib` that take lists, and AdamW's with the gradients' factor as a number."""
    rng, contrib = np.random.RandomState(3), mx.nd.contrib

    def drawn(dtype="float32"):
        return [mx.nd.array(rng.uniform(0.5, 1.5, (2, 3)), dtype=dtype) for _ in range(2)]

    three = {"lrs": [0.1, 0.2], "wds": [0.01, 0.0], "etas": [1.0, 0.5]}
    lamb = {"step_count": [1, 2], "lrs": [0.1, 0.2], "wds": [0.01, 0.0]}
    found = {}
    for kind, options in ("adamw", {"rescale_grad": mx.nd.array([0.5]), **three}), ("lamb", lamb):
        for dtype, start in ("float32", "multi_"), ("float16", "multi_mp_"):
            arrays = [drawn(dtype), drawn(dtype), drawn(), drawn(), *([drawn()] if dtype == "float16" else [])]
            getattr(contrib, f"{start}{kind}_update")(*arrays, out=arrays[0], **options)
            found[start + kind] = [a.astype("float32").reshape(-1) for each in arrays[:4] for a in each]
    w, g, mean, var = (each[0] for each in (drawn(), drawn(), drawn(), drawn()))
    contrib.adamw_update(w, g, mean, var, 0.5, 0.1, 0.9, wd=0.01, out=w)
    contrib.adamw_update(w, g, mean, var, float("nan"), 0.1, 0.9, out=w)  # is skipped
    found["adamw"] = [a.reshape(-1) for a in (w, mean, var)]
    half, (w, *_) = [each[0] for each in (drawn("float16"), drawn("float16"))], drawn()
    contrib.mp_adamw_update(half[0], half[1], mean, var, w, mx.nd.array([2]), 0.1, 0.9, out=half[0])
    found["mp_adamw"] = [a.astype("float32").reshape(-1) for a in (half[0], mean, var, w)]
    return found


CASES = {
    "of lists": of_lists,
    "schedules": schedules,
    "factors": factors,
    "states": states,
    "sgd": updates("sgd", learning_rate=0.1, **COMMON),
    "sgd momentum": updates("sgd", learning_rate=0.1, momentum=0.9, **COMMON),
    "sgd several": updates("sgd", n_weights=3, learning_rate=0.1, momentum=0.9, **COMMON),
    "sgd float16": updates("sgd", dtype="float16", multi_precision=True, learning_rate=0.1, momentum=0.9),
    "ccsgd": updates("ccsgd", learning_rate=0.1),
    "nag": updates("nag", learning_rate=0.1, **COMMON),
    "nag momentum": updates("nag", learning_rate=0.1, momentum=0.9, **COMMON),
    "nag float16": updates("nag", dtype="float16", multi_precision=True, learning_rate=0.1, momentum=0.9, wd=0.05),
    "signsgd": updates("signum", momentum=0.0, **COMMON),
    "signum": updates("signum", wd_lh=0.01, **COMMON),
    "lbsgd": updates("lbsgd", momentum=0.9, batch_scale=2, warmup_epochs=1, updates_per_epoch=4, learning_rate=0.1),
    "lbsgd lars": updates("lbsgd", warmup_strategy="lars", learning_rate=0.1, **COMMON),
    "dcasgd": updates("dcasgd", learning_rate=0.1, **COMMON),
    "adam": updates("adam", **COMMON),
    "adam float16": updates("adam", dtype="float16", multi_precision=True),
    "adamax": updates("adamax", **COMMON),
    "nadam": updates("nadam", **COMMON),
    "ftml": updates("ftml", learning_rate=0.1, **COMMON),
    "ftrl": updates("ftrl", **COMMON),
    "adagrad": updates("adagrad", learning_rate=0.1, **COMMON),
    "groupadagrad": updates("groupadagrad", learning_rate=0.1, rescale_grad=0.5),
    "rmsprop": updates("rmsprop", **COMMON),
    "rmsprop centered": updates("rmsprop", centered=True, clip_weights=0.8, **COMMON),
    "adadelta": updates("adadelta", **COMMON),
    "lars": updates("lars", n_weights=3, learning_rate=0.1, momentum=0.9, **COMMON),
    "lamb": updates("lamb", **COMMON),
    "lamb several": updates("lamb", n_weights=3, lower_bound=0.1, upper_bound=5, **COMMON),
    "test": updates("test"),
}
