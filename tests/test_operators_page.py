"""docs/operators.md says what the registry says, and of every operator of MXNet where it is."""

from __future__ import annotations

import pytest

from symc.ir.op import registered_names
from symc.ops.mxnet import LEFT_OUT, MXNET, about, left_out

from .operators_page import PAGE, page


def test_the_page_is_true():
    assert PAGE.read_text(encoding="utf-8") == page(), "renew it: python -m tests.operators_page"


@pytest.mark.parametrize(
    "row",
    [
        "| `Convolution` | `_npx_convolution` | any | yes | contraction |  |",
        "| `Custom` |  | any | yes | Python |  |",
        "| `Reshape` | `reshape` | any | yes | view |  |",
        "| `_random_uniform` | `random_uniform`, `uniform` | floats | none | nest |  |",
        "| `argsort` |  | numbers | yes | nest, Sort |  |",
        "| `_contrib_fft` |  | any | yes | contraction, nest | MXNet has it on GPUs alone |",
        "| `_linalg_syevd` | `linalg_syevd` | float32, float64 | yes | Eigen |  |",
    ],
)
def test_rows(row):
    assert row in PAGE.read_text(encoding="utf-8").splitlines()


def test_what_is_left_out_is_not_there():
    ours = {name for name, cls in registered_names().items() if not cls.is_internal}
    for pattern, reason in LEFT_OUT.items():
        names = {n for n in MXNET if left_out(n) == reason}
        assert names, f"{pattern} names no operator of MXNet"
        if not pattern.startswith("_(np"):  # of mx.np's some are other names for the same
            assert not names & ours, f"symc has {sorted(names & ours)}"


def test_all_else_of_mxnet_is_there():
    lacking = MXNET - {name for name, cls in registered_names().items() if not cls.is_internal}
    counts = {pattern: sum(left_out(n) == reason for n in lacking) for pattern, reason in LEFT_OUT.items()}
    assert list(counts.values()) == [215, 5, 5, 2, 1, 9], counts
    assert sum(counts.values()) == len(lacking), f"missing: {[n for n in lacking if left_out(n) is None]}"
    assert len(MXNET) == 901  # what MXNet 1.9.1 lists, but for `_backward_*` and `_broadcast_backward`


def test_reasons_are_told():
    assert "symc does not: it samples graphs" in about("_contrib_dgl_subgraph")
    assert "symc does not: reading pictures" in about("_cvimread")
