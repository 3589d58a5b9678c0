"""Recorded kernels through the driver protocol: the same bits each time, on hardware what the simulation gives."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cuda.image import KernelImage
from symc.runtime.cuda.driver import Driver, Launch
from symc.runtime.cuda.nvidia import NvidiaDriver, found
from symc.testing.driver import SimDriver

from .ptx.kernels import Empty, text_of, uses


def results(driver: Driver, name: str) -> list[np.ndarray]:
    """What the arrays of a kernel's use hold after it has run."""
    use = uses()[name]
    words, memory = [], []
    for argument in use.arguments:
        if isinstance(argument, int):
            words.append(np.int32(argument))
            continue
        array = argument.like if isinstance(argument, Empty) else argument
        words.append(driver.allocate(array.nbytes))
        memory.append((words[-1], np.empty_like(array)))
        if isinstance(argument, np.ndarray):
            driver.copy_in(words[-1], array)
    kernel = driver.load(KernelImage(text_of(name).encode(), name))
    grid, block = ((*extents, 1, 1)[:3] for extents in (use.grid, use.block))
    driver.launch(Launch(kernel, grid, block, use.dynamic_bytes, tuple(words)))
    for address, array in memory:
        driver.copy_out(array, address)
    return [array for _, array in memory]


@pytest.mark.parametrize("name", uses())
def test_simulated_runs_are_equal_to_the_bit(name):
    for first, second in zip(results(SimDriver(), name), results(SimDriver(1), name)):
        assert np.array_equal(first.view("u1"), second.view("u1"))


@pytest.mark.parametrize("name", [name for name, use in uses().items() if use.grid != (1,)])
def test_it_does_not_matter_how_many_blocks_run_together(name, monkeypatch):
    together = results(SimDriver(), name)
    monkeypatch.setattr("symc.testing.ptx.launch._MOST_LANES", 1)
    for first, second in zip(together, results(SimDriver(), name)):
        assert np.array_equal(first.view("u1"), second.view("u1"))


@pytest.mark.cuda
@pytest.mark.skipif(not found()[0], reason=found()[1] or "there is a GPU")
@pytest.mark.parametrize("name", uses())
def test_hardware_gives_what_the_simulation_gives(name):
    for simulated, real in zip(results(SimDriver(), name), results(NvidiaDriver(0), name)):
        if simulated.dtype.kind == "f":  # approximations may end differently
            assert np.abs(simulated - real).max() <= 2e-6 * max(1, np.abs(simulated).max())
        else:
            assert np.array_equal(simulated, real)
