"""Two networks trained by forward, backward and a hand-written SGD, to MXNet's losses and parameters."""

from __future__ import annotations

import dataclasses

import pytest

import symc as mx

from .compare import Mismatch
from .golden import ROOT, trainings
from .replay import check_training
from .suite import checks_of_train, expect_all_pass

CHECKS = list(checks_of_train(mx, ROOT))


@pytest.mark.parametrize("check", CHECKS, ids=[c.name for c in CHECKS])
def test_training(check):
    expect_all_pass([check], mx)


@pytest.mark.parametrize("setting, value", [("momentum", 0.89), ("wd", 0.0), ("learning_rate", 0.201)])
def test_another_recipe_is_noticed(setting, value):
    training = next(t for t in trainings() if t.case.name == "lenet")
    other = dataclasses.replace(training, settings={**training.settings, setting: value})
    with pytest.raises(Mismatch):
        check_training(mx, other)
