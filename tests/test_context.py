"""Contexts: values that name devices, and the default one of a thread."""

from __future__ import annotations

import threading

import pytest

import symc.ndarray as nd
from symc.context import Context, cpu, cpu_pinned, current_context, gpu, num_gpus
from symc.core.errors import ArgumentError, SymcError


def test_context_prints_compares_and_hashes_by_value():
    assert repr(cpu()) == "cpu(0)" and str(gpu(1)) == "gpu(1)" and repr(cpu_pinned()) == "cpu_pinned(0)"
    assert cpu(1) == Context("cpu", 1) != cpu(0) and cpu() != gpu() and cpu() != "cpu(0)"
    assert len({cpu(), Context(cpu()), gpu()}) == 2
    assert gpu(3).device_typeid == 2 and gpu(3).device_id == 3 and num_gpus() == 0


def test_with_sets_the_default_context_of_this_thread_only():
    seen = []
    with cpu(2) as outer:
        with outer, gpu(1):
            assert current_context() == gpu(1)
            thread = threading.Thread(target=lambda: seen.append(current_context()))
            thread.start()
            thread.join()
        assert current_context() == cpu(2) and nd.ones(1).context == cpu(2)
    assert current_context() == cpu() and seen == [cpu()]


def test_context_errors():
    with pytest.raises(ArgumentError, match="tpu"):
        Context("tpu")
    for number in ("a", 1.5, None):
        with pytest.raises(TypeError, match="must be an integer"):
            cpu(number)
    with pytest.raises(SymcError, match=r"no device gpu\(0\).*use mx.cpu\(\)"):
        nd.ones((2,), gpu())
    with pytest.raises(TypeError, match="Context"):
        nd.ones((2,), "cpu")
    with pytest.warns(DeprecationWarning, match="use current_context"):
        assert Context.default_ctx == cpu()
