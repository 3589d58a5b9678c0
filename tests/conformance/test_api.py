"""Recorded snippets of Python: naming, composition, JSON, inference, binding, attributes and the rest of the face."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest

import symc as mx

from . import api
from .compare import Mismatch
from .golden import ROOT, Snippet
from .suite import KNOWN, Tally, checks_of_api, is_missing, tally

CHECKS = list(checks_of_api(mx, ROOT))


@cache
def families() -> dict[str, Tally]:
    """All of them at once, as some read what others wrote."""
    return tally(CHECKS, mx)


@pytest.mark.parametrize("category", dict.fromkeys(check.family for check in CHECKS))
def test_category(category):
    found = families()[category]
    assert set(found.failed) <= set(KNOWN), found.failed


def test_known_differences_are_still_there():
    failed = {name for found in families().values() for name in (*found.failed, *found.missing)}
    assert {name for name in KNOWN if name.split(".")[0] in families()} <= failed


def test_what_is_not_there_yet_is_counted():
    for category in ("compose", "json", "infer", "bind", "attr"):
        assert families()[category].missing == []
    assert sum(f.n_total + len(f.missing) for f in families().values()) == 182


def snippet(code, value=None, stdout=None, error=None):
    return Snippet("x.00", "x", code, error is None, value, stdout, error)


ERROR = {"cls": "ValueError", "message": "MXNetError: Check failed: a == b (1 vs. 2) : key `w` is missing, at 3"}


@pytest.mark.parametrize(
    "good",
    [
        snippet("(1, [2.00001, 'a'])", ["__tuple__", 1, [2.0, "a"]]),
        snippet("print('x'); R={'b': np.float32}", {"b": "type:float32"}, "x\n"),
        snippet("np.float32(15)", "repr:15.0"),
        snippet("object()", "repr:<object object at 0x7f>"),
        snippet("raise ValueError('key `w` is missing')", error=ERROR),
    ],
)
def test_equal_results_pass(good):
    api.check_snippet(mx, good)


@pytest.mark.parametrize(
    "bad, message",
    [
        (snippet("(1, 2)", [1, 2]), "gives"),
        (snippet("{'a': 1, 'b': 2}", {"b": 2, "a": 1}), "gives"),
        (snippet("2.01", 2.0), "gives"),
        (snippet("print('y')", None, "x\n"), "prints 'y"),
        (snippet("1", error=ERROR), "no error, MXNet's ValueError"),
        (snippet("raise ValueError('other')", error=ERROR), "says 'other', MXNet 'key `w` is missing'"),
    ],
)
def test_differences_are_told(bad, message):
    with pytest.raises(Mismatch, match=message):
        api.check_snippet(mx, bad)


def test_errors_that_mxnet_does_not_raise_are_raised():
    for code in (snippet("1 / 0", 1), snippet("1 / 0", error=ERROR)):
        with pytest.raises(ZeroDivisionError):
            api.check_snippet(mx, code)


@pytest.mark.parametrize(
    "recorded, words",
    [
        ("key `w` is missing in `args`", "key `w` is missing in `args`"),
        ("MXNetError: Error in operator c: ../a.cc:151: Check failed: d == 4U (2 vs. 4) : In", "Error in operator c"),
        ('Traceback\n  File ..\nLocalFileSystem: Check failed: allow_null: :Open "/x": No', 'Open "/x"'),
        ("../nnvm/symbolic.cc:412: Check failed: n == 0U (1 vs. 0) : General rule", "General rule"),
    ],
)
def test_stable_part(recorded, words):
    assert api.stable_part(recorded) == words


def test_what_counts_as_missing():
    assert is_missing(mx, AttributeError("module 'symc' has no attribute 'gluon'"))
    assert is_missing(mx, AttributeError("module 'symc.symbol.linalg' has no attribute 'x'"))
    assert not is_missing(mx, AttributeError("'Symbol' object has no attribute 'x'"))
    assert not is_missing(SimpleNamespace(__name__="mxnet"), AttributeError("module 'symc' has no attribute 'x'"))
