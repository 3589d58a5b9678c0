"""What became of each test of a run of pytest."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import PurePath
from types import FrameType

import pytest

SKIPPED = "skips itself"


class OutOfTime(BaseException):
    """A test took too long; no Exception, so that no test swallows it."""


class Outcomes:
    """A pytest plugin that collects, for each test, None (passed) or why it did not pass.

    limit_s   how long a test may compute: time of the process, on a busy machine less than what passes
    """

    def __init__(self, limit_s: int) -> None:
        self.limit_s = limit_s
        self._by_test: dict[str, str | None] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            raise OutOfTime(f"computes for more than {self.limit_s} s")

        before = signal.signal(signal.SIGPROF, stop)
        signal.setitimer(signal.ITIMER_PROF, self.limit_s)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            why = _reason(report)
            is_missing = any(f"No module named '{name}'" in why for name in ("scipy", "requests"))  # none of symc's own
            self._by_test[f"{report.nodeid}::(import)"] = f"{SKIPPED}: {why}" if is_missing else why

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._by_test[report.nodeid] = _reason(report)
        elif report.skipped:
            self._by_test[report.nodeid] = f"{SKIPPED}: {_reason(report)}"
        elif report.when == "call":
            self._by_test.setdefault(report.nodeid, None)

    def files(self) -> dict[str, dict[str, str | None]]:
        """{file, without folder and .py: {test: None or why not}}"""
        found: dict[str, dict[str, str | None]] = {}
        for node, why in self._by_test.items():
            file, _, test = node.partition("::")
            found.setdefault(PurePath(file).stem, {})[test] = why
        return found


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a test failed or was skipped, in one line."""
    why = report.longrepr
    if isinstance(why, tuple):  # file, line, reason of a skip
        return why[2]
    crash = getattr(why, "reprcrash", None)
    lines = [line for line in (report.longreprtext if crash is None else crash.message).splitlines() if line]
    return lines[-1 if crash is None else 0].removeprefix("E").strip()[:200]
