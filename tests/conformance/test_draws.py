"""A sample of the random parameter sets of draws/, by the operators' definitions; the command runs all, compiled."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

import symc
from symc.ir.op import lookup, operators
from tests.ops.cases import Case
from tests.ops.test_ops import run_case

from .draws import updates
from .draws.families import GENERATORS, UNANSWERED, answer
from .draws.replay import cases_of, check
from .golden import ROOT

SAMPLE = sorted((ROOT / "draws").glob("*.npz"))


def by_definition(case: Case) -> dict[str, Any]:
    """What the operator's definition gives, in the form of a recording."""
    if case.op in updates.GENERATORS:  # they write their inputs, which a definition does not tell
        return answer(symc, case, np.asarray)
    trained = run_case(case, training=True)
    return {"outs": run_case(case).outs, "train_outs": trained.outs, "grads": trained.grads, "states": trained.states}


def test_what_is_not_drawn_is_known() -> None:
    ours = {cls.name for cls in operators() if cls.__module__.startswith("symc.")}
    drawn = {lookup(name).name for name in GENERATORS}  # type: ignore[union-attr]
    random = {cls.name for cls in operators() if cls.is_random is True or cls.name.startswith("_image_random_")}
    assert ours - drawn - random == UNANSWERED.keys() - drawn
    assert not random & drawn - UNANSWERED.keys()


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_operator(path: pathlib.Path) -> None:
    for case, want in cases_of(path):
        check(by_definition, case, want)
