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
ONEDNN = {"_contrib_BatchNormWithReLU", *quantized.GENERATORS}


def answer(mx: Any, case: Case, pack: Callable) -> Dict[str, Any]:
    """What a library that is MXNet or like it gives, see tests/ops/record.py."""
    return (run_update if case.op in updates.GENERATORS else run)(mx, case, pack)


def needs_onednn(op: str) -> bool:
    """Whether MXNet has the operator's kernels there alone."""
    return op in ONEDNN
