"""Files that one library writes and another reads: each case is a pair of functions that symc and MXNet both run.

    PYTHON tests/exchange/cases.py (symc|mxnet) write FOLDER     every case writes into FOLDER/<case>
    PYTHON tests/exchange/cases.py (symc|mxnet) read FOLDER      prints what every case reads there, as JSON

States are filled with numbers that are exact and nothing is computed, so the files of both are equal to the byte.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import sys

import numpy as np

OPTIMIZERS = {
    "sgd": dict(momentum=0.5),
    "nag": dict(momentum=0.5, wd=0),  # with it MXNet decays the momentum by the new weight
    "signum": dict(momentum=0.5),
    "adam": {},
    "adagrad": {},
    "adadelta": {},
    "adamax": {},
    "nadam": {},
    "rmsprop": dict(centered=True),
    "ftrl": {},
    "ftml": {},
    "dcasgd": {},
    "lamb": {},
    "lars": dict(momentum=0.5),
}
DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool")


def numbers(value):
    """Arrays and tuples of them as dtype, shape and elements."""
    if isinstance(value, (list, tuple)):
        return [numbers(v) for v in value]
    if value is None or isinstance(value, (int, float, str)):
        return value
    array = value.asnumpy()
    return [str(array.dtype), list(array.shape), array.astype("float64").ravel().tolist()]


def ramp(mx, *shape, dtype="float32"):
    """An array of quarters, which every dtype of floats holds exactly."""
    return mx.nd.array(np.arange(np.prod(shape, dtype=int)).reshape(shape) / 4 - 1, dtype=dtype)


def updaters(mx, folder, has_optimizer, dtype="float32"):
    """Name, updater, weights and file of each optimizer; of float16, those with a copy of the weights."""
    for name in OPTIMIZERS if dtype == "float32" else ("sgd", "nag", "lamb"):
        options = {"wd": 0.25, **OPTIMIZERS[name], "multi_precision": dtype == "float16"}
        schedule = mx.lr_scheduler.MultiFactorScheduler([1, 2], 0.5, base_lr=0.125)
        made = mx.optimizer.get_updater(mx.optimizer.create(name, lr_scheduler=schedule, **options))
        path = folder / f"{name}.{'full' if has_optimizer else 'states'}"
        yield name, made, [ramp(mx, 2, 3, dtype=dtype), ramp(mx, 4, dtype=dtype)], path


def filled(mx, state):
    """The arrays of a state get numbers that are exact in every dtype."""
    for part in state if isinstance(state, (list, tuple)) else [state]:
        if isinstance(part, (list, tuple)):
            filled(mx, part)
        elif part is not None:
            part[:] = ramp(mx, *part.shape, dtype=part.dtype) + 2


def with_states(mx, update, weights):
    """Gives an updater states for these weights, as if it had updated each once."""
    for k, weight in enumerate(weights):
        update.states[k] = update.optimizer.create_state_multi_precision(k, weight)
        update.states_synced[k] = True
        filled(mx, update.states[k])
        update.optimizer._update_count(k)


def states_of(update):
    """States, class and numbers of an updater."""
    options = {k: v for k, v in vars(update.optimizer).items() if isinstance(v, (int, float))}
    states = [numbers(update.states[k]) for k in sorted(update.states)]
    return [type(update.optimizer).__name__, dict(sorted(options.items())), states]


def write_updaters(has_optimizer, dtype="float32"):
    def write(mx, folder):
        for _, update, weights, path in updaters(mx, folder, has_optimizer, dtype):
            with_states(mx, update, weights)
            path.write_bytes(update.get_states(dump_optimizer=has_optimizer))

    return write


def read_updaters(has_optimizer, dtype="float32"):
    def read(mx, folder):
        found = {}
        for name, update, _, path in updaters(mx, folder, has_optimizer, dtype):
            if has_optimizer:
                update = mx.optimizer.get_updater(mx.optimizer.Test())
            update.set_states(path.read_bytes())
            found[name] = states_of(update)
        return found

    return read


def network(mx):
    net = mx.gluon.nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(mx.gluon.nn.BatchNorm(in_channels=2), mx.gluon.nn.PReLU(), mx.gluon.nn.LayerNorm(in_channels=2))
    net.initialize()
    for parameter in net.collect_params().values():
        parameter.set_data(ramp(mx, *parameter.shape) + 1.5)
    return net


def trainer(mx, net, name, **options):
    return mx.gluon.Trainer(net.collect_params(), name, {"learning_rate": 0.125, **options})


def write_gluon(mx, folder):
    """Parameters in both forms, an export, and states of trainers."""
    net = network(mx)
    net.hybridize()
    net(ramp(mx, 4, 2))
    net.export(str(folder / "net"), 3)
    net.save_parameters(str(folder / "net.params"))
    net.collect_params().save(str(folder / "full.params"))
    for name in ("sgd", "adam"):
        made = trainer(mx, net, name)
        with_states(mx, made._updaters[0], [p.data() for p in net.collect_params().values() if p.grad_req != "null"])
        made.save_states(str(folder / f"{name}.states"))
    net.cast("float16")
    net.save_parameters(str(folder / "half.params"))


def read_gluon(mx, folder):
    net = network(mx)
    found = {}
    for name, load in (("net.params", net.load_parameters), ("full.params", net.collect_params().load)):
        net.initialize(mx.init.Zero(), force_reinit=True)
        load(str(folder / name), ctx=mx.cpu())
        found[name] = [numbers(p.data()) for p in net.collect_params().values()]
    block = mx.gluon.SymbolBlock.imports(str(folder / "net-symbol.json"), ["data"], str(folder / "net-0003.params"))
    found["imported"] = {k: numbers(p.data()) for k, p in sorted(block.collect_params().items())}
    for name in ("sgd", "adam"):
        made = trainer(mx, net, "nag")
        made.load_states(str(folder / f"{name}.states"))
        found[name] = states_of(made._updaters[0])
    net.load_parameters(str(folder / "half.params"), cast_dtype=True, dtype_source="saved")
    found["half"] = [str(np.dtype(net[1].alpha.dtype)), numbers(net[1].alpha.data())]
    return found


def symbol(mx):
    x = mx.sym.Variable("data")
    x = mx.sym.FullyConnected(x, name="fc", num_hidden=3, attr={"ctx_group": "a", "__mood__": "happy"})
    x = mx.sym.BatchNorm(x, name="bn", fix_gamma=False)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def module(mx, load=None):
    """A module that is bound, with weights of its own or from a checkpoint."""
    made = mx.mod.Module(symbol(mx)) if load is None else mx.mod.Module.load(load, 2, load_optimizer_states=True)
    made.bind([("data", (4, 2))], [("softmax_label", (4,))])
    if load is None:
        made.init_params(mx.init.One())
    options = (("learning_rate", 0.125), ("momentum", 0.5), ("wd", 0.25))
    made.init_optimizer(kvstore=None, optimizer="sgd", optimizer_params=options)
    return made


def write_module(mx, folder):
    made = module(mx)
    with_states(mx, made._updater, [ramp(mx, 3, 2), ramp(mx, 3)])
    made.save_checkpoint(str(folder / "net"), 2, save_optimizer_states=True)


def read_module(mx, folder):
    net, arguments, states = mx.model.load_checkpoint(str(folder / "net"), 2)
    found = [net.list_arguments(), {k: dict(sorted(v.items())) for k, v in sorted(net.attr_dict().items())}]
    found += [{k: numbers(v) for k, v in sorted(d.items())} for d in (arguments, states)]
    return [*found, states_of(module(mx, str(folder / "net"))._updater)]


def store(mx):
    kv = mx.kv.create("local")
    kv.init([3, 5], [ramp(mx, 2, 3), ramp(mx, 4)])
    kv.set_optimizer(mx.optimizer.create("adam", learning_rate=0.125))
    return kv


def write_store(mx, folder):
    for is_full in (False, True):
        kv = store(mx)
        with_states(mx, kv._updater, [ramp(mx, 2, 3), ramp(mx, 4)])
        kv.save_optimizer_states(str(folder / f"{is_full}.states"), dump_optimizer=is_full)


def read_store(mx, folder):
    found = []
    for is_full in (False, True):
        kv = store(mx)
        kv.load_optimizer_states(str(folder / f"{is_full}.states"))
        found.append(states_of(kv._updater))
    return found


def write_arrays(mx, folder):
    dtypes = {dtype: ramp(mx, 2, 3, dtype=dtype) + 1 if dtype[0] != "b" else None for dtype in DTYPES}
    dtypes["bool"] = mx.nd.array([0, 1, 1]).astype("bool")
    mx.nd.save(str(folder / "dtypes.params"), dtypes)
    mx.nd.save(str(folder / "list.params"), [ramp(mx, 2), ramp(mx, 3, 1, 2)])
    mx.nd.save(str(folder / "prefixed.params"), {"arg:w": ramp(mx, 2), "aux:mean": ramp(mx, 3), "ohne": ramp(mx, 1)})
    with mx.util.np_shape(True):
        mx.nd.save(str(folder / "shapes.params"), {"scalar": mx.nd.ones(()), "none": mx.nd.ones((2, 0, 3))})


def read_arrays(mx, folder):
    found = {}
    for name in ("dtypes", "list", "prefixed"):
        read = mx.nd.load(str(folder / f"{name}.params"))
        found[name] = numbers(read) if isinstance(read, list) else {k: numbers(v) for k, v in read.items()}
    with mx.util.np_shape(True):
        found["shapes"] = {k: list(v.shape) for k, v in mx.nd.load(str(folder / "shapes.params")).items()}
    return found


CASES = {
    "updaters": (write_updaters(False), read_updaters(False)),
    "updaters with optimizer": (write_updaters(True), read_updaters(True)),
    "updaters of float16": (write_updaters(True, "float16"), read_updaters(True, "float16")),
    "gluon": (write_gluon, read_gluon),
    "module": (write_module, read_module),
    "kvstore": (write_store, read_store),
    "arrays": (write_arrays, read_arrays),
}


def write_all(mx, folder):
    """Every case writes into a folder of its own."""
    for name, (write, _) in CASES.items():
        (folder / name).mkdir()
        write(mx, folder / name)


def read_all(mx, folder):
    """What every case reads, as JSON gives it back."""
    return json.loads(json.dumps({name: read(mx, folder / name) for name, (_, read) in CASES.items()}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    library, folder = importlib.import_module(sys.argv[1]), pathlib.Path(sys.argv[3])
    if sys.argv[2] == "write":
        write_all(library, folder)
    else:
        print(json.dumps(read_all(library, folder)))
