"""Blocks of host memory: zeros at their boundaries, in pages of either size."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from symc.core.dtypes import ALIGNMENT
from symc.core.errors import AllocationError
from symc.runtime.cpu.memory import HUGE_BYTES, LEAST_HUGE_BYTES, HostMemory

HAS_HUGE_PAGES = hasattr(mmap, "MADV_HUGEPAGE")


@pytest.mark.parametrize("size_bytes", [0, 1, 4096, LEAST_HUGE_BYTES - 1, LEAST_HUGE_BYTES, 3 * HUGE_BYTES + 5])
def test_a_block_is_zero_and_can_be_written_to_its_end(size_bytes):
    block = HostMemory().zeros(size_bytes)
    assert block.array.nbytes == max(size_bytes, ALIGNMENT) and not block.array.any()
    is_huge = HAS_HUGE_PAGES and size_bytes >= LEAST_HUGE_BYTES
    assert block.address % (HUGE_BYTES if is_huge else ALIGNMENT) == 0
    block.write(np.full(block.array.nbytes, 7, np.uint8))
    other = HostMemory().zeros(size_bytes)
    other.copy_from(block)
    assert (other.array == 7).all()


@pytest.mark.parametrize("size_bytes", [1 << 60, 1 << 70])
def test_a_block_beyond_any_machine_is_refused(size_bytes):
    with pytest.raises(AllocationError, match=f"cannot allocate {size_bytes} bytes for what kernels leave"):
        HostMemory().zeros(size_bytes)
