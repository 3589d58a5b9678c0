"""`mx.profiler`: times of operators and kernels, and the user's own tasks, as a table, JSON or a Chrome trace.

An operator of `mx.nd` is one span; a bound or hybridized network is timed kernel by kernel, each named by the operators
that it computes ("Convolution + Activation").
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from symc.core.errors import ArgumentError, ConflictError, SymcError
from symc.core.locks import new_lock
from symc.core.replacing import replacing
from symc.core.timeline import timeline

__all__ = [
    "Counter", "Domain", "Event", "Frame", "Marker", "Task", "dump", "dump_profile", "dumps", "pause",
    "profiler_set_config", "profiler_set_state", "resume", "set_config", "set_state",
]  # fmt: skip

Sorting = Literal["total", "avg", "min", "max", "count"]
SORTINGS = {"total": "Total", "avg": "Avg", "min": "Min", "max": "Max", "count": "Count"}
SCOPES = {"global": "g", "process": "p", "thread": "t", "task": "t", "marker": "t"}  # of a marker, as Chrome names them
OF_MXNET = (  # settings that change nothing here: what is running is always timed
    "profile_all", "profile_symbolic", "profile_imperative", "profile_memory", "profile_api", "profile_process",
    "aggregate_stats", "continuous_dump", "dump_period",
)  # fmt: skip


@dataclass
class _State:
    """What the profiler was told, and what the user's own objects have noted."""

    filename: str = "profile.json"
    is_running: bool = False
    is_paused: bool = False
    counts: list[tuple[str, str, int, int]] = field(default_factory=list)  # category, name, time, value
    marks: list[tuple[str, str, int, str]] = field(default_factory=list)  # category, name, time, scope


_state = _State()
_lock = new_lock()


def set_config(**kwargs: Any) -> None:
    """Sets `filename`, which `dump` writes. MXNet's other settings are accepted: everything that runs is timed.

    Raises ArgumentError for a setting that MXNet does not have.
    """
    unknown = [name for name in kwargs if name not in (*OF_MXNET, "filename")]
    if unknown:
        known = ", ".join(("filename", *OF_MXNET))
        raise ArgumentError(f"profiler.set_config: no setting {unknown[0]!r}; there are {known}")
    _require_worker(kwargs.get("profile_process", "worker"))
    _state.filename = str(kwargs.get("filename", _state.filename))


def profiler_set_config(mode: str = "symbolic", filename: str = "profile.json") -> None:
    """`set_config` under its old name."""
    _deprecated("profiler_set_config", "set_config")
    set_config(**{f"profile_{mode}": True}, filename=filename)


def set_state(state: str = "stop", profile_process: str = "worker") -> None:
    """Begins ("run") or ends ("stop") to watch. Raises ArgumentError for another state."""
    _require_worker(profile_process)
    if state not in ("run", "stop"):
        raise ArgumentError(f"profiler.set_state: expected 'run' or 'stop', got {state!r}")
    _state.is_running, _state.is_paused = state == "run", False
    _update()


def profiler_set_state(state: str = "stop") -> None:
    """`set_state` under its old name."""
    _deprecated("profiler_set_state", "set_state")
    set_state(state)


def pause(profile_process: str = "worker") -> None:
    """Watches nothing until `resume`."""
    _require_worker(profile_process)
    _state.is_paused = True
    _update()


def resume(profile_process: str = "worker") -> None:
    """Goes on after `pause`."""
    _require_worker(profile_process)
    _state.is_paused = False
    _update()


def dump(finished: bool = True, profile_process: str = "worker") -> None:
    """Writes everything so far to the file of `set_config`, for chrome://tracing; `finished` stops watching."""
    _require_worker(profile_process)
    if finished:
        set_state("stop")
    events = list(_trace_events())
    with replacing(Path(_state.filename)) as unfinished:
        unfinished.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")


def dump_profile() -> None:
    """`dump` under its old name."""
    _deprecated("dump_profile", "dump")
    dump(True)


def dumps(reset: bool = False, format: str = "table", sort_by: Sorting = "total", ascending: bool = False) -> str:
    """How often each operator ran and how long, in milliseconds: total, shortest, longest, mean; `reset` forgets them.

    Raises ConflictError for another format or order.
    """
    if format not in ("table", "json"):
        raise ConflictError(f"profiler.dumps: invalid format {format!r}; there are 'table' and 'json'")
    if sort_by not in SORTINGS:
        raise ConflictError(f"profiler.dumps: invalid sort_by {sort_by!r}; there are {', '.join(map(repr, SORTINGS))}")
    statistics = {
        category: dict(sorted(rows.items(), key=lambda row: row[1][SORTINGS[sort_by]], reverse=not ascending))
        for category, rows in sorted(_statistics().items())
    }
    if reset:
        timeline.clear()
        with _lock:
            _state.counts.clear()
            _state.marks.clear()
    if format == "json":
        return json.dumps({"Time": statistics, "Memory": {}, "Unit": {"Time": "ms", "Memory": "kB"}}, indent=4)
    return "\nProfile Statistics:\n" + "\n".join(_table(category, rows) for category, rows in statistics.items())


