"""Drawings of compiled programs: every node in the step that computes it, data flow between steps, times."""

from __future__ import annotations

from collections import Counter

import pytest

import symc as mx
from symc import models
from symc.visualization.colours import INPUT
from symc.visualization.picture import Box
from symc.visualization.plot import plot_program
from symc.visualization.program import Owners

EMPTY = Box("", (), INPUT, ())


def owners_of(symbol, is_profiled=False, **shapes):
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", **shapes)
    profile = executor.profile(n_runs=2) if is_profiled else None
    return Owners(symbol, executor.compiled(False).lowered, profile)


def residual():
    net = mx.sym.Variable("data")
    for k in range(2):
        inner = mx.sym.Convolution(net, kernel=(3, 3), pad=(1, 1), num_filter=8, name=f"conv{k}")
        inner = mx.sym.BatchNorm(inner, name=f"bn{k}")
        net = mx.sym.Activation(inner, act_type="relu", name=f"relu{k}") + net
    return mx.sym.Flatten(net, name="flat")


def names_by_step(owners):
    return {number: [n.name for n in nodes] for number, nodes in owners.nodes_of.items()}


def test_nodes_belong_to_the_steps_that_compute_them():
    owners = owners_of(residual(), data=(1, 8, 6, 6))
    steps = [" ".join(names) for names in names_by_step(owners).values()]
    # BatchNorm is folded into the weights; Flatten belongs to the step that computes what it flattens.
    assert any("conv0 bn0 relu0" in names for names in steps)
    assert any("conv1 bn1 relu1" in names for names in steps) and any("flat" in names for names in steps)


@pytest.mark.parametrize("name", ["lenet", "mobilenet", "inception-bn", "resnet-18"])
def test_every_node_of_a_network_has_a_step(name):
    model = models.get(name)
    small = {"data": (1, 1, 28, 28)} if name == "lenet" else dict(model.shapes)
    owners = owners_of(model.symbol, **small)
    nodes = [n for n in model.symbol.nodes() if not n.is_variable]
    assert [n for n in nodes if n not in owners.step_of] == []
    assert set(owners.step_of.values()) <= set(owners.steps)
    convolutions = [n for n in nodes if n.op_name in ("Convolution", "FullyConnected")]
    assert len({owners.step_of[n] for n in convolutions}) == len(convolutions)  # one contraction a kernel
    families = {owners.kernel(owners.step_of[node]).split("_")[1] for node in convolutions}
    assert families <= {"matrix", "winograd", "depthwise", "strips", "rings"}
    picture = plot_program(owners, name).picture
    # Every node stands in one box, as a line or, where it is a piece of memory, as the title.
    drawn = Counter(line for box in picture.boxes for line in (box.title, *box.lines))
    assert {n.name: drawn[n.name] for n in nodes} == {n.name: 1 for n in nodes}


def test_edges_follow_the_data():
    picture = plot_program(owners_of(residual(), data=(1, 8, 6, 6)), "net").picture
    where = {line: k for k, box in enumerate(picture.boxes) for line in (box.title, *box.lines)}
    pairs = {(e.tail, e.head) for e in picture.edges}
    assert where["data"] == 0 and all(tail < head for tail, head in pairs)
    assert (where["conv0"], where["conv1"]) in pairs
    assert {k for k, _ in pairs} | {where["flat"]} >= set(range(len(picture.boxes) - 1))


def test_a_concatenation_without_copies_is_a_piece_of_memory():
    data = mx.sym.Variable("data")
    branches = [mx.sym.Convolution(data, kernel=(1, 1), num_filter=8, name=f"conv{k}") for k in range(3)]
    net = mx.sym.Convolution(mx.sym.concat(*branches, dim=1, name="all"), kernel=(1, 1), num_filter=8, name="last")
    net = mx.sym.Pooling(net, kernel=(2, 2), pool_type="max", name="pool")
    picture = plot_program(owners_of(net, data=(1, 8, 8, 8)), "net").picture
    (memory,) = [k for k, box in enumerate(picture.boxes) if box.title == "all"]
    assert picture.boxes[memory].lines == ("Concat, without a copy",) and picture.boxes[memory].is_round
    assert sum(e.head == memory for e in picture.edges) == 3 and sum(e.tail == memory for e in picture.edges) == 1


def test_equal_kernels_have_equal_colours():
    owners = owners_of(residual(), data=(1, 8, 6, 6))
    picture = plot_program(owners, "net").picture
    boxes = [b for b in picture.boxes if not b.is_round]
    kernels = [dict(b.details)["compiled to"] for b in boxes]
    assert (
        len({b.colour.fill for b in boxes}) == len(set(kernels)) == len({k: b.colour for k, b in zip(kernels, boxes)})
    )


def test_times():
    owners = owners_of(residual(), is_profiled=True, data=(1, 8, 6, 6))
    picture = plot_program(owners, "net").picture
    steps = [b for b in picture.boxes if not b.is_round]
    assert max(b.load for b in steps) == 1.0 and all(0 < b.load <= 1 for b in steps)
    assert all("GFLOP/s" in dict(b.details)["time"] for b in steps)
    assert " in " in picture.facts and picture.facts.count("steps") == 2
    described = {n.name: owners.describe(n, picture.boxes[0]) for n in owners.order}
    loaded = [name for name, box in described.items() if box.load is not None]
    assert len(loaded) == len(owners.nodes_of) and "flat" in loaded
    assert all(any(" us, step" in line or " ms, step" in line for line in described[n].lines) for n in loaded)


def test_without_times_there_is_no_load():
    picture = plot_program(owners_of(residual(), data=(1, 8, 6, 6)), "net").picture
    assert all(b.load is None for b in picture.boxes)


def test_executor_plots_itself():
    executor = residual().simple_bind(mx.cpu(), grad_req="null", data=(1, 8, 6, 6))
    assert all(b.load is None for b in executor.plot().picture.boxes)
    timed = executor.plot("mine", n_runs=2)
    assert timed.picture.title == "mine" and timed._repr_svg_().startswith("<svg")
    assert timed.source.startswith("digraph mine {") and timed.source.count("->") == len(timed.picture.edges)


def winograd_layer():
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 3), pad=(1, 1), num_filter=64, name="conv")
    return mx.sym.Activation(mx.sym.BatchNorm(net, name="bn"), act_type="relu", name="relu")


def test_an_input_transform_stands_before_its_product():
    """Under its own title, and in no step of a node."""
    owners = owners_of(winograd_layer(), data=(1, 64, 56, 56))
    picture = plot_program(owners, "winograd").picture
    titles = [box.title for box in picture.boxes]
    transform, product = titles.index("input transform"), next(k for k, t in enumerate(titles) if "BatchNorm" in t)
    edges = {(e.tail, e.head) for e in picture.edges}
    assert (transform, product) in edges
    assert not {tail for tail, head in edges if head == transform} & {tail for tail, head in edges if head == product}
    assert owners.step_of[owners.symbol.nodes()[-1]] in owners.nodes_of


def test_a_time_stands_at_the_node_that_takes_it():
    owners = owners_of(winograd_layer(), is_profiled=True, data=(1, 64, 56, 56))
    shown = {n.name for n in owners.order if not n.is_variable and "step" in "".join(owners.describe(n, EMPTY).lines)}
    assert shown == {"conv"}
