"""Which generator draws the cases of an operator."""

from __future__ import annotations

from typing import Any, Callable, Dict

from tests.ops.cases import Case
from tests.ops.record import run, run_update

from . import detection, elements, layers, matrices, movement, quantized, updates
from .draw import Generator

GENERATORS: Dict[str, Generator] = {
    **elements.GENERATORS,
    **movement.GENERATORS,
    **layers.GENERATORS,
    **matrices.GENERATORS,
    **updates.GENERATORS,
    **detection.GENERATORS,
    **quantized.GENERATORS,
}
# Operators whose sets MXNet does not answer; those drawn are for the gradients of tests/ops/test_gradients.py.
UNANSWERED = {
    **dict.fromkeys(("Dropout", "_sample_multinomial"), "draws numbers of its own"),
    **dict.fromkeys(("_contrib_fft", "_contrib_ifft", "_contrib_count_sketch"), "MXNet has it on GPUs alone"),
    "_contrib_group_adagrad_update": "MXNet has it on GPUs and for sparse arrays alone",
    **{f"_{name}": "MXNet has it for sparse arrays alone"
       for name in ("sparse_retain", "square_sum", "sparse_adagrad_update", "contrib_edge_id", "contrib_getnnz")},
    **dict.fromkeys(("_cond", "_foreach", "_while_loop"), "recorded by tests/symbol/control_cases.py"),
    **{f"_sg_mkldnn_{name}": "recorded by tests/ops/record_quantized.py"
       for name in ("conv", "fully_connected", "selfatt_qk", "selfatt_valatt")},
    "Custom": "users write it",
    "WarpCTC": "a plugin's, which MXNet 1.9.1 is built without",
    "_scatter_set_nd": "writes over its input, as x[indices] = values in Python",
    "_zeros_without_dtype": "MXNet knows no dtype for it outside of gradients",
}  # fmt: skip
ONEDNN = {"RNN", "Deconvolution", "_contrib_BatchNormWithReLU", *quantized.GENERATORS}


def answer(mx: Any, case: Case, pack: Callable) -> Dict[str, Any]:
    """What a library that is MXNet or like it gives, see tests/ops/record.py."""
    return (run_update if case.op in updates.GENERATORS else run)(mx, case, pack)


def needs_onednn(op: str) -> bool:
    """Whether MXNet has the operator's kernels there alone."""
    return op in ONEDNN
