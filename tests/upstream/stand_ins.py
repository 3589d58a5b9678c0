"""Modules that MXNet's tests import: `mxnet` is symc, and small stand-ins for packages that today's Python lacks."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
import sys
import unittest
from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any

import pytest

from symc import as_mxnet, util
from symc.context import Context


def install() -> None:
    """Makes the names importable; does nothing the second time."""
    if "nose" in sys.modules:
        return
    as_mxnet.install(replace=True)
    tools = _nose_tools()
    nose = ModuleType("nose")
    nose.tools = tools  # type: ignore[attr-defined]
    sys.modules |= {"nose": nose, "nose.tools": tools, "distutils": ModuleType("distutils")}
    sys.modules["distutils.version"] = _versions()
    sys.modules["mxnet.numpy"] = sys.modules["symc.numpy"] = ModuleType(
        "mxnet.numpy"
    )  # imported by tests of which few use it
    vars(util)["_NumpyArrayScope"] = type("_NumpyArrayScope", (), {})  # imported by tests of which one uses it
    as_mxnet.restore_old_numpy()
    _restore_old_h5py()


class Nose:
    """A pytest plugin: classes of tests may name what runs before and after them as nose does.

    What a file imports is no test of it; a test leaves the default context as it was.
    """

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        before = Context.default_ctx
        try:
            return (yield)
        finally:
            Context.default_ctx = before

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: Any) -> list | None:
        if inspect.isfunction(obj) and obj.__module__.startswith("symc."):
            return []
        if isinstance(obj, type) and issubclass(obj, unittest.TestCase):
            for old, new in (("setupClass", "setUpClass"), ("teardownClass", "tearDownClass")):
                if old in vars(obj):
                    setattr(obj, new, vars(obj)[old])
        return None


def _nose_tools() -> ModuleType:
    """nose.tools: unittest's assertions in snake case, and three decorators."""
    tools = ModuleType("nose.tools")
    case = unittest.TestCase()
    for name in dir(case):
        if name.startswith("assert"):
            setattr(tools, re.sub("([A-Z])", lambda m: f"_{m[1].lower()}", name), getattr(case, name))
    vars(tools).update(raises=_raises, make_decorator=_make_decorator, eq_=case.assertEqual, ok_=case.assertTrue)
    return tools


def _raises(*expected: type[BaseException]) -> Callable[[Callable], Callable]:
    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            with pytest.raises(expected):
                test(*args, **kwargs)

        return run

    return decorate


def _make_decorator(test: Callable) -> Callable[[Callable], Callable]:
    """Names the wrapper as its test; pytest must not read the test's own arguments through it."""

    def decorate(wrapper: Callable) -> Callable:
        functools.update_wrapper(wrapper, test)
        del wrapper.__wrapped__  # type: ignore[attr-defined]
        return wrapper

    return decorate


def _restore_old_h5py() -> None:
    """Lets h5py, where it is installed, open a file that is not there without being told a mode, as before 3.0."""
    with contextlib.suppress(ImportError):
        h5py: Any = importlib.import_module("h5py")
        h5py.File = functools.partial(h5py.File, mode="a")


def _versions() -> ModuleType:
    from packaging.version import Version

    module = ModuleType("distutils.version")
    module.LooseVersion = Version  # type: ignore[attr-defined]
    return module
