"""What Gluon refuses or warns of, with MXNet's errors and words."""

from __future__ import annotations

import os
import warnings

import numpy as np

try:
    from recorded import refusal  # by MXNet's Python
except ImportError:
    from .recorded import refusal


def parameters(mx, folder):
    gluon, nd = mx.gluon, mx.nd
    p = gluon.Parameter("w", shape=(2, 3))
    waiting = gluon.Parameter("d", shape=(0, 3), allow_deferred_init=True)
    waiting.initialize()
    found = {
        "uninitialized": [refusal(p.data), refusal(p.grad), refusal(p.list_ctx), refusal(p.reset_ctx, mx.cpu())],
        "deferred": [repr(waiting.list_ctx()), refusal(waiting.data), refusal(waiting._finish_deferred_init)],
        "shape": refusal(gluon.Parameter("u", shape=(0, 3)).initialize),
        "set": refusal(p.set_data, nd.ones((2, 3))),
    }
    p.initialize(mx.init.One(), ctx=[mx.cpu(0), mx.cpu(1)])
    found["where"] = [refusal(p.data, mx.cpu(3)), repr(p.list_ctx()), repr(p.data(mx.cpu(1)).context)]
    found["refined"] = [refusal(setattr, p, "shape", (2, 4)), refusal(setattr, p, "grad_req", "x")]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        p.initialize()
    found["again"] = [str(w.message) for w in seen]
    p.grad_req = "null"
    found["null"] = refusal(p.grad)
    found["stype"] = refusal(gluon.Parameter, "w", stype="x")
    found["sparse"] = refusal(p.row_sparse_data, nd.array([0]))
    found["constant"] = repr(gluon.Constant("c", [[1, 2]]))
    waiting.initialize()
    waiting.shape = (4, 3)
    waiting.set_data(nd.ones((4, 3)) * 2)
    waiting._finish_deferred_init()
    found["kept"] = waiting.data().sum()
    return found


def dicts(mx, folder):
    gluon, nd = mx.gluon, mx.nd
    d = gluon.ParameterDict("net_")
    w = d.get("w", shape=(2, 0), dtype="float32")
    found = {
        "repr": repr(d),
        "merged": [d.get("w", shape=(0, 3)).shape, d.get("w") is w, list(d), list(d.keys())],
        "unlike": [refusal(d.get, "w", shape=(3, 3)), refusal(d.get, "w", lr_mult=2.0)],
        "shared": gluon.ParameterDict("net_", shared=d).get("w") is w,
        "constant": [refusal(d.get_constant, "c")[0], repr(d.get_constant("c", [1, 2]))],
        "constant of doubles": d.get_constant("doubles", np.array([0.1, 0.2])).value,
        "not constant": refusal(d.get_constant, "w", [1]),
        "other": refusal(d.update, {"net_w": gluon.Parameter("net_w")}),
    }
    d.initialize(mx.init.One())
    path = os.path.join(folder, "d.params")
    found["strip"] = refusal(d.save, path, "other_")
    d.save(path, "net_")
    found["saved"] = sorted(nd.load(path))
    other = gluon.ParameterDict("net_")
    other.get("v", shape=(1,))
    found["load"] = [m and m[0] for m in (refusal(other.load, path), refusal(other.load, path, None, True))]
    found["ignored"] = refusal(other.load, path, None, True, True)
    return found


