"""The tables of a form cost as much as it has expressions."""

from __future__ import annotations

import pytest

from symc.codegen.nest import form as forms
from symc.loopir.expr import Axis, prim, walk
from symc.loopir.kernel import Buffer, Store
from tests.codegen.nests import f32


@pytest.mark.parametrize("n", [50, 100])
def test_axes_of_a_chain_are_found_looking_at_each_expression_once(monkeypatch, n):
    i = Axis("i", 8)
    value = f32("x", i)
    for _ in range(n):
        value = prim("exp", value)
    buffers = {name: Buffer.dense(name, (8,), "float32") for name in ("x", "y")}
    form = forms.form_of([Store("y", (i,), value, (i,))], buffers)
    every, walked = form.every, []

    def walk_noted(*roots, **options):
        for e in walk(*roots, **options):
            walked.append(e)
            yield e

    monkeypatch.setattr(forms, "walk", walk_noted)
    assert all(form.free(e) == {form.stores[0].axes[0]} for e in every)
    assert len(walked) == len(every) == n + 1
