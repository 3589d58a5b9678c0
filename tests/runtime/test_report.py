"""Reports: work counted by hand, plans that add up, tables that say what they should, traces and dumps that open."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc.core.errors import SymcError
from symc.loopir.expr import Axis, index_value, load, prim, reduce
from symc.loopir.kernel import Buffer, Contraction, Nest, Store, Window, accumulator
from symc.loopir.work import Work, work_of
from symc.runtime.memory_report import MemoryReport
from symc.runtime.report import explain, source
from symc.runtime.table import scaled, shape_text, shortened, size_text, table, time_text


@pytest.fixture(scope="module")
def executor():
    net = mx.sym.Variable("data")
    for k in range(3):
        net = mx.sym.Convolution(net, num_filter=8, kernel=(3, 3), pad=(1, 1), name=f"conv{k}")
        net = mx.sym.Activation(net, act_type="tanh", name=f"act{k}")
    net = mx.sym.softmax(mx.sym.FullyConnected(net, num_hidden=5, name="fc"), name="prob")
    return net.simple_bind(mx.cpu(), data=(2, 4, 9, 7))


# -- work -----------------------------------------------------------------------------------------------------------


def test_work_of_an_elementwise_nest():
    x, y = Buffer.dense("x", (3, 5), "float32"), Buffer.dense("y", (3, 5), "float32")
    i, j = Axis("i", 3), Axis("j", 5)
    value = prim("exp", load("x", (i, j), "float32") + 1.0)
    assert work_of(Nest((x, y), (Store("y", (i, j), value * value, (i, j)),))) == Work(3 * 15, 4 * 30)


def test_a_reduction_counts_once_for_all_who_use_it():
    x, y = Buffer.dense("x", (3, 5), "float32"), Buffer.dense("y", (3, 5), "float32")
    i, j, k = Axis("i", 3), Axis("j", 5), Axis("k", 5)
    total = reduce("sum", (k,), prim("exp", load("x", (i, k), "float32")))
    nest = Nest((x, y), (Store("y", (i, j), prim("exp", load("x", (i, j), "float32")) / total, (i, j)),))
    assert work_of(nest).flops == 2 * 15 + 2 * 15  # exp and sum over k; exp and division over j


def test_work_of_a_contraction_with_its_epilogue():
    x, w = Buffer.dense("x", (2, 4, 9, 7), "float32"), Buffer.dense("w", (8, 4, 3, 3), "float32")
    y = Buffer.dense("y", (2, 8, 9, 7), "float32")
    axes = tuple(Axis(n, e) for n, e in zip("nchw", y.shape))
    window = Window((9, 7), (9, 7), (3, 3), (1, 1), (1, 1), (1, 1))
    store = Store("y", axes, prim("maximum", accumulator("float32"), 0.0), axes)
    kernel = Contraction("forward", 2, 4, 8, 1, window, "x", "w", (x, w, y), (store,))
    n_outputs, n_seen = 2 * 8 * 9 * 7, (3 * 9 - 2) * (3 * 7 - 2)  # a border of taps lies in the padding
    products = 2 * 8 * 4 * n_seen
    assert work_of(kernel) == Work(2 * products + n_outputs, 4 * (2 * 4 * 63 + 8 * 4 * 9 + n_outputs))


@pytest.mark.parametrize("stride, dilate, pad", [(1, 1, 0), (2, 1, 1), (3, 2, 5), (1, 4, 6), (2, 3, 40)])
def test_taps_in_the_padding_are_no_work(stride, dilate, pad):
    window = Window((7, 3), (6, 2), (4, 1), (stride, 1), (dilate, 1), (pad, 0))
    positions = [q * stride + t * dilate - pad for q in range(6) for t in range(4)]
    assert window.n_seen == 2 * sum(0 <= p < 7 for p in positions)


def test_choices_and_positions_are_no_arithmetic():
    x, y = Buffer.dense("x", (5,), "float32"), Buffer.dense("y", (5,), "float32")
    (i,) = axes = (Axis("i", 5),)
    is_inside = prim("lt", index_value(i) + 1, 3)
    value = prim("select", is_inside, load("x", (i,), "float32") * 2.0, 0.0)
    assert work_of(Nest((x, y), (Store("y", axes, value, axes),))).flops == 5


@pytest.mark.parametrize("pool, n_operations", [("sum", 6 + 7), ("lp", 7 + 6 + 7 + 1)])
def test_windows_that_share_columns_count_each_once(pool, n_operations):
    """At each position of 7 x 7 windows a column of 7 elements is new, and 7 columns are added up; lp squares first."""
    y = mx.sym.Pooling(mx.sym.Variable("x"), kernel=(7, 7), pool_type=pool, p_value=2, name="y")
    lowered = y.simple_bind(mx.cpu(), grad_req="null", x=(1, 64, 20, 20)).compiled(False).lowered
    (step,) = (k for k, (node, _) in enumerate(lowered.calls) if "Pooling" in node.operators)
    assert lowered.work(step).flops == 64 * 14 * 14 * n_operations


# -- tables ---------------------------------------------------------------------------------------------------------


def test_numbers_for_people():
    assert [scaled(n, "B") for n in (0, 999, 1000, 1_234_567)] == ["0 B", "999 B", "1.00 KB", "1.23 MB"]
    assert [size_text(n) for n in (12, 1024, 5 << 20)] == ["12 B", "1.00 KiB", "5.00 MiB"]
    assert [time_text(t) for t in (2.5, 0.0217, 1.5e-5)] == ["2.50 s", "21.7 ms", "15.0 us"]
    assert (shape_text((1, 3)), shape_text(())) == ("1x3", "scalar")
    assert shortened("stage1_unit1_relu1", 10) == "stage..lu1" and shortened("short", 10) == "short"
    assert table(("a", "n"), [("x", 1), ("long", 20)], right="n") == "a      n\nx      1\nlong  20"
    assert table((), [("a", 1)]) == "a  1"


def test_explain_has_a_row_and_a_reason_for_each_step(executor):
    text = executor.explain()
    lowered = executor.compiled(False).lowered
    program = lowered.program
    lines = text.splitlines()
    assert lines[0].split() == "step phase operators nodes output launch work moved memory".split()
    assert len(lines) == 2 * len(program.steps) + 2
    assert "Convolution + Activation" in text and "conv1 + act1" in text and "2x8x9x7" in text
    assert all(f"kernel {s.kernel}: " in line for s, line in zip(program.steps, lines[2::2]))
    assert lines[-1].startswith(f"{len(program.steps)} steps, {len(lowered.codes)} kernels, ")
    assert explain(lowered) == text


def test_source_shows_every_kernel(executor):
    lowered = executor.compiled(False).lowered
    text = source(lowered)
    assert executor.source() == text
    for name, code in lowered.codes.items():
        assert f"# ---- {name}: steps " in text and code.source.strip() in text


# -- memory ---------------------------------------------------------------------------------------------------------


def test_memory_report_adds_up(executor):
    report = executor.memory_plan()
    assert report.lower_bound_bytes <= report.planned_bytes <= report.naive_bytes
    assert report.planned_bytes == executor.compiled(False).program.arena_bytes
    assert max(p.offset_bytes + p.size_bytes for p in report.storages) <= report.planned_bytes
    assert report.parameter_bytes == 4 * sum(a.size for n, a in executor.arg_dict.items() if n != "data")
    assert report.input_bytes == 4 * 2 * 4 * 9 * 7 and report.output_bytes == 4 * 2 * 5
    assert report.as_dict()["total_bytes"] == report.total_bytes
    json.dumps(report.as_dict())


def test_storages_alive_together_do_not_overlap(executor):
    placed = executor.memory_plan().storages
    for a, b in itertools.combinations(placed, 2):
        if a.first_step <= b.last_step and b.first_step <= a.last_step:
            low, high = sorted((a, b), key=lambda p: p.offset_bytes)
            is_taken_over = b.name == a.in_place_of or a.name == b.in_place_of
            assert low.offset_bytes + low.size_bytes <= high.offset_bytes or is_taken_over, (a, b)


def test_memory_report_names_what_is_in_place():
    x = mx.sym.Variable("x")
    y = mx.sym.softmax(x, name="one")
    executor = mx.sym.softmax(mx.sym.softmax(y, name="two"), name="three").simple_bind(mx.cpu(), x=(64, 33))
    report = executor.memory_plan()
    assert str(report).splitlines()[0].split() == ["offset", "bytes", "steps", "intermediate"]
    for result, operand in report.in_place:
        assert f"in place of {operand}" in str(report) and result != operand
    assert MemoryReport.of(executor.compiled(False).lowered) == report


# -- time -----------------------------------------------------------------------------------------------------------


def test_profile_counts_every_forward_step(executor):
    profile = executor.profile(n_runs=5)
    forward = executor.compiled(False).program.phase_steps("forward")
    assert [r.kernel for r in profile.rows] == [s.kernel for s in forward]
    assert sum(r.share for r in profile.rows) == pytest.approx(1)
    assert profile.total_s > 0 and all(r.time_s >= 0 for r in profile.rows)
    assert "median of 5 runs" in str(profile)
    assert len(profile.text(2).splitlines()) == 4 and "shorter ones not shown" in profile.text(2)
    json.dumps(profile.as_dict())


def test_chrome_trace(executor, tmp_path):
    profile = executor.profile(n_runs=2)
    profile.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == 2 * len(profile.rows)
    assert min(e["ts"] for e in events) == 0 and all(e["dur"] >= 0 and e["ph"] == "X" for e in events)
    assert {e["args"]["kernel"] for e in events} == {r.kernel for r in profile.rows}


def test_profile_of_training_runs_both_directions():
    x = mx.sym.Variable("data")
    net = mx.sym.LinearRegressionOutput(mx.sym.FullyConnected(x, num_hidden=3, name="fc"), name="loss")
    executor = net.simple_bind(mx.cpu(), data=(4, 5))
    assert {r.phase for r in executor.profile(is_train=True, n_runs=2).rows} == {"forward", "backward"}


# -- dump -----------------------------------------------------------------------------------------------------------


def test_dump_writes_every_step(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMC_DUMP", str(tmp_path / "dump"))
    x = mx.sym.Variable("data")
    net = mx.sym.exp(x < 3, name="e<1>")
    for shape in ((2, 3), (3, 2)):
        net.simple_bind(mx.cpu(), data=shape)(data=np.zeros(shape, np.float32))
    folders = sorted((tmp_path / "dump").iterdir())
    assert [f.name[:4] for f in folders] == ["000-", "001-"]
    names = {p.name for p in folders[0].iterdir()}
    assert {"00-eliminate_dead.txt", "explain.txt", "memory.txt", "index.html", "kernels"} <= names
    assert any(n.endswith("-plan_memory.txt") for n in names)
    assert list((folders[0] / "kernels").glob("symc_*.py"))
    page = (folders[0] / "index.html").read_text()
    assert "e&lt;1&gt;" in page and "e<1>" not in page and "class=" in page
    assert "infer_shape" in page and '<span class="add">' in page


@pytest.mark.parametrize("place", ["explain.txt", "kernels", "000-e_output-predict"])
def test_a_dump_that_cannot_be_written_names_the_file(tmp_path, monkeypatch, place):
    monkeypatch.setenv("SYMC_DUMP", str(tmp_path))

    def full(path, *_, **__):
        raise OSError(28, "No space left on device")

    method = "write_text" if place.endswith(".txt") else "mkdir"
    original = getattr(Path, method)
    monkeypatch.setattr(Path, method, lambda p, *a, **k: (full if p.name == place else original)(p, *a, **k))
    executor = mx.sym.exp(mx.sym.Variable("x"), name="e").simple_bind(mx.cpu(), x=(2,))
    with pytest.raises(SymcError, match=f"SYMC_DUMP: writing {tmp_path}.*: No space left on device"):
        executor.forward()


def test_a_kernel_of_several_calls_counts_once():
    """Winograd's input transform and its products share one kernel's work, and that is what they really compute."""
    x = mx.sym.Variable("x")
    y = mx.sym.Activation(
        mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=64, name="conv"), act_type="relu", name="relu"
    )
    lowered = y.simple_bind(mx.cpu(), grad_req="null", x=(1, 64, 56, 56)).compiled(False).lowered
    steps = [k for k, (node, _) in enumerate(lowered.calls) if "relu" in node.nodes]
    transform, product = steps
    assert lowered.operators(transform) == ("input transform",) and "Activation" in lowered.operators(product)
    assert sum(map(lowered.work, steps), Work(0, 0)) == work_of(lowered.calls[product][0].kernel)
    direct = 2 * 56 * 56 * 64 * 64 * 9
    assert direct / 4 < lowered.work(product).flops < direct * 6 / 9  # tiles of 4 x 4 multiply a quarter as often
    (scratch,) = lowered.touched(transform)[1]
    assert scratch in lowered.touched(product)[0] and "relu.buf" not in lowered.touched(transform)[1]


def test_shares_of_a_nest_add_up():
    """A packing copies and fills up with zeros: two calls over different axes."""
    product = mx.sym.batch_dot(mx.sym.Variable("x"), mx.sym.Variable("y"))
    lowered = product.simple_bind(mx.cpu(), x=(2, 3, 5), y=(2, 5, 7)).compiled(False).lowered
    kernels = {id(node): node for node, _ in lowered.calls}
    total = sum((work_of(node.kernel) for node in kernels.values()), Work(0, 0))
    assert sum(map(lowered.work, range(len(lowered.calls))), Work(0, 0)) == total
    assert len(lowered.calls) > len(kernels), "no kernel of several calls here"


def test_shown_times_add_up(executor):
    profile = executor.profile(n_runs=3)
    assert profile.total_s == pytest.approx(sum(r.time_s for r in profile.rows)) and profile.run_s > 0
