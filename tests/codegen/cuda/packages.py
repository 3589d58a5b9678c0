"""Skips tests that compile for GPUs where the packages of the extra `cuda` are missing; no GPU is needed for them."""

from __future__ import annotations

import pytest

from symc.codegen.cuda.compile import require_packages
from symc.core.errors import DeviceError


def _missing() -> str:
    try:
        require_packages()
    except DeviceError as error:
        return str(error)
    return ""


needs_compiler = pytest.mark.skipif(bool(_missing()), reason=_missing() or "symc[cuda] is installed")
