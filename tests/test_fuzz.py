"""A small share of tests/fuzz.py at every test run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from . import fuzz, mutations


@pytest.mark.parametrize("kind", sorted(fuzz.KINDS))
def test_damaged_files_are_refused_clearly(kind: str) -> None:
    result = fuzz.fuzz(kind, 150, seed=1)
    assert result["failures"] == []
    assert kind == "cache" or result["refused"] > 20


def test_the_fuzzer_notices_a_foreign_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzz.KINDS, "json", lambda: fuzz.Kind([b"12"], int))
    assert fuzz.fuzz("json", 50, seed=0)["failures"]


@pytest.mark.parametrize("mutation", [mutations.mutate, mutations.mutate_numbers, mutations.mutate_json])
def test_mutations_change_the_file(mutation: Callable[[bytes, random.Random], bytes]) -> None:
    rng = random.Random(0)
    data = json.dumps({"nodes": [{"op": "null", "name": f"n{k}", "inputs": [[k, 0]]} for k in range(9)]}).encode()
    made = {mutation(data, rng) for _ in range(200)}
    assert len(made - {data}) > 150


def test_json_mutations_nest_deeply_and_break_the_encoding() -> None:
    rng = random.Random(0)
    made = [mutations.mutate_json(b'{"nodes": [[0, 1], {"a": "b"}]}', rng) for _ in range(500)]
    assert any(m.count(b"[") >= mutations.DEEP for m in made) and any(b"NaN" in m for m in made)
    assert any(b"\xff" in m for m in made) and any(m.count(b'"nodes"') > 2 for m in made)
