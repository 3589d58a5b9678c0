"""A contraction as a nest means the same contraction."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cuda.contraction.direct import nest_of
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Contraction, Nest, verify
from tests.codegen.contractions import bias_residual_relu, contraction, gates, scaled_twice

GEOMETRIES = {
    "padded": {},
    "matrix product": dict(inputs=(), kernel=(), stride=(), dilate=(), pad=()),
    "strided, dilated": dict(inputs=(9, 8), stride=(2, 3), dilate=(2, 1), pad=(2, 0)),
    "groups": dict(channels=(6, 9), groups=3),
    "depthwise": dict(channels=(5, 5), groups=5, stride=(2, 1)),
    "one channel of a group": dict(channels=(3, 12), groups=3),
    "line, stacked": dict(inputs=(7,), kernel=(2,), stride=(1,), dilate=(1,), pad=(0,), stack=3),
    "output beyond the input": dict(stride=(2, 2), extra=1),
}


@pytest.mark.parametrize("kind", ["forward", "data_gradient", "weight_gradient"])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_nest_computes_what_the_contraction_does(kind, geometry):
    epilogue = bias_residual_relu if kind != "weight_gradient" and "stack" not in geometry else None
    c = contraction(**{"kind": kind, "channels": (4, 3), "epilogue": epilogue, **geometry})
    assert_equal_meaning(c, nest_of(c))


def assert_equal_meaning(c: Contraction, nest: Nest) -> None:
    verify(nest)
    rng = np.random.default_rng(0)
    given = {b.name: rng.normal(size=b.shape).astype(b.dtype) for b in c.buffers}
    (expected, found) = ({name: a.copy() for name, a in given.items()} for _ in range(2))
    interpret(c, expected)
    interpret(nest, found)
    for store in c.stores:
        np.testing.assert_allclose(found[store.buffer], expected[store.buffer], rtol=1e-4, atol=1e-5)


def test_sums_of_sections_are_those_of_their_columns():
    c = contraction(batch=5, channels=(6, 28), sections=4, epilogue=gates(4), **GEOMETRIES["matrix product"])
    assert_equal_meaning(c, nest_of(c))


def test_stores_that_use_the_sum_twice_share_it():
    nest = nest_of(contraction(channels=(2, 2), epilogue=scaled_twice))
    found = {e for store in nest.stores for e in _reductions(store.value)}
    assert len(found) == 1


def _reductions(root):
    from symc.loopir.expr import walk

    return [e for e in walk(root) if e.op == "reduce"]
