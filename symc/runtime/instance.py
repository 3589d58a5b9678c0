"""A program with memory: bound kernels, arena and buffer addresses; runs one phase with one native call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from symc.core.arrivals import arrivals
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import DeviceError, ElementError, GraphError
from symc.core.lazy import lazy
from symc.core.timeline import timeline
from symc.ir.kernels import HELD
from symc.loopir.callout import Callee, CallOut, Seen

from .device import Block, Call, CallRow, Device, LoopRows, Row, Run, Touched
from .prepared import Prepared, alone
from .program import (
    ARENA,
    PREPARED,
    SEED_SLOT,
    TABLES,
    CallBack,
    KernelStep,
    Lent,
    Loop,
    Program,
    Step,
    walk,
)

if TYPE_CHECKING:
    from .lowered import Lowered

PHASES = ("prepare", "forward", "backward")
Use = Literal["read", "kept", "prepared", "changed", "filled"]
Rounds = tuple[int, ...]  # of loops, the outermost first
Kept = dict[tuple[type, str, int], dict[Rounds, dict[str, Any]]]


def _call_backs(steps: Iterable[Step], counters: tuple[int, ...] = ()) -> Iterator[tuple[CallBack, tuple[int, ...]]]:
    """All call-backs, each with the counters of the loops around it."""
    for step in steps:
        if isinstance(step, Loop):
            yield from _call_backs(step.steps, (*counters, step.counter))
        elif isinstance(step, CallBack):
            yield step, counters


def require_none(checks: Iterable[tuple[str, np.ndarray]]) -> None:
    """Raises ElementError with the text of the first check whose number is not 0."""
    for text, counted in checks:
        if counted.any():
            raise ElementError(text)


def touched(program: Program, phase: str) -> list[Touched]:
    """The caller's arrays that a phase may touch, and how."""
    has_updates = any(slot.place == "update" for slot in program.slots)
    use: dict[str, Use] = {"parameter": "kept", "aux": "read" if has_updates else "kept"}
    if program.call_names:  # who is called may write to states
        use["aux"] = "changed"
    use |= dict.fromkeys(("gradient", "update", "check"), "changed")
    use["head"] = "filled" if phase == "forward" else "read"
    if phase == "prepare":
        use = dict.fromkeys(HELD, "prepared")
    return [
        Touched(number, slot.size * ITEM_SIZE[slot.dtype], use.get(slot.place, "read"))
        for number, slot in program.numbered_slots()
        if phase != "prepare" or slot.place in use
    ]


