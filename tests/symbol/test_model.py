"""Checkpoints: a symbol file and a parameter file by prefix and epoch."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import FormatError


def test_round_trip(tmp_path):
    prefix = str(tmp_path / "net")
    s = mx.sym.BatchNorm(mx.sym.var("d"), name="bn")
    args = {"bn_gamma": mx.nd.array([1, 2]), "bn_beta": mx.nd.array([3, 4])}
    aux = {"bn_moving_mean": mx.nd.array([5, 6])}
    mx.model.save_checkpoint(prefix, 7, s, args, aux)
    symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, 7)
    assert symbol.tojson() == s.tojson()
    assert {k: v.asnumpy().tolist() for k, v in arg_params.items()} == {"bn_gamma": [1, 2], "bn_beta": [3, 4]}
    np.testing.assert_array_equal(aux_params["bn_moving_mean"].asnumpy(), [5, 6])
    assert (tmp_path / "net-0007.params").exists()


def test_parameters_need_arg_or_aux_names(tmp_path):
    prefix = str(tmp_path / "net")
    mx.nd.save(f"{prefix}-0000.params", [mx.nd.ones((2,))])
    with pytest.raises(FormatError, match="the arrays have no names"):
        mx.model.load_params(prefix, 0)
    mx.nd.save(f"{prefix}-0001.params", {"w": mx.nd.ones((2,))})
    with pytest.raises(FormatError, match="array 'w'; expected arg:<name> or aux:<name>"):
        mx.model.load_params(prefix, 1)
