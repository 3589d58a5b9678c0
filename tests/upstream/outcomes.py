"""What became of each test of a run of pytest."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import FrameType

import pytest

SKIPPED = "skips itself"


class OutOfTime(BaseException):
    """A test took too long; no Exception, so that no test swallows it."""


class Outcomes:
    """A pytest plugin that collects, for each test, None (passed) or why it did not pass.

    A line on stderr tells of each file that is done.

    limit_s   how long a test may compute: time of the process, on a busy machine less than what passes
    kept      a file that gets a line for each test that is over; tests with a line there do not run again
    """

    def __init__(self, limit_s: int, kept: Path | None = None) -> None:
        self.limit_s, self.kept = limit_s, kept
        lines = kept.read_text().splitlines() if kept is not None and kept.exists() else []
        self._by_test: dict[str, str | None] = dict(map(json.loads, lines))
        self._n_left: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)  # of those that --only leaves
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        known = [item for item in items if item.nodeid in self._by_test]
        items[:] = [item for item in items if item.nodeid not in self._by_test]
        config.hook.pytest_deselected(items=known)
        self._n_left.update(_file(item.nodeid) for item in items)

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

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self.kept is not None:
            with self.kept.open("a") as file:
                print(json.dumps([nodeid, self._by_test[nodeid]]), file=file)
        name = _file(nodeid)
        self._n_left[name] -= 1
        if not self._n_left[name]:
            found = self.files()[name].values()
            print(f"{name:<28}{sum(why is None for why in found):>4}/{len(found)}", file=sys.stderr, flush=True)

    def files(self) -> dict[str, dict[str, str | None]]:
        """{file, without folder and .py: {test: None or why not}}"""
        found: dict[str, dict[str, str | None]] = {}
        for node, why in self._by_test.items():
            found.setdefault(_file(node), {})[node.partition("::")[2]] = why
        return found


def _file(node: str) -> str:
    """The file of a test, without folder and .py."""
    return PurePath(node.partition("::")[0]).stem


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a test failed or was skipped, in one line."""
    why = report.longrepr
    if isinstance(why, tuple):  # file, line, reason of a skip
        return why[2]
    crash = getattr(why, "reprcrash", None)
    lines = [line for line in (report.longreprtext if crash is None else crash.message).splitlines() if line]
    return lines[-1 if crash is None else 0].removeprefix("E").strip()[:200]
