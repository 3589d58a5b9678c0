"""Recorded networks: the tutorials' ones and random graphs; inference, attributes, both directions."""

from __future__ import annotations

import pytest

import symc as mx

from .golden import ROOT
from .suite import checks_of_nets, expect_all_pass

CHECKS = list(checks_of_nets(mx, ROOT))


@pytest.mark.parametrize("family", sorted({c.family for c in CHECKS}))
def test_family(family):
    expect_all_pass([c for c in CHECKS if c.family == family], mx)
