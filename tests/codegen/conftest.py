"""Every vector width of this machine."""

from __future__ import annotations

import pytest

from symc.codegen.cpu.target import Target, host_target
from tests.codegen.contractions import WIDTHS


@pytest.fixture(params=WIDTHS)
def target(request) -> Target:
    return host_target(request.param)
