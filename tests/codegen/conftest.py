"""Every vector width of this machine."""

from __future__ import annotations

import pytest

from symc.codegen.cpu.target import Target

from .kernels import targets


@pytest.fixture(params=targets(), ids=lambda target: str(target.vector_bits))
def target(request) -> Target:
    return request.param
