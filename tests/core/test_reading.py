"""Whatever stands in the way of a file's bytes is one error of symc's that names the file; pipes are files, too."""

from __future__ import annotations

import os
import threading

import pytest

import symc as mx
from symc import artifact
from symc.core.errors import MissingFileError, SymcError
from symc.core.reading import contents, reading, size_of
from symc.ndarray.serialize import dumps


def module():
    """A module that is ready to be trained."""
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc"), name="softmax")
    made = mx.mod.Module(net)
    made.bind([("data", (4, 3))], [("softmax_label", (4,))])
    made.init_params()
    made.init_optimizer(kvstore=None)
    return made


def store():
    """A store that updates what it holds."""
    made = mx.kv.create("local")
    made.set_optimizer(mx.optimizer.create("adam"))
    return made


def trainer():
    """A trainer of one layer."""
    net = mx.gluon.nn.Dense(2, in_units=3)
    net.initialize()
    return mx.gluon.Trainer(net.collect_params(), "adam", kvstore=None)


READERS = {
    "symbol": lambda: mx.sym.load,
    "arrays": lambda: mx.nd.load,
    "artifact": lambda: artifact.load,
    "states of a module": lambda: module().load_optimizer_states,
    "states of a store": lambda: store().load_optimizer_states,
    "states of a trainer": lambda: trainer().load_states,
}


def pipe_of(data, path):
    """A pipe through which a thread sends `data`."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return str(path)


@pytest.mark.parametrize("name", READERS)
def test_what_cannot_be_read_is_refused_by_name(name, tmp_path):
    read = READERS[name]()
    for path, kind, problem in (
        (tmp_path / "none", MissingFileError, "No such file or directory"),
        (tmp_path, SymcError, "Is a directory"),
        ("/dev/zero", SymcError, "it is a device"),
        ("x\0y", SymcError, "NUL"),
        ("x" * 300, SymcError, "File name too long"),
    ):
        with pytest.raises(kind, match=rf'Open "{path}": .*{problem}'):
            read(str(path))
    with pytest.raises(TypeError):
        read(7)


def test_a_missing_file_is_pythons_error_as_well(tmp_path):
    with pytest.raises(FileNotFoundError):
        module().load_optimizer_states(str(tmp_path / "none"))


def test_pipes_are_read(tmp_path):
    assert mx.sym.load(pipe_of(mx.sym.var("a").tojson().encode(), tmp_path / "symbol")).name == "a"
    (loaded,) = mx.nd.load(pipe_of(dumps(mx.nd.ones(3)), tmp_path / "arrays"))
    assert loaded.asnumpy().tolist() == [1, 1, 1]


def test_a_pipe_is_read_in_any_order(tmp_path):
    with reading(pipe_of(b"0123456789", tmp_path / "pipe")) as file:
        assert size_of(file) == 10
        file.seek(7)
        assert file.read() == b"789"
    (tmp_path / "file").write_bytes(b"abc")
    assert contents(tmp_path / "file") == b"abc"