class LoadedProgram:
    """A program on a device: kernels have addresses, tables and descriptors lie in its memory.

    Shared by all its instances; nothing here changes after construction.
    """

    def __init__(
        self,
        program: Program,
        addresses: Mapping[str, int],
        device: Device,
        callouts: Mapping[str, CallOut] | None = None,
        lowered: Callable[[], Lowered] | None = None,
    ) -> None:
        """`lowered` gives what the program was made from; without it kernels go by their own names."""
        self.program = program
        self._lowered = lowered
        self._names: dict[str, Sequence[str]] = {}
        self.device = device
        self.callouts = callouts or {}
        self._addresses = addresses  # code is loaded as long as somebody holds its address
        self.tables = self._stored(program.tables)
        self.descriptors = self._stored(program.descriptors)
        self.steps = {phase: self._steps(phase) for phase in PHASES if self._has(phase)}

    def _has(self, phase: str) -> bool:
        has_parameters = phase == "prepare" and bool(self.program.needs("parameter") or self.program.needs("aux"))
        return bool(self.program.phase_steps(phase)) or (has_parameters and self.device.runner.keeps_parameters)

    def _steps(self, phase: str) -> Any:
        return self.some_steps(phase, range(len(self.program.phase_steps(phase))))

    def some_steps(self, phase: str, positions: Iterable[int]) -> Any:
        """Some steps of a phase, by their positions, in the form that runs share."""
        steps = self.program.phase_steps(phase)
        return self._table([self._row(steps[k], self._addresses) for k in positions], phase)

    def _table(self, rows: Sequence[Row], phase: str) -> Any:
        try:
            return self.device.runner.steps(rows, touched(self.program, phase))
        except DeviceError as error:
            raise DeviceError(f"{', '.join(c.node for c in self.callouts.values())}: {error}") from None

    def _row(self, step: Step, addresses: Mapping[str, int]) -> Row:
        if isinstance(step, KernelStep):
            return addresses[step.kernel], self.descriptors.address + 8 * step.desc_offset, step.launch
        if isinstance(step, Loop):
            return LoopRows(step, [self._row(s, addresses) for s in step.steps])
        return CallRow(self.program.call_names.index(step.name))

    @lazy
    def announcing(self) -> tuple[Any, Sequence[Sequence[int]]]:
        """The backward phase with a call after each step that completes gradients, and the slots of those.

        These calls have the numbers after those of the program's own.
        """
        completed: dict[int, list[int]] = {}
        assert self._lowered is not None
        for key, position in self._lowered().completed("backward").items():
            completed.setdefault(position, []).append(self.program.slot_number("gradient", key))
        rows: list[Row] = []
        n_calls = len(self.program.call_names)
        for position, step in enumerate(self.program.phase_steps("backward")):
            rows.append(self._row(step, self._addresses))
            if position in completed:
                rows.append(CallRow(n_calls))
                n_calls += 1
        return self._table(rows, "backward"), [completed[position] for position in sorted(completed)]

    def operators(self, phase: str) -> Sequence[str]:
        """What each kernel and call-back of a phase computes."""
        if phase not in self._names:
            lowered = self._lowered and self._lowered()
            self._names[phase] = lowered.operators_of(phase) if lowered else self._kernel_names(phase)
        return self._names[phase]

    def _kernel_names(self, phase: str) -> Sequence[str]:
        steps = walk(self.program.phase_steps(phase))
        return [s.kernel if isinstance(s, KernelStep) else s.name for s in steps if not isinstance(s, Loop)]

    def _stored(self, data: np.ndarray) -> Block:
        block = self.device.memory.zeros(data.nbytes)
        block.write(data)
        return block

    def new_prepared(self) -> Prepared:
        """Memory for what parameters alone decide, shared with nobody."""
        return alone(self.device, self.program)


