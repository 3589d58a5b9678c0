"""What cannot run on the finished sums is refused with its reason."""

from __future__ import annotations

import pytest

from symc.codegen.contraction.epilogue import epilogue_of
from symc.codegen.cpu.contraction import schedule_contraction
from symc.codegen.cpu.target import host_target
from symc.core.errors import CodegenError
from symc.loopir.expr import load
from symc.loopir.kernel import Buffer, accumulator
from tests.codegen.contractions import channels_last, contraction, planned


def test_refuses_what_it_cannot_store():
    def channels_first(result, axes):
        other = Buffer.dense("nchw", result.shape, result.dtype)
        return [("nchw", accumulator(result.dtype), "set")], [other]

    c = contraction(epilogue=channels_first)
    with pytest.raises(CodegenError, match="'nchw' cannot be fused: axis i0 has stride"):
        schedule_contraction(planned(c, host_target()))


def test_refuses_to_read_elsewhere_than_it_writes():
    def shifted(result, axes):
        flipped = (axes[0], axes[1], axes[2].extent - 1 - axes[2], axes[3])
        return [("y", accumulator("float32") + load("y", flipped, "float32"), "set")], []

    with pytest.raises(CodegenError, match="'y' cannot be fused"):
        schedule_contraction(planned(contraction(epilogue=shifted), host_target()))


def test_refuses_to_read_what_it_has_written():
    def twice(result, axes):
        other = channels_last("z", result.shape, result.dtype)
        first = accumulator("float32")
        return [("y", first, "set"), ("z", first + load("y", axes, "float32"), "set")], [other]

    with pytest.raises(CodegenError, match="'y' cannot be fused: it is read after an earlier store"):
        epilogue_of(contraction(epilogue=twice))
