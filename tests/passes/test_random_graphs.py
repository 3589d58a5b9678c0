"""The whole pipeline on random graphs: what its kernels compute equals what each node computes alone."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings

from symc.ir.kernels import KernelGraph
from symc.ir.text import graph_text
from symc.passes.base import PassContext
from symc.passes.lower_loops import lower
from symc.passes.pipeline import Trace, lower_graph, run_passes
from symc.passes.plan_memory import plan_memory

from . import reference
from .random_graphs import Example, examples
from .simulate import PackingBackend, PlainBackend, simulate

BACKENDS = (PlainBackend(), PackingBackend())
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
some = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def context(example: Example, backend=BACKENDS[0]) -> PassContext:
    return PassContext(backend, example.grad_req)


def head_gradients(example: Example) -> list[np.ndarray]:
    random = np.random.RandomState(7)
    return [random.randn(*example.graph.shape(o.value)) for o in example.graph.outputs]


def expected(example: Example) -> dict[tuple[str, str], np.ndarray]:
    """Every output of the compiled program, from one node at a time."""
    graph, reqs = example.graph, example.grad_req
    arrays = reference.forward(graph, example.feeds)
    found = {("head", str(k)): arrays[o.value] for k, o in enumerate(graph.outputs)}
    wanted = [name for name, req in reqs.items() if req != "null"]
    for name, gradient in reference.gradients(graph, arrays, head_gradients(example), wanted).items():
        found["gradient", name] = gradient + (present(example, name) if reqs[name] == "add" else 0)
    if wanted:
        found.update((("update", name), array) for name, array in reference.updates(graph, arrays).items())
    return found


def present(example: Example, name: str) -> np.ndarray:
    """What a gradient array holds before a gradient is added to it."""
    return np.full_like(example.feeds[name], 2.5)


def run(example: Example, kernels: KernelGraph) -> dict[tuple[str, str], np.ndarray]:
    """Simulates the program over arrays that alias as an executor's do."""
    arrays: dict[tuple[str, str], np.ndarray] = {}
    for name, array in example.feeds.items():
        held = array.copy()
        arrays.update({(place, name): held for place in ("argument", "parameter", "aux", "update")})
        if example.grad_req.get(name) == "add":
            held = present(example, name)
            arrays.update({(place, name): held for place in ("accumulator", "gradient")})
    for k, dy in enumerate(head_gradients(example)):
        arrays["head_gradient", f"head_gradient{k}"] = dy
    return simulate(kernels, arrays)


def check(example: Example, kernels: KernelGraph) -> None:
    found = run(example, kernels)
    for key, value in expected(example).items():
        got = found[key].reshape(value.shape)
        scale = np.abs(value).max(initial=1.0)
        message = f"{key}\n{graph_text(example.graph)}"
        np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-10 * scale, err_msg=message)


@many
@given(examples())
def test_the_pipeline_keeps_what_a_graph_computes(example: Example) -> None:
    for backend in BACKENDS:
        check(example, lower_graph(example.graph, context(example, backend), Trace()))


@many
@given(examples())
def test_every_node_in_a_kernel_of_its_own_gives_the_same(example: Example) -> None:
    """Fusion changes no result: the same graph with one group a node."""
    graph = run_passes(example.graph, context(example), Trace())
    alone = {node: k for k, node in enumerate(graph.facts.group)}
    fused, unfused = (plan_memory(lower(g, context(example))) for g in (graph, graph.with_facts(group=alone)))
    a, b = run(example, fused), run(example, unfused)
    for key in expected(example):
        scale = np.abs(b[key]).max(initial=1.0)
        np.testing.assert_allclose(a[key], b[key], rtol=1e-12, atol=1e-12 * scale, err_msg=str(key))


@some
@given(examples(training=True, is_smooth=True, n_nodes=6))
def test_gradients_are_central_differences(example: Example) -> None:
    graph, heads = example.graph, head_gradients(example)
    values = {o.value: dy for o, dy in zip(graph.outputs, heads)}  # the last of a head listed twice

    def total(feeds) -> float:
        arrays = reference.forward(graph, feeds)
        return sum(float((arrays[v] * dy).sum()) for v, dy in values.items())

    example = Example(graph, example.feeds, dict.fromkeys(example.grad_req, "write"))
    found = run(example, lower_graph(graph, context(example), Trace()))
    random = np.random.RandomState(3)
    norms = [n for n in graph.nodes if n.op and n.op.name == "BatchNorm"]
    fixed = {n.inputs[1].node.name for n in norms if n.op.fix_gamma}
    for name in example.grad_req:
        if name in fixed:
            continue  # an operator that ignores an input gives no gradient for it
        step = 1e-5 * random.randn(*example.feeds[name].shape)
        up, down = ({**example.feeds, name: example.feeds[name] + s} for s in (step, -step))
        slope = (total(up) - total(down)) / 2
        got = float((found["gradient", name].reshape(step.shape) * step).sum())
        size = np.abs(found["gradient", name].reshape(step.shape) * step).sum() + 1e-5
        assert abs(slope - got) <= 1e-5 * size + 1e-10 * abs(total(example.feeds)), (name, graph_text(graph))


@some
@given(examples())
def test_compiling_twice_gives_the_same_text(example: Example) -> None:
    first, second = (lower_graph(example.graph, context(example), Trace()).text() for _ in range(2))
    assert first == second


def texts() -> str:
    """The programs of a few graphs, as one text."""
    found: list[str] = []

    @settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(examples())
    def collect(example: Example) -> None:
        found.append(lower_graph(example.graph, context(example), Trace()).text())

    collect()
    return "".join(found)


def test_the_text_does_not_depend_on_the_hash_seed() -> None:
    code = "from tests.passes.test_random_graphs import texts; print(texts())"
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
    assert len(outputs[0]) > 2000 and outputs[0] == outputs[1]


def test_the_comparison_notices_a_wrong_program() -> None:
    """The check must fail where it should: a kernel left out."""

    @settings(max_examples=1, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(examples())
    def broken(example: Example) -> None:
        kernels = lower_graph(example.graph, context(example), Trace())
        object.__setattr__(kernels, "kernels", kernels.kernels[:-1])
        check(example, kernels)

    with pytest.raises(AssertionError):
        broken()
