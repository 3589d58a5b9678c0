"""Shadows: found by any address in them, whoever makes others meanwhile."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from symc.runtime.cuda.shadow import Shadows
from symc.testing.driver import SimDriver

LINE_BYTES = 64


@pytest.fixture
def switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_shadow_is_found_while_another_thread_makes_and_drops_others(switching_often):
    shadows, lines = Shadows(SimDriver()), np.zeros((4000, LINE_BYTES), np.uint8)
    last, is_over = shadows.of(lines[-1]), threading.Event()

    def make_others() -> None:
        while not is_over.is_set():
            made = [shadows.of(line) for line in lines[:-1:7]]
            del made

    other = threading.Thread(target=make_others)
    other.start()
    try:
        end_s = time.monotonic() + 0.5
        while time.monotonic() < end_s:
            assert shadows.at(last.start + LINE_BYTES // 2) is last
    finally:
        is_over.set()
        other.join()
    assert shadows.at(last.start + LINE_BYTES) is None
