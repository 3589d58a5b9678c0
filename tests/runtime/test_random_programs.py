"""Random graphs through generated code: what the compiled program computes equals what each node computes alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings

from symc.ir.text import graph_text
from symc.runtime.compiler import compile_graph
from symc.runtime.instance import Instance

from ..passes.random_graphs import Example, examples
from ..passes.test_random_graphs import expected, head_gradients, present

N_THREADS = 2
POISON = 0xA5


def run_compiled(example: Example) -> dict[tuple[str, str], np.ndarray]:
    """Runs all phases on two threads over a poisoned arena and NaN-filled outputs."""
    program = (compiled := compile_graph(example.graph, example.grad_req)).program
    instance = Instance(compiled.loaded, compiled.loaded.new_prepared(), N_THREADS)
    instance.arena.array[:] = POISON
    held = {name: np.ascontiguousarray(array.copy()) for name, array in example.feeds.items()}
    gradients: dict[str, np.ndarray] = {}
    arrays: dict[tuple[str, str], np.ndarray] = {}
    for k, slot in enumerate(program.slots):
        place, key = slot.place, slot.key
        if place in ("argument", "parameter", "aux", "update"):
            array = held[key]
        elif place in ("accumulator", "gradient"):
            adds = example.grad_req[key] == "add"
            fresh = present(example, key) if adds else np.full(slot.size, np.nan, slot.dtype)
            array = gradients.setdefault(key, np.ascontiguousarray(fresh))
        elif place == "head_gradient":
            array = np.ascontiguousarray(head_gradients(example)[int(key.removeprefix("head_gradient"))], slot.dtype)
        else:
            array = np.full(slot.size, np.nan, slot.dtype)
        arrays[place, key] = array
        instance.bufs[4 + k] = array.ctypes.data
    assert sorted(k for p in program.pieces for k in p.steps) == [*range(len(program.phase_steps("prepare")))]
    for piece in reversed(program.pieces):  # they have nothing to do with each other
        instance.run_some("prepare", piece.steps)
    for phase in ("forward", "backward"):
        instance.run(phase)
    return arrays


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(examples())
def test_generated_code_keeps_what_a_graph_computes(example: Example) -> None:
    found = run_compiled(example)
    for key, value in expected(example).items():
        scale = np.abs(value).max(initial=1.0)
        got = found[key].reshape(value.shape)
        np.testing.assert_allclose(
            got, value, rtol=1e-8, atol=1e-9 * scale, err_msg=f"{key}\n{graph_text(example.graph)}"
        )
