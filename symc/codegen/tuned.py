"""Which plans were measured to be the fastest, by problem: a table for each CPU, kept beside the kernel cache.

    {"forward batch=1 channels=64->64 ...": "Winograd F(4x4, 3x3), 14x32 (2 vectors of 16)"}

A plan is named by what it decides, and its name is looked for among the candidates of its problem: a name that is not
there, for whatever reason, decides nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

from symc.core.errors import SymcError

from .cache import kernel_cache

Choices = Mapping[str, str]  # names of plans by problem
NOTHING: Choices = MappingProxyType({})

_chosen: ContextVar[Choices | None] = ContextVar("symc_chosen_plans", default=None)
_preloaded: dict[str, dict[str, str]] = {}  # by CPU


def tuned(cpu: str) -> Choices:
    """What is known for a CPU: what `choosing` says, or else what is stored, and before it what files brought along."""
    chosen = _chosen.get()
    return {**_stored(cpu), **_preloaded.get(cpu, NOTHING)} if chosen is None else chosen


@contextlib.contextmanager
def choosing(choices: Choices) -> Iterator[None]:
    """What this thread compiles takes these plans, and no stored ones."""
    token = _chosen.set(choices)
    try:
        yield
    finally:
        _chosen.reset(token)


def preload(cpu: str, choices: Choices) -> None:
    """Plans that shall be taken for a CPU; a file's, whose object code is that of these plans."""
    _preloaded.setdefault(cpu, {}).update(choices)


def keep(cpu: str, choices: Choices) -> Path:
    """Adds plans to what is stored for a CPU, in place of older ones of the same problems; gives the file.

    What other processes add at the same time stays. Raises SymcError where it cannot be written.
    """

    def merged(stored: bytes | None) -> bytes:
        return json.dumps({**_parsed(stored), **choices}, indent=1, sort_keys=True).encode()

    try:
        return kernel_cache().merge(_key(cpu), merged, {"cpu": cpu}, "plans")
    except OSError as error:
        raise SymcError(f"tuned plans cannot be kept: {error}; set SYMC_CACHE_DIR to a folder of your own") from error


def digest(choices: Choices) -> str:
    """Names choices; "" where there are none."""
    return hashlib.sha256(json.dumps(dict(choices), sort_keys=True).encode()).hexdigest()[:16] if choices else ""


def _stored(cpu: str) -> Choices:
    return _parsed(kernel_cache().get(_key(cpu), "plans"))


def _parsed(data: bytes | None) -> dict[str, str]:
    return {} if data is None else json.loads(data)


def _key(cpu: str) -> str:
    return f"plans 1 {cpu}"  # the format's version
