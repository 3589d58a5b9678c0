"""Takes part of one core, as another process on the machine would; ends with its standard input.

python benchmarks/disturber.py SHARE [CORE]      # 0.5: busy for 5 ms, asleep for 5 ms, and so on
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PERIOD_S = 0.01


@contextmanager
def disturbed(share: float) -> Iterator[int]:
    """The process that takes `share` of the first core that this one may use; its id."""
    core = min(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, __file__, str(share), str(core)], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.communicate()


def disturb(share: float) -> None:
    """Takes `share` of each period until the input ends."""
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    period = time.monotonic()
    while not is_over.is_set():
        while time.monotonic() < period + share * PERIOD_S:
            pass
        period += PERIOD_S
        time.sleep(max(0.0, period - time.monotonic()))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(core) for core in sys.argv[2:]} or os.sched_getaffinity(0))
    disturb(float(sys.argv[1]))
