"""Kernels keep their names, structures and texts unless a commit says why: see golden_kernels.py."""

from __future__ import annotations

import pytest

from .golden_kernels import Case, cases, describe, recorded, structures


@pytest.fixture(scope="module")
def networks():
    return recorded("networks")


@pytest.fixture(scope="module")
def kernels():
    return recorded("structures")


@pytest.mark.parametrize("case", [*cases()], ids=str)
def test_kernels_are_as_recorded(case: Case, networks, kernels):
    lowered = case.lowered()
    found = structures(lowered)
    assert found == {name: kernels.get(name) for name in found}
    assert describe(lowered) == networks[f"{case.width} {case.network} {case.mode}"]


def test_nothing_else_is_recorded(networks):
    assert list(networks) == [f"{c.width} {c.network} {c.mode}" for c in cases()]


def test_a_change_is_seen(networks):
    forward, training = (describe(Case(256, "mlp", mode).lowered()) for mode in ("forward", "training"))
    assert forward["program"] != training["program"] and forward["steps"] != training["steps"]
