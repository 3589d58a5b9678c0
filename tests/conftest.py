"""What every test relies on: a kernel cache of the run's own, no SYMC_* variable from outside, fixed seeds.

With `-n` (pytest-xdist) the processes of a run share its cache: a kernel is compiled once.
"""

from __future__ import annotations

import gc
import os
import random
import tempfile

import numpy as np
import pytest

try:
    import hypothesis
except ImportError:  # only the extra `test` has it; tests that need it skip themselves
    hypothesis = None

_cache = pytest.StashKey[tempfile.TemporaryDirectory]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that starts the others, and hands them its environment
        for name in [n for n in os.environ if n.startswith("SYMC_")]:
            del os.environ[name]
        config.stash[_cache] = tempfile.TemporaryDirectory(prefix="symc-tests-")
        os.environ["SYMC_CACHE_DIR"] = config.stash[_cache].name
        if config.getoption("numprocesses", None):
            os.environ["SYMC_COMPILERS"] = "1"  # every core has a process of the run: a compiler would only share it
    if hypothesis:
        # The same examples in every run: a red test is red for everybody. No deadline: kernels compile on first use.
        hypothesis.settings.register_profile("symc", derandomize=True, deadline=None, database=None)
        hypothesis.settings.load_profile("symc")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _cache in config.stash:
        config.stash[_cache].cleanup()


def pytest_collection_finish() -> None:
    gc.freeze()  # 18,000 tests are 1.7 million objects: each `gc.collect()` of a test would look at them for 1.5 s


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import symc.random

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (MXNet scripts seed this one)
    symc.random.seed(0)
