"""The recorded cases of every operator symc has; the same as `python -m tests.conformance ops --list`."""

from __future__ import annotations

import pytest

import symc as mx

from .golden import ROOT
from .suite import KNOWN, Check, checks_of_ops, tally

FAMILIES: dict[str, list[Check]] = {}
for check in checks_of_ops(mx, ROOT):
    FAMILIES.setdefault(check.family, []).append(check)


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family):
    found = tally(FAMILIES[family], mx)[family]
    if found.missing and not found.n_total:
        return  # not there yet: test_what_is_there counts these
    assert not found.missing
    unknown = {name: why for name, why in found.failed.items() if name not in KNOWN}
    assert not unknown
    passed = {c.name for c in FAMILIES[family]} - found.failed.keys()
    assert not passed & KNOWN.keys(), "take these out of KNOWN"
