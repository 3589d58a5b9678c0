"""Runs bound code: all lanes together while they agree where to go, else those first that are furthest behind."""

from __future__ import annotations

import numpy as np

from .code import Call, Code, End
from .faults import KernelFault, PtxError
from .frame import Mask
from .machine import Machine
from .registry import guarded_lanes


class Run:
    """One function over some lanes of a machine.

    running   lanes that are neither ended nor at a barrier
    places    the block that each lane is to run next, where they differ
    """

    def __init__(self, codes: Codes, name: str, lanes: Mask) -> None:
        self.codes, self.machine = codes, codes.machine
        self.code = codes.of(name)
        n = self.machine.n_lanes
        self.running = np.ones(n, bool) if isinstance(lanes, bool) else lanes.copy()
        self.places = np.zeros(n, np.int64)
        self.mask: Mask = True if self.running.all() else self.running.copy()
        self.place: int | None = 0  # of all running lanes; None: they differ
        self._ends = {
            "jump": self._jump,
            "switch": self._switch,
            "return": self._return,
            "exit": self._exit,
            "barrier": self._wait,
            "call": self._call,
            "trap": self._trap,
        }

    def all(self) -> None:
        """Runs until all lanes have returned."""
        blocks, codes = self.code.blocks, self.codes
        while np.count_nonzero(self.running):
            place = self._furthest_behind() if self.place is None else self.place
            codes.count_block()
            block = blocks[place]
            mask = self.mask
            for step in block.steps:
                step(mask)
            self._end(block.end, place, mask)

    def _furthest_behind(self) -> int:
        place = int(self.places[self.running].min())
        mask = self.running & (self.places == place)
        if np.count_nonzero(mask) == np.count_nonzero(self.running):
            self._join(place)
        else:
            self.mask = mask
        return place

    def _join(self, place: int) -> None:
        """All running lanes are at one place."""
        self.place = place
        self.mask = True if np.count_nonzero(self.running) == len(self.running) else self.running.copy()

    def _end(self, end: End, place: int, mask: Mask) -> None:
        if end.kind == "next":
            self._go(mask, place + 1)
            return
        lanes = mask
        if end.guard is not None:
            lanes = guarded_lanes(end.guard, end.is_negated, mask)
            n_taken = np.count_nonzero(lanes)
            if not n_taken:
                self._go(mask, place + 1)
                return
            n_all = len(lanes) if isinstance(mask, bool) else np.count_nonzero(mask)
            if end.kind != "jump" or n_taken < n_all:
                self._part(place, mask)
                self.places[np.greater(mask, lanes)] = place + 1
            else:
                lanes = mask
        self._ends[end.kind](end, place, lanes)

    def _array(self, mask: Mask) -> np.ndarray:
        return np.ones(self.machine.n_lanes, bool) if isinstance(mask, bool) else mask

    def _part(self, place: int, mask: Mask) -> None:
        """From here on every running lane has a place of its own; those at a barrier have theirs."""
        if self.place is not None:
            self.place = None
            self.places[self.running] = place

    def _go(self, lanes: Mask, place: int) -> None:
        if self.place is None:
            self.places[lanes] = place
        else:
            self.place = place

    def _jump(self, end: End, place: int, lanes: Mask) -> None:
        assert end.targets is not None
        self._go(lanes, int(end.targets[0]))

    def _switch(self, end: End, place: int, lanes: Mask) -> None:
        assert end.targets is not None and end.index is not None
        lanes = self._array(lanes)
        index = end.index[lanes]
        if (index >= len(end.targets)).any():
            lane = int(np.flatnonzero(lanes)[np.argmax(index >= len(end.targets))])
            self.machine.site = end.instruction
            raise self.machine.fault("bounds", lane, f"the table of {len(end.targets)} branches has no such entry")
        self._part(place, lanes)
        self.places[lanes] = end.targets[index]

    def _return(self, end: End, place: int, lanes: Mask) -> None:
        if self.code.function.is_entry:
            self._exit(end, place, lanes)
            return
        self._stop(lanes)

    def _exit(self, end: End, place: int, lanes: Mask) -> None:
        self.machine.live[lanes] = False
        self._stop(lanes)

    def _stop(self, lanes: Mask) -> None:
        self.running[lanes] = False
        self.mask = self.running.copy()
        if not np.count_nonzero(self.running):
            self._release()

    def _trap(self, end: End, place: int, lanes: Mask) -> None:
        self.machine.site = end.instruction
        raise self.machine.fault("trap", int(np.argmax(self._array(lanes))), "the kernel stopped itself")

    def _call(self, end: End, place: int, lanes: Mask) -> None:
        assert end.call is not None
        self.codes.call(self.code, end.call, lanes)
        self._go(lanes, place + 1)
        if not self.machine.live[self.running].all():
            self.running &= self.machine.live
            if not isinstance(self.mask, bool):
                self.mask = self.mask & self.running

    # barriers

    def _wait(self, end: End, place: int, lanes: Mask) -> None:
        machine, barrier = self.machine, end.barrier
        assert barrier is not None
        machine.site = end.instruction
        is_whole = barrier.count is None and barrier.name.ndim == 0 and self.place is not None
        if is_whole and (lanes is True or np.array_equal(lanes, machine.alive_at_first)):
            if barrier.reduce is not None:
                barrier.reduce(self._array(lanes))
            machine.forget_shared()
            self._go(lanes, place + 1)
            return
        self._part(place, lanes)
        self.places[lanes] = place + 1
        self.running[lanes] = False
        machine.waiting[lanes] = True
        machine.waits_at[lanes] = place
        machine.waits_for[lanes] = np.broadcast_to(barrier.name, machine.n_lanes)[lanes]
        if not self.running.any():
            self._release()

    def _release(self) -> None:
        """Nobody can run: lets go the blocks of which all threads are at a barrier, and complains about others."""
        machine = self.machine
        waiting = machine.waiting
        if not waiting.any():
            return
        released = np.zeros(machine.n_lanes, bool)
        meetings = np.unique(machine.block_of[waiting] * 16 + machine.waits_for[waiting])
        for block, name in zip(*np.divmod(meetings, 16)):
            here = waiting & (machine.block_of == block) & (machine.waits_for == name)
            if self._have_met(int(block), here):
                released |= here
        if not released.any():
            raise self._stuck()
        waiting[released] = False
        self.running |= released
        self.place = None

    def _have_met(self, block: int, here: np.ndarray) -> bool:
        """Whether all threads that have to are at a barrier of a block; what they did before is then ordered.

        Without a count that is the whole block, all of it at one instruction.
        """
        machine = self.machine
        places = np.unique(machine.waits_at[here]).tolist()
        barrier = self.code.blocks[places[0]].end.barrier
        assert barrier is not None
        if barrier.count is None:
            n_expected = int((machine.alive_at_first & (machine.block_of == block)).sum())
        else:
            n_expected = int(np.broadcast_to(barrier.count, machine.n_lanes)[np.argmax(here)])
        if int(here.sum()) != n_expected or (barrier.count is None and len(places) > 1):
            return False
        if barrier.reduce is not None:
            barrier.reduce(here)
        machine.meet(here, has_barrier=True)
        return True

    def _stuck(self) -> KernelFault:
        machine = self.machine
        lane = int(np.argmax(machine.waiting))
        place = int(machine.waits_at[lane])
        machine.site = self.code.blocks[place].end.instruction
        mine = machine.block_of == machine.block_of[lane]
        n_here = int((mine & machine.waiting & (machine.waits_at == place)).sum())
        n_elsewhere = int((mine & machine.waiting).sum()) - n_here
        n_ended = int((mine & machine.alive_at_first & ~machine.live).sum())
        n_all = int((mine & machine.alive_at_first).sum())
        what = (
            f"only {n_here} of the {n_all} threads of its block come to this barrier: {n_ended} have ended, "
            f"{n_elsewhere} wait at another"
        )
        return machine.fault("barrier", lane, what)


