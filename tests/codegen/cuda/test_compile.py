"""Kernels become PTX without a GPU; what they compute is tested where programs run (tests/runtime/cuda)."""

from __future__ import annotations

import pytest

from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.target import KNOWN, Target
from symc.loopir.expr import Axis, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.nests import f32

from .packages import needs_compiler

pytestmark = needs_compiler


def softmax(n_rows: int, n_columns: int) -> Nest:
    i, j, k = Axis("i", n_rows), Axis("j", n_columns), Axis("k", n_columns)
    shifted = [prim("exp", f32("x", i, a) - reduce("max", (k,), f32("x", i, k))) for a in (j, k)]
    buffers = tuple(Buffer.dense(name, (n_rows, n_columns), "float32") for name in "xy")
    return Nest(buffers, (Store("y", (i, j), shifted[0] / reduce("sum", (k,), shifted[1]), (i, j)),))


@pytest.mark.parametrize("capability", KNOWN)
def test_a_row_of_threads_for_every_target(capability):
    backend = CudaBackend(Target(capability), lambda image: (1, None))
    (call,) = backend.schedule(softmax(3, 700))
    image = KernelImage.from_bytes(backend.build(call.code))
    text = image.code.decode("ascii")
    assert f".visible .entry {image.entry}(" in text and f".target sm_{capability[0]}{capability[1]}" in text
    assert image.entry == call.code.name and ".maxntid 128" in text and "NumbaEnv" not in text
    assert text.count("shfl.sync.bfly") == 10 and text.count("bar.sync") == 4
    assert image.shared_bytes == 2 * 4 * 8  # a number of 8 bytes for each warp and reduction
    assert "fma.rn.f32" in text and "ex2.approx" not in text  # the CPU's polynomial
    assert str(Target(capability).name) in backend.identity()
