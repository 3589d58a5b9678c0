"""Whole models from Gluon's zoo: output, every internal value, and a training step in float32 and float64."""

from __future__ import annotations

import pytest

import symc as mx

from .golden import ROOT
from .suite import checks_of_models, expect_all_pass

CHECKS = list(checks_of_models(mx, ROOT))


@pytest.mark.parametrize("check", CHECKS, ids=[c.name for c in CHECKS])
def test_model(check):
    expect_all_pass([check], mx)


def test_each_kind_of_check_is_there():
    assert {c.name.split(maxsplit=1)[1] for c in CHECKS} == {"output", "internals", "training", "training in float64"}
