"""The comparisons themselves: they pass what is close and name what is not; a wrong result of a peer is found."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import symc as mx

from . import compare, golden, replay
from .compare import Mismatch
from .record_float64 import fingerprint
from .suite import Check, expect_all_pass, tally

ONES = np.ones((2, 3), "f4")


@pytest.mark.parametrize(
    "got, want, message",
    [
        (ONES + 2e-4, ONES, "6 of 6 values differ, the first at \\[0, 0\\]"),
        (ONES[:1], ONES, r"shape \(1, 3\), MXNet's \(2, 3\)"),
        (ONES.astype("f8"), ONES, "dtype float64, MXNet's float32"),
        (ONES * np.nan, ONES, "values differ"),
        (ONES, ONES * np.inf, "values differ"),
        (ONES.astype("f8") + 1e-7, ONES.astype("f8"), "values differ"),
        (np.array([1, 2]), np.array([1, 3]), r"integers differ at \[1\]"),
    ],
)
def test_differences_are_named(got, want, message):
    with pytest.raises(Mismatch, match=f"^thing: .*({message})"):
        compare.expect_close("thing", got, want)


@pytest.mark.parametrize("dtype, error", [("f4", 5e-5), ("f8", 5e-9), ("f2", 5e-3), ("i4", 0)])
def test_close_values_pass(dtype, error):
    compare.expect_close("thing", (ONES * (1 + error)).astype(dtype), ONES.astype(dtype))


def test_nan_equals_nan_and_loose_operators_get_more():
    compare.expect_close("thing", ONES * np.nan, ONES * np.nan)
    assert compare.is_loose("broadcast_power") and not compare.is_loose("Convolution")
    compare.expect_close("thing", ONES + 5e-4, ONES, loose=True)


@pytest.mark.parametrize("change", [lambda a: a * 1.01, lambda a: a + 0.01, lambda a: a[:-1], lambda a: a[::-1]])
def test_fingerprints_tell_arrays_apart(change):
    values = np.random.default_rng(0).normal(size=100)
    compare.expect_fingerprint("thing", values * (1 + 1e-5), fingerprint(values), 1e-4)
    with pytest.raises(Mismatch):
        compare.expect_fingerprint("thing", change(values), fingerprint(values), 1e-4)


def test_norm():
    compare.expect_norm("thing", ONES * 1.009, ONES, 0.01)
    with pytest.raises(Mismatch, match="norm"):
        compare.expect_norm("thing", ONES * 1.011, ONES, 0.01)


def changed(case: golden.Case, key: str) -> golden.Case:
    """The case with one recorded array off by 1 %."""
    return dataclasses.replace(case, arrays={**case.arrays, key: case.arrays[key] * 1.01 + 0.01})


@pytest.mark.parametrize("key", ["out/0", "train_out/0", "grad/in0", "grad/op_gamma", "aux_after/op_moving_mean"])
def test_every_array_of_a_case_counts(key):
    case = next(c for c in golden.op_cases() if c.name == "BatchNorm.01" and key in c.arrays)
    replay.check_op(mx, case)
    with pytest.raises(Mismatch):
        replay.check_op(mx, changed(case, key))


NOTHING: list[list] = [[], [], []]
WRONG_FACTS = {"arguments": ["in0"], "outputs": ["x"], "aux": [], "infer_shape": NOTHING, "infer_type": NOTHING}


@pytest.mark.parametrize("fact, value", WRONG_FACTS.items())
def test_every_fact_of_a_case_counts(fact, value):
    case = next(c for c in golden.op_cases() if c.name == "BatchNorm.01")
    with pytest.raises(Mismatch, match=fact):
        replay.check_op(mx, dataclasses.replace(case, facts={**case.facts, fact: value}))


def test_an_accepted_gradient_that_mxnet_refuses_is_a_difference():
    case = next(c for c in golden.op_cases() if c.name == "BatchNorm.01")
    with pytest.raises(Mismatch, match="was accepted"):
        replay.check_op(mx, dataclasses.replace(case, facts={**case.facts, "grad_error": "refused"}))


def test_tally_and_expectation():
    def fails() -> None:
        raise Mismatch("output 0: off")

    def lacks() -> None:
        absent = '{"nodes": [{"op": "NoSuch", "name": "n", "inputs": []}], "arg_nodes": [], "heads": [[0, 0]]}'
        mx.sym.load_json(absent).simple_bind(mx.cpu())

    checks = [Check("f", "f.0", lambda: None), Check("f", "f.1", fails), Check("f", "f.2", lacks)]
    found = tally(checks, mx)["f"]
    assert (found.n_passed, found.failed, found.missing) == (1, {"f.1": "output 0: off"}, ["f.2"])
    expect_all_pass(checks[:1], mx)
    for check in checks[1:]:
        with pytest.raises(AssertionError):
            expect_all_pass([check], mx)
    with pytest.raises(AssertionError, match="KNOWN"):
        expect_all_pass([Check("f", "dag54", lambda: None)], mx)


def test_kept_outcomes_do_not_run_again(tmp_path):
    runs = []

    def differs() -> None:
        runs.append("f.1")
        raise Mismatch("output 0: off")

    checks = [Check("f", "f.0", lambda: runs.append("f.0")), Check("f", "f.1", differs)]
    kept = tmp_path / "kept"
    first = tally(checks[:1], mx, kept)
    assert first["f"].n_passed == 1
    both = tally(checks, mx, kept)
    assert tally(checks, mx, kept) == both
    assert (both["f"].n_passed, both["f"].failed) == (1, {"f.1": "output 0: off"})
    assert runs == ["f.0", "f.1"]
