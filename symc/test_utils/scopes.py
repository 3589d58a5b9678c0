"""What surrounds a test: the default device and dtype, environment variables, a silent stderr."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from symc.context import Context, _in_force, current_context
from symc.util import use_np, use_np_array, use_np_shape

__all__ = [
    "default_context", "default_dtype", "discard_stderr", "environment", "is_aarch64_run", "is_cd_run", "list_gpus",
    "set_default_context", "use_np", "use_np_array", "use_np_shape",
]  # fmt: skip


def default_context() -> Context:
    """The device tests run on."""
    return current_context()


def set_default_context(ctx: Context) -> None:
    """Makes a device the thread's default."""
    _in_force.stack[-1] = ctx


def default_dtype() -> type[np.generic]:
    """The dtype tests use."""
    return np.float32


def list_gpus() -> range:
    """The numbers of the GPUs that can hold NDArrays: none."""
    return range(0)


def is_cd_run() -> bool:
    """Whether MXNet's continuous delivery runs the test."""
    return os.environ.get("CD_JOB") == "1"


def is_aarch64_run() -> bool:
    """Whether the machine is an aarch64."""
    return platform.machine() == "aarch64"


@contextmanager
def environment(*args: Any) -> Iterator[None]:
    """Sets environment variables (a name and its text, or a dict; None removes) and restores them afterwards."""
    wanted: Mapping[str, str | None] = args[0] if len(args) == 1 else dict([args])
    before = {name: os.environ.get(name) for name in wanted}
    try:
        _set(wanted)
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, text in variables.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text


@contextmanager
def discard_stderr() -> Iterator[None]:
    """Throws away what the process writes to stderr."""
    try:
        number = sys.stderr.fileno()
    except (AttributeError, OSError):  # stderr is no file, as under a test runner that captures it
        yield
        return
    kept = os.dup(number)
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
