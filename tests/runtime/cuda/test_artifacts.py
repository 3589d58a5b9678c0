"""A .symc file made for a GPU runs where NVIDIA's compilers are missing: its kernels are what they have made."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import symc as mx
from symc import artifact
from symc.codegen.cuda import compile as compile_module
from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.target import Target
from symc.context import DEVICES
from tests.codegen.cuda.packages import needs_compiler

WITHOUT_COMPILERS = """
import importlib.metadata as metadata
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba_cuda", "cuda"):
            raise ModuleNotFoundError(name)

def version(name):
    raise metadata.PackageNotFoundError(name)

sys.meta_path.insert(0, Missing())
metadata.version = version
import symc as mx
from symc import artifact

with mx.gpu(0):
    result = artifact.verify(sys.argv[1], trust=True)
    print(result.is_right, result.artifact.note)
    print(artifact.load(sys.argv[1], trust=True).executor().explain())
"""


@needs_compiler
def test_kernels_of_a_file_need_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMC_SIMULATED_GPUS", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    net = mx.sym.Activation(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=16, name="fc"), act_type="relu")
    rng, path = np.random.default_rng(0), tmp_path / "model.symc"
    weights = {"fc_weight": mx.nd.array(rng.normal(size=(16, 40))), "fc_bias": mx.nd.array(rng.normal(size=16))}
    try:
        with mx.gpu(0):
            saved = artifact.save(path, net, weights, {}, {"data": (20, 40)})
    finally:
        DEVICES.pop(mx.Context.devstr2type["gpu"], None)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "SYMC_CACHE_DIR": str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILERS, str(path)], env=environment, capture_output=True, text=True
    )
    assert found.stdout.startswith(f"True object code of the file ({len(saved.objects)} kernels)"), found.stderr
    assert " tiles of " in found.stdout and "registers" in found.stdout


OTHERS = (
    {"float32_by": "tf32"},
    {"float32_by": "bfloat16"},
    {"target": Target((8, 0))},
    {"target": Target((9, 0), True)},
)


@pytest.mark.parametrize("has_compilers", [False, True])
def test_whose_kernels_a_backend_takes(monkeypatch, has_compilers):
    def backend(compilers: str | None, **options) -> CudaBackend:
        monkeypatch.setattr("symc.codegen.cuda.backend.toolchain", lambda: compilers)
        return CudaBackend(**{"target": Target((9, 0)), "load_image": lambda image: (1, None), **options})

    assert compile_module.toolchain() is None or compile_module.toolchain().startswith("numba ")
    made = backend("numba 1 numba-cuda 2").identity()
    others = [backend("numba 1 numba-cuda 2", **o).identity() for o in OTHERS]
    here = backend("numba 1 numba-cuda 3" if has_compilers else None)
    assert here.takes(made) != has_compilers and here.takes(here.identity()) == has_compilers
    assert not any(here.takes(identity) for identity in others)
