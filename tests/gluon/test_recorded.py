"""Gluon gives what the real MXNet gave: texts to the letter, numbers to float32's rounding."""

from __future__ import annotations

import importlib

import pytest

import symc as mx

from .recorded import differences, load, result_of

FAMILIES = ["contrib", "errors", "loss", "metric", "networks", "nn", "optimizer", "pages", "rnn", "zoo"]
TABLES = {family: importlib.import_module(f"tests.gluon.cases_{family}").CASES for family in FAMILIES}


@pytest.mark.parametrize("family, name", [(f, name) for f, table in TABLES.items() for name in table])
def test_as_mxnet(family, name):
    rtol = 1e-3 if family in ("networks", "pages") else 2e-5  # what is left of float32 after some steps of training
    found = differences(result_of(mx, TABLES[family][name]), load(family)[name], rtol)
    assert not found, "\n".join(found[:20])


def test_every_recorded_case_is_there():
    assert {f: list(load(f)) for f in FAMILIES} == {f: list(table) for f, table in TABLES.items()}


@pytest.mark.parametrize(
    "seen, wanted, n",
    [
        ({"a": [1.0, "x"]}, {"a": [1.000001, "x"]}, 0),
        ({"a": [1.0, "x"]}, {"a": [1.01, "y"]}, 2),
        ({"a": 1}, {"b": 1}, 1),
        ([1, 2], [1], 1),
        (float("nan"), float("nan"), 0),
        (float("nan"), 1.0, 1),
        (True, 1, 0),
        ("1", 1, 1),
    ],
)
def test_differences_are_seen(seen, wanted, n):
    assert len(differences(seen, wanted)) == n
