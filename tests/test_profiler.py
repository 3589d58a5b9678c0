"""`mx.profiler`: spans of operators, kernels, Python operators and of the user's own objects, as tables and traces."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest

import symc as mx
from symc import profiler
from symc.core.errors import ArgumentError, ConflictError, SymcError
from symc.core.timeline import timeline


@pytest.fixture(autouse=True)
def watched(tmp_path):
    profiler.set_config(profile_all=True, aggregate_stats=True, filename=str(tmp_path / "profile.json"))
    profiler.dumps(reset=True)
    profiler.set_state("run")
    yield tmp_path / "profile.json"
    profiler.set_state("stop")
    profiler.dumps(reset=True)


def times() -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(profiler.dumps(format="json"))["Time"]


def test_every_operator_of_nd_is_counted_once():
    x = mx.nd.ones((3, 4))
    for _ in range(2):
        mx.nd.relu(x + 1)
    large = mx.nd.ones((300, 300))
    mx.nd.sigmoid(large)  # compiled, not NumPy
    found = times()["operator"]
    counts = {name: row["Count"] for name, row in found.items()}
    assert counts == {"_ones": 2, "relu": 2, "_plus_scalar": 2, "sigmoid": 1}
    for row in found.values():
        assert 0 < row["Min"] <= row["Avg"] <= row["Max"] <= row["Total"]
        assert row["Total"] == pytest.approx(row["Avg"] * row["Count"])


def test_new_arrays_are_counted_by_what_mxnet_fills_them_with():
    mx.nd.zeros((2, 3))
    mx.nd.zeros((2,), out=mx.nd.empty((2,)))
    mx.nd.ones(4)
    mx.nd.full((2,), 7)
    mx.nd.arange(5)
    mx.nd.linspace(0, 1, 5)
    mx.nd.eye(3)
    counts = {name: row["Count"] for name, row in times()["operator"].items()}
    assert counts == {"_zeros": 2, "_ones": 1, "_full": 1, "_arange": 1, "_linspace": 1, "_eye": 1}


def test_a_program_is_timed_kernel_by_kernel_in_both_directions():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=3, name="fc")
    net = mx.sym.Activation(net, act_type="tanh")
    executor = net.simple_bind(mx.cpu(), data=(2, 5))
    for _ in range(3):
        executor.forward(is_train=True)
        executor.backward(mx.nd.ones((2, 3)))
    found = times()["operator"]
    assert found["FullyConnected + Activation"]["Count"] == 3
    assert found["dot"]["Count"] >= 6  # gradients of data and weight, and what packs for them


def test_results_are_the_same_and_nothing_is_kept_when_it_is_off():
    x = mx.nd.array(np.arange(-3, 3, dtype="float32"))
    net = mx.gluon.nn.Dense(2, in_units=6)
    net.initialize(mx.init.One())
    net.hybridize()
    seen = net(x.reshape((1, 6))).asnumpy()
    assert "FullyConnected" in times()["operator"]
    profiler.set_state("stop")
    profiler.dumps(reset=True)
    np.testing.assert_array_equal(net(x.reshape((1, 6))).asnumpy(), seen)
    assert times() == {} and not timeline.is_on


def test_pause_and_resume():
    profiler.pause()
    mx.nd.relu(mx.nd.ones(3))
    assert times() == {}
    profiler.resume()
    mx.nd.tanh(mx.nd.ones(3))
    assert set(times()["operator"]) == {"_ones", "tanh"}


class Twice(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * 2)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], out_grad[0] * 2)


def test_python_operators_are_told_from_what_they_call():
    @mx.operator.register("profiled_twice")
    class TwiceProp(mx.operator.CustomOpProp):
        def create_operator(self, context, shapes, dtypes):
            return Twice()

    x = mx.nd.ones((2, 3))
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd.Custom(x, op_type="profiled_twice")
    y.backward()
    counts = {name: row["Count"] for name, row in times()["Custom Operator"].items()}
    assert counts == {
        "profiled_twice::pure_python": 1,
        "profiled_twice::_mul_scalar": 1,
        "_backward_profiled_twice::pure_python": 1,
        "_backward_profiled_twice::_mul_scalar": 1,
    }


def test_own_tasks_frames_events_counters_and_markers(watched):
    domain = profiler.Domain("mine")
    for timed in (domain.new_task("task"), domain.new_frame("frame"), profiler.Event("event")):
        timed.start()
        timed.stop()
        assert str(timed) in ("task", "frame", "event")
        with pytest.raises(ConflictError, match="was not started"):
            timed.stop()
    counter = domain.new_counter("counter", 3)
    counter += 4
    counter -= 1
    domain.new_marker("marker").mark("thread")
    threading.Thread(target=lambda: mx.nd.relu(mx.nd.ones(3))).start()
    profiler.dump()
    assert not timeline.is_on
    events = json.loads(watched.read_text())["traceEvents"]
    names = {e["args"]["name"]: e["pid"] for e in events if e["ph"] == "M"}
    assert {"mine", "mine,frame", "event", "mine,instant_marker"} <= set(names)
    by_name = {e["name"]: e for e in events if e["ph"] != "M"}
    assert {by_name[n]["ph"] for n in ("task", "frame", "event")} == {"X"}
    assert by_name["task"]["pid"] == names["mine"] and by_name["marker"]["s"] == "t"
    assert [e["args"]["counter"] for e in events if e["ph"] == "C"] == [3, 7, 6]
    assert sorted(times()) == ["event", "mine", "mine,frame", "operator"]


def test_the_table_is_sorted():
    for n, name in ((1, "tanh"), (3, "relu"), (2, "sigmoid")):
        for _ in range(n):
            getattr(mx.nd, name)(mx.nd.ones(3))
    for key, is_ascending in itertools.product(profiler.SORTINGS, (False, True)):
        text = profiler.dumps(format="json", sort_by=key, ascending=is_ascending)
        rows = [row[profiler.SORTINGS[key]] for row in json.loads(text)["Time"]["operator"].values()]
        assert len(rows) == 4 and rows == sorted(rows, reverse=not is_ascending)
        table = profiler.dumps(sort_by=key, ascending=is_ascending)
        assert "Profile Statistics:" in table and "Total Count" in table and "relu " in table


def test_what_cannot_be_done_is_said():
    with pytest.raises(ArgumentError, match="no setting 'fast'; there are filename, profile_all"):
        profiler.set_config(fast=True)
    with pytest.raises(ArgumentError, match="expected 'run' or 'stop', got 'go'"):
        profiler.set_state("go")
    with pytest.raises(ConflictError, match="invalid format 'xml'"):
        profiler.dumps(format="xml")
    with pytest.raises(ConflictError, match="invalid sort_by 'name'"):
        profiler.dumps(sort_by="name")
    with pytest.raises(SymcError, match="symc has no servers"):
        profiler.pause(profile_process="server")
    with pytest.raises(ArgumentError, match="scope is one of global"):
        profiler.Domain("d").new_marker("m").mark("all")


@pytest.mark.parametrize(
    "old, arguments", [("profiler_set_config", ("all",)), ("profiler_set_state", ("stop",)), ("dump_profile", ())]
)
def test_old_names_warn(old, arguments):
    with pytest.warns(UserWarning, match=f"profiler.{old}\\(\\) is deprecated"):
        getattr(profiler, old)(*arguments)