class Codes:
    """The functions of a module bound to one machine, and the count of what they run."""

    def __init__(self, machine: Machine, max_blocks: int) -> None:
        self.machine, self.max_blocks, self.n_blocks = machine, max_blocks, 0
        self._bound: dict[str, Code] = {}
        self._calling: list[str] = []

    @property
    def size_bytes(self) -> int:
        """What it holds, about: the kernel's registers and the shared memory of all blocks with who touched it."""
        machine = self.machine
        return machine.n_lanes * (machine.kernel.register_bytes + 64) + 6 * machine.shared.size_bytes

    def of(self, name: str) -> Code:
        """A function's code."""
        if name not in self._bound:
            function = self.machine.module.functions.get(name)
            if function is None or not function.code:
                raise PtxError(f"kernel {self.machine.kernel.name} calls {name}, which has no body")
            self._bound[name] = Code(self.machine, function)
        return self._bound[name]

    def count_block(self) -> None:
        """Stops who never ends."""
        self.n_blocks += 1
        if self.n_blocks > self.max_blocks:
            lane = int(np.argmax(self.machine.live))
            raise self.machine.fault(
                "endless", lane, f"{self.max_blocks} basic blocks have run and the kernel has not come to an end"
            )

    def run(self) -> None:
        """Runs the kernel for all live lanes."""
        self.n_blocks = 0
        self._calling.clear()  # a fault may have come out of a call
        live = self.machine.live
        with np.errstate(all="ignore"):
            Run(self, self.machine.kernel.name, True if live.all() else live).all()

    def call(self, caller: Code, call: Call, lanes: Mask) -> None:
        """Runs a function for some lanes, with what they give it; then they have what it returns."""
        if call.function in self._calling:
            raise PtxError(f"{call.function} calls itself, which the interpreter does not follow")
        callee = self.of(call.function)
        for theirs, ours in zip(callee.function.params, call.given):
            callee.frame.params[theirs.name][lanes] = caller.frame.params[ours][lanes]
        self._calling.append(call.function)
        Run(self, call.function, lanes).all()
        self._calling.pop()
        for theirs, ours in zip(callee.function.returns, call.returned):
            caller.frame.params[ours][lanes] = callee.frame.params[theirs.name][lanes]