class Domain:
    """A group of tasks, frames, counters and markers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def new_task(self, name: str) -> Task:
        """A Task of this domain."""
        return Task(self, name)

    def new_frame(self, name: str) -> Frame:
        """A Frame of this domain."""
        return Frame(self, name)

    def new_counter(self, name: str, value: int | None = None) -> Counter:
        """A Counter of this domain."""
        return Counter(self, name, value)

    def new_marker(self, name: str) -> Marker:
        """A Marker of this domain."""
        return Marker(self, name)


class _Timed:
    """Something between `start()` and `stop()`."""

    _category = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self._begin_ns: int | None = None

    def __str__(self) -> str:
        return self.name

    def start(self) -> None:
        """Starts the clock."""
        self._begin_ns = time.monotonic_ns()

    def stop(self) -> None:
        """Stops it. Raises ConflictError where it was not started."""
        if self._begin_ns is None:
            raise ConflictError(f"profiler: {type(self).__name__} {self.name!r} is stopped, but was not started")
        if timeline.is_on:
            timeline.add(self._category, self.name, self._begin_ns, time.monotonic_ns())
        self._begin_ns = None


class Task(_Timed):
    """A piece of work, which may lie in another."""

    def __init__(self, domain: Domain, name: str) -> None:
        super().__init__(name)
        self._category = str(domain)


class Frame(_Timed):
    """One pass of something that is repeated."""

    def __init__(self, domain: Domain, name: str) -> None:
        super().__init__(name)
        self._category = f"{domain},frame"


class Event(_Timed):
    """Something that happens, in no domain."""

    _category = "event"


class Counter:
    """A number that changes while the program runs."""

    def __init__(self, domain: Domain, name: str, value: int | None = None) -> None:
        self.name = name
        self._category = str(domain)
        self._value = 0
        if value is not None:
            self.set_value(value)

    def __str__(self) -> str:
        return self.name

    def set_value(self, value: int) -> None:
        """Sets it."""
        self._value = int(value)
        if timeline.is_on:
            with _lock:
                _state.counts.append((self._category, self.name, time.monotonic_ns(), self._value))

    def increment(self, delta: int = 1) -> None:
        """Adds to it."""
        self.set_value(self._value + int(delta))

    def decrement(self, delta: int = 1) -> None:
        """Takes from it."""
        self.increment(-int(delta))

    def __iadd__(self, delta: int) -> Counter:
        self.increment(delta)
        return self

    def __isub__(self, delta: int) -> Counter:
        self.decrement(delta)
        return self


class Marker:
    """An instant."""

    def __init__(self, domain: Domain, name: str) -> None:
        self.name = name
        self.domain = domain

    def mark(self, scope: str = "process") -> None:
        """Notes it, for everybody or for a "process", "thread", "task" or "marker"; raises ArgumentError for others."""
        if scope not in SCOPES:
            raise ArgumentError(f"profiler: a marker's scope is one of {', '.join(SCOPES)}, got {scope!r}")
        if timeline.is_on:
            with _lock:
                _state.marks.append((f"{self.domain},instant_marker", self.name, time.monotonic_ns(), SCOPES[scope]))


def _update() -> None:
    timeline.is_on = _state.is_running and not _state.is_paused


def _require_worker(process: str) -> None:
    if process != "worker":
        raise SymcError(f"profiler: there is no process {process!r} to watch, symc has no servers; use 'worker'")


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"profiler.{old}() is deprecated. Please use profiler.{new}() instead", stacklevel=3)


def _statistics() -> dict[str, dict[str, dict[str, float]]]:
    """Count, Total, Min, Max and Avg in milliseconds, by category and name."""
    durations: dict[str, dict[str, list[float]]] = {}
    for span in timeline.spans():
        times_ms = durations.setdefault(span.category, {}).setdefault(span.name, [])
        times_ms.append((span.end_ns - span.begin_ns) * 1e-6)
    return {
        category: {
            name: {"Count": len(t), "Total": sum(t), "Min": min(t), "Max": max(t), "Avg": sum(t) / len(t)}
            for name, t in rows.items()
        }
        for category, rows in durations.items()
    }


def _table(category: str, rows: dict[str, dict[str, float]]) -> str:
    """MXNet's table of a category."""
    titles = ("Total Count", "Time (ms)", "Min Time (ms)", "Max Time (ms)", "Avg Time (ms)")
    widths = (14, 16, 16, 16, 16)
    cells = [("Name", titles), ("----", tuple("-" * len(t) for t in titles))]
    for name, row in rows.items():
        times = tuple(f"{row[key]:.4f}" for key in ("Total", "Min", "Max", "Avg"))
        cells.append((name, (str(row["Count"]), *times)))
    lines = [f"{name:<25}" + " ".join(f"{c:>{w}}" for c, w in zip(row, widths)) for name, row in cells]
    return "\n".join((category, "=================", *lines, ""))


def _trace_events() -> Iterable[dict[str, Any]]:
    """What chrome://tracing reads; a process for each category, times in microseconds."""
    spans = timeline.spans()
    with _lock:
        counts, marks = list(_state.counts), list(_state.marks)
    categories = dict.fromkeys([s.category for s in spans] + [c[0] for c in counts] + [m[0] for m in marks])
    number = {category: k for k, category in enumerate(categories)}
    for category, pid in number.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": category}}
    for span in spans:
        at = _at(number, span.category, span.name, span.begin_ns, span.thread)
        yield {**at, "ph": "X", "dur": (span.end_ns - span.begin_ns) * 1e-3}
    thread = threading.get_ident()
    for category, name, time_ns, value in counts:
        yield {**_at(number, category, name, time_ns, thread), "ph": "C", "args": {name: value}}
    for category, name, time_ns, scope in marks:
        yield {**_at(number, category, name, time_ns, thread), "ph": "i", "s": scope}


def _at(number: dict[str, int], category: str, name: str, time_ns: int, thread: int) -> dict[str, Any]:
    return {"name": name, "cat": category, "pid": number[category], "tid": thread, "ts": time_ns * 1e-3}
