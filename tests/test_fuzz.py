"""A small share of tests/fuzz.py at every test run."""

from __future__ import annotations

import random

import pytest

from . import fuzz


@pytest.mark.parametrize("kind", sorted(fuzz.KINDS))
def test_damaged_files_are_refused_clearly(kind: str) -> None:
    result = fuzz.fuzz(kind, 150, seed=1)
    assert result["failures"] == []
    assert kind == "cache" or result["refused"] > 20


def test_the_fuzzer_notices_a_foreign_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.KINDS, "json", lambda: (b"12", lambda data: int(data)))
    assert fuzz.fuzz("json", 50, seed=0)["failures"]


def test_mutations_change_the_file() -> None:
    rng = random.Random(0)
    data = bytes(range(200))
    assert sum(fuzz.mutate(data, rng) != data for _ in range(200)) > 190