def blocks(mx, folder):
    gluon, nn, nd = mx.gluon, mx.gluon.nn, mx.nd
    net = nn.HybridSequential()
    found = {"child": refusal(net.add, nn.Sequential())}
    dense = nn.Dense(2, in_units=3)
    found["type"] = refusal(setattr, dense, "weight", 3)[0]
    found["override"] = refusal(setattr, dense, "weight", gluon.Parameter("x"))[0]  # MXNet forgot the name
    found["export"] = refusal(dense.export, os.path.join(folder, "x"))
    found["mixed"] = [refusal(dense, "x")[0], refusal(nn.HybridLambda(lambda F, x, y: x), nd.ones(1), mx.sym.var("y"))]
    dense.initialize()
    path = os.path.join(folder, "dense.params")
    dense.save_parameters(path)
    found["lone"] = sorted(nd.load(path))
    net.add(nn.Dense(2), nn.Dense(3))
    net.initialize()
    found["loading"] = [m and m[0] for m in (refusal(net.load_parameters, path), refusal(net[0].load_parameters, path))]
    net(nd.ones((1, 3)))
    whole = os.path.join(folder, "net.params")
    net.save_parameters(whole)
    found["paths"] = sorted(nd.load(whole))
    less = nn.HybridSequential()
    less.add(nn.Dense(2))
    found["extra"] = refusal(less.load_parameters, whole)[0]
    found["names"] = [
        net.prefix,
        net[0].prefix,
        nn.Dense(2, prefix="own_").prefix,
        nn.Dense(2, params=dense.params).name,
    ]
    with net.name_scope():
        inner = nn.Dense(2, activation="relu")
    found["scoped"] = [inner.prefix, list(inner.params), inner.act.prefix]
    net.hybridize()
    net(nd.ones((1, 3)))
    found["structure"] = refusal(net, [nd.ones((1, 3))])[0]  # MXNet takes the two formats for each other
    found["summary"] = refusal(net.summary, nd.ones((1, 3)))
    return found


def hooks(mx, folder):
    nn, nd = mx.gluon.nn, mx.nd
    seen = []
    net = nn.HybridSequential()
    net.add(nn.Dense(2), nn.Activation("relu"))
    net.initialize()
    handle = net[1].register_forward_hook(lambda b, i, o: seen.append(["after", b.name, len(i), type(o).__name__]))
    net.register_forward_pre_hook(lambda b, i: seen.append(["before", b.name, len(i)]))
    net(nd.ones((1, 3)))
    handle.detach()
    net(nd.ones((1, 3)))
    return {"seen": seen}


def op_hooks(mx, folder):
    """What the operators of a hybridized block are told as, by name and mean."""
    nn, nd = mx.gluon.nn, mx.nd
    found = {}
    for is_all in (False, True):
        seen = []
        net = nn.HybridSequential(prefix="n_")
        with net.name_scope():
            net.add(nn.Dense(2, activation="relu"), nn.BatchNorm())
        net.initialize(mx.init.One())
        net.hybridize()
        net(nd.ones((1, 3)))
        net.register_op_hook(lambda *told, seen=seen: seen.append([x.decode() for x in told[:2]]), is_all)
        net(nd.ones((1, 3)))
        nd.waitall()
        found[str(is_all)] = seen
    return found


def trainers(mx, folder):
    gluon = mx.gluon
    p = gluon.Parameter("w", shape=(2,))
    found = {
        "params": [refusal(gluon.Trainer, 3, "sgd")[0], refusal(gluon.Trainer, [3], "sgd")[0]],
        "uninitialized": refusal(gluon.Trainer, [p], "sgd"),
    }
    p.initialize(mx.init.One(), ctx=[mx.cpu(0), mx.cpu(1)])
    names = {f"dense{k}_w": gluon.Parameter(f"dense{k}_w", shape=(1,)) for k in (2, 10)}
    for each in names.values():
        each.initialize()
    found["order"] = [each.name for each in gluon.Trainer(names, "sgd")._params]
    trainer = gluon.Trainer([p], "sgd", {"learning_rate": 1.0, "momentum": 0.5})
    found["stale"] = refusal(trainer.step, 1)
    for factor in (1, 2):
        with mx.autograd.record():
            values = [p.data(mx.cpu(k)) * (k + factor) for k in (0, 1)]
        for value in values:
            value.backward()
        trainer.step(4)
    found["summed"] = [p.data(mx.cpu(1)), p.grad(mx.cpu(1)), trainer._update_on_kvstore]
    found["on store"] = [refusal(trainer.allreduce_grads), refusal(trainer.update, 1)]
    apart = gluon.Trainer([p], "sgd", {"learning_rate": 1.0}, update_on_kvstore=False)
    with mx.autograd.record():
        values = [p.data(mx.cpu(k)) * (k + 1) for k in (0, 1)]
    for value in values:
        value.backward()
    apart.allreduce_grads()
    found["reduced"] = p.grad(mx.cpu(0))
    apart.update(3)
    found["updated"] = p.data(mx.cpu(1))
    return found


CASES = {
    "parameters": parameters,
    "dicts": dicts,
    "blocks": blocks,
    "hooks": hooks,
    "op hooks": op_hooks,
    "trainers": trainers,
}