class Instance:
    """Memory for one run at a time: an arena, and the table of buffer addresses the kernels read.

    `prepared` (what parameters alone decide) is passed in, because several instances share it. `calls` are functions
    that the program calls back, by name, besides its call-outs; they are given the addresses of all buffers. Raises
    GraphError where one is missing.

    kept    what the node of each call-out keeps from run to run, by its name and how many of that name were before it
    owner   whatever keeps the arrays alive that `bufs` points to: call-backs may keep what they were lent
    """

    def __init__(
        self,
        loaded: LoadedProgram,
        prepared: Prepared,
        n_threads: int | None = None,
        calls: Mapping[str, Call] | None = None,
        kept: Kept | None = None,
    ) -> None:
        program, device = loaded.program, loaded.device
        self.loaded = loaded
        self.owner: object = None
        self.arena = device.memory.zeros(program.arena_bytes)
        self.bufs = np.zeros(program.n_slots, np.int64)
        self._seed = device.memory.zeros(8)
        self._prepared = prepared
        self.bufs[ARENA] = self.arena.address
        self.bufs[PREPARED] = prepared.own.address
        self.bufs[program.first_piece : program.first_piece + len(program.pieces)] = prepared.addresses
        self.bufs[TABLES] = loaded.tables.address
        self.bufs[SEED_SLOT] = self._seed.address
        self._checks = [(s.key, np.zeros(s.size, s.dtype)) for s in program.slots if s.place == "check"]
        for text, counted in self._checks:
            self.bufs[program.slot_number("check", text)] = counted.ctypes.data
        known = {**self._opened({} if kept is None else kept), **(calls or {})}
        missing = [name for name in program.call_names if name not in known]
        if missing:
            raise GraphError(f"a program calls {', '.join(missing)} back; nobody gave functions of that name")
        self._calls = [known[name] for name in program.call_names]
        self._n_threads = n_threads
        self.phases = {phase: self._bind(steps, self._calls) for phase, steps in loaded.steps.items()}
        self._announcing: Run | None = None

    def _bind(self, steps: Any, calls: Sequence[Call]) -> Run:
        return self.loaded.device.runner.bind(steps, self.bufs, self._n_threads, calls)

    def _opened(self, kept: Kept) -> dict[str, Call]:
        """The functions of the program's call-outs, which see its memory as arrays."""
        n_before: Counter[tuple[type, str]] = Counter()
        found: dict[str, Call] = {}
        for step, counters in _call_backs(self.loaded.program.steps):
            callout = self.loaded.callouts.get(step.name)
            if callout is not None:
                named = type(callout), callout.node
                of_rounds = kept.setdefault((*named, n_before[named]), {})
                n_before[named] += 1
                found[step.name] = partial(self._call_out, step, callout, counters, of_rounds, {})
        return found

    def _call_out(
        self,
        step: CallBack,
        callout: CallOut,
        counters: Sequence[int],
        kept: dict[Rounds, dict[str, Any]],
        opened: dict[Rounds, Callee],
        bufs: np.ndarray,
    ) -> None:
        """One call; every round of the loops around it has a function, and what that keeps, of its own."""
        rounds = tuple([int(bufs[counter]) for counter in counters])
        if rounds not in opened:
            opened[rounds] = callout.opened(kept.setdefault(rounds, {}))
        callee = opened[rounds]
        memory, owner = self.loaded.device.memory, (self.arena, self._prepared, self.owner)

        def seen(lent: Lent) -> Seen:
            return memory.seen(int(bufs[lent.slot]) + lent.offset, lent.shape, lent.dtype, owner)

        callee([seen(x) for x in step.ins], [seen(y) for y in step.outs], [y.is_read for y in step.outs])

    def reseed(self, key: int) -> None:
        """Gives the random operators another key."""
        self._seed.write(np.array([key]))

    def copy_from(self, other: Instance) -> None:
        """Becomes what another instance of the program is now: the same arrays, key and intermediate values."""
        for number, slot in self.loaded.program.numbered_slots():
            if slot.place != "check":  # those are its own
                self.bufs[number] = other.bufs[number]
        self.arena.copy_from(other.arena)
        self._seed.copy_from(other._seed)

    def run(self, phase: str) -> None:
        """Executes one phase; the addresses in `bufs` must be set.

        Raises ElementError where the values of inputs are not what an operator expects (see ir.op.Op.checks).
        """
        found = self.phases.get(phase)
        if found is not None:
            if timeline.is_on and timeline.wants_steps:
                timeline.add_steps(partial(self.loaded.operators, phase), found.run_profiled().tolist())
            elif phase == "backward" and arrivals.are_awaited and self.loaded.device.runner.can_pause:
                self._announce()
            else:
                found.run()
            if self._checks:
                require_none(self._checks)

    def _announce(self) -> None:
        """Runs the backward phase, telling which gradients are complete."""
        if self._announcing is None:
            steps, slots = self.loaded.announcing
            self._announcing = self._bind(steps, [*self._calls, *(partial(self._tell, each) for each in slots)])
        self._announcing.run()

    def _tell(self, slots: Sequence[int], _: np.ndarray) -> None:
        for slot in slots:
            arrivals.written(int(self.bufs[slot]))

    def run_some(self, phase: str, positions: Iterable[int]) -> None:
        """Executes some steps of a phase, by their positions."""
        self._bind(self.loaded.some_steps(phase, positions), self._calls).run()

    def run_profiled(self, phase: str) -> np.ndarray:
        """Executes one phase; begin and end of each kernel in nanoseconds, int64 (n_kernels, 2)."""
        found = self.phases.get(phase)
        return found.run_profiled() if found is not None else np.zeros((0, 2), np.int64)
