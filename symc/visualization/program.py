"""A compiled program as a picture: a box for each kernel call, with the nodes of the user's network it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from symc.core.lazy import lazy
from symc.ir.kernels import KernelGraph, KernelNode
from symc.loopir.kernel import Contraction, buffer_of
from symc.runtime.lowered import Lowered
from symc.runtime.profile import Profile
from symc.runtime.table import scaled, shape_text, size_text, time_text

from .colours import INPUT, MEMORY, of_kernel
from .picture import Box, Colour, Detail, Edge, Picture

if TYPE_CHECKING:
    from symc.symbol import Symbol
    from symc.symbol.node import SymbolNode

HASH_DIGITS = 6  # of a kernel's name that drawings show


@dataclass(frozen=True)
class Owners:
    """Which step of a program computes which node of the user's network.

    profile  times of the steps, where measured
    """

    symbol: Symbol
    lowered: Lowered
    profile: Profile | None = None

    @lazy
    def steps(self) -> dict[int, KernelNode]:
        """What each step computes that every prediction runs, by the step's number."""
        return {k: node for k, (node, _) in enumerate(self.lowered.calls) if node.phase == "forward"}

    @lazy
    def order(self) -> dict[SymbolNode, int]:
        """The place of each node in the user's network."""
        return {node: k for k, node in enumerate(self.symbol.nodes())}

    @lazy
    def times_s(self) -> dict[int, float]:
        """The median time of each step; empty where nothing was measured."""
        return {} if self.profile is None else {row.step: row.time_s for row in self.profile.rows}

    @lazy
    def step_of(self) -> dict[SymbolNode, int]:
        """The step that computes each operator node.

        A node that no step names is folded into weights (it belongs to the step that reads those), or costs nothing (it
        belongs to where its data comes from, or else goes to).
        """
        nodes = [n for n in self.order if not n.is_variable]
        named = self._named({n.name: n.op_name for n in nodes})
        found = {n: named[n.name] for n in nodes if n.name in named}
        for node in nodes:
            sources = [found[s] for s, _ in node.inputs if s in found]
            if node not in found and sources:
                found[node] = sources[0]
        for node in reversed(nodes):
            if node in found:
                for source, _ in node.inputs:
                    if not source.is_variable:
                        found.setdefault(source, found[node])
        return found

    def _named(self, operators: Mapping[str, str]) -> dict[str, int]:
        """By name of a node the step that computes it; steps name what passes made after the node it serves.

        Of several steps the one counts that runs the node's own operator (not a copy before it), else the last; those
        that prepare weights count for the first step that reads what they prepare, when no other step names the node.
        """
        kernels = self.lowered.kernels
        found: dict[str, tuple[int, int]] = {}  # name -> how well the step fits, the step
        readers: dict[str, int] = {}  # a storage -> the first forward step that its contents reach
        for number, (node, call) in reversed(list(enumerate(self.lowered.calls))):
            is_forward = node.phase == "forward"
            reads, writes = self.lowered.touched(number)
            reached = [readers[s] for s in _storages(kernels, writes) if s in readers]
            if not is_forward and not reached:
                continue
            target = number if is_forward else min(reached)
            for storage in _storages(kernels, reads):
                readers[storage] = min(target, readers.get(storage, target))
            if call.share is not None and call.share.title:
                continue  # a preparation: the nodes are computed by the call after it
            for name, operator in zip(node.nodes, node.operators):
                user = _user_name(name, operators)
                if user is not None:
                    fit = 2 * is_forward + (operator == operators[user])
                    if fit > found.get(user, (-1, 0))[0]:
                        found[user] = (fit, target)
        return {name: step for name, (_, step) in found.items()}

    @lazy
    def nodes_of(self) -> dict[int, list[SymbolNode]]:
        """The operator nodes of each step, in the order of the user's network."""
        found: dict[int, list[SymbolNode]] = {}
        for node in self.order:
            if node in self.step_of:
                found.setdefault(self.step_of[node], []).append(node)
        return found

    def describe(self, node: SymbolNode, box: Box) -> Box:
        """The box of a node with the kernel that computes it and its time."""
        number = self.step_of.get(node)
        if number is None:
            return box
        details = (*box.details, *self.details(number))
        if number not in self.times_s or node is not self.main_node(number):
            return replace(box, details=details)
        time = f"{time_text(self.times_s[number])}, step {number}"
        return replace(box, details=details, lines=(*box.lines, time), load=self.load(number))

    def main_node(self, number: int) -> SymbolNode:
        """The node that a step's time belongs to: what a contraction sums, else the last that the step computes."""
        nodes, made = self.nodes_of[number], self.lowered.calls[number][0]
        if isinstance(made.kernel, Contraction):
            summed = _user_name(made.nodes[0], {n.name for n in nodes})
            return next((n for n in nodes if n.name == summed), nodes[-1])
        return nodes[-1]

    def load(self, number: int) -> float | None:
        """The time of a step relative to the longest."""
        return self.times_s[number] / max(self.times_s.values()) if number in self.times_s else None

    def details(self, number: int) -> tuple[Detail, ...]:
        """What a step is and costs."""
        node, call = self.lowered.calls[number]
        work = self.lowered.work(number)
        found = [("step", f"{number} of {len(self.lowered.calls)}"), ("compiled to", call.code.name)]
        if number in self.times_s:
            time_s = self.times_s[number]
            speed = f"{work.flops / max(time_s, 1e-12) * 1e-9:.1f} GFLOP/s"
            share = time_s / max(sum(self.times_s.values()), 1e-12)
            found.append(("time", f"{time_text(time_s)} ({share:.1%}, {speed})"))
        found += [("work", scaled(work.flops, "FLOP")), ("moved", size_text(work.size_bytes))]
        found += [("computes", " + ".join(node.nodes)), ("why", node.reason)]
        return (*found, ("schedule", call.schedule)) if call.schedule else tuple(found)

    def kernel(self, number: int) -> str:
        """The name of the kernel that a step calls."""
        return self.lowered.calls[number][1].code.name


def _storages(kernels: KernelGraph, buffers: Sequence[str]) -> list[str]:
    return [kernels.storage_of(name).name for name in buffers]


def _user_name(name: str, users: Container[str]) -> str | None:
    """The node that a node made by a pass serves: its name without what was appended after dots."""
    while name not in users:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def program_picture(owners: Owners, title: str) -> Picture:
    """A box for each step that every prediction runs, coloured by kernel; inputs above.

    Where several steps write parts of one piece of memory (a concatenation without copies), a round box stands for it.
    """
    colours = _kernel_colours(owners)
    drawing = _Drawing(owners)
    for number, node in owners.steps.items():
        drawing.add_step(number, node, colours[owners.kernel(number)])
    n_prepare = sum(node.phase == "prepare" for node, _ in owners.lowered.calls)
    facts = f"{len(owners.steps)} steps, {len(colours)} kernels; {n_prepare} more steps prepare weights once"
    if owners.profile is not None:
        facts = f"{time_text(owners.profile.total_s)} in {facts}"
    return Picture(title, facts, tuple(drawing.boxes), tuple(drawing.edges))


class _Drawing:
    """Grows step by step; `writers` has the boxes that wrote each storage so far."""

    def __init__(self, owners: Owners) -> None:
        self.owners, self.kernels = owners, owners.lowered.kernels
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.writers: dict[str, list[int]] = {}
        self.names = {n.name: n for n in owners.order if not n.is_variable}
        self.in_memory = {self._node_of(storage) for storage in _assembled(owners)}
        for storage, (name, shape) in _inputs(self.kernels, owners.steps).items():
            self.writers[storage] = [self._add(Box(name, (), INPUT, (("input", shape),), is_round=True))]

    def _add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1

    def add_step(self, number: int, node: KernelNode, colour: Colour) -> None:
        """A box, and edges from what the step reads."""
        tails: dict[int, str] = {}
        reads, writes = self.owners.lowered.touched(number)
        for buffer in reads:
            for tail in self._writers_of(self.kernels.storage_of(buffer).name):
                tails.setdefault(tail, shape_text(buffer_of(node.kernel, buffer).shape))
        head = self._add(self._step_box(number, node, colour))
        self.edges += [Edge(tail, head, label) for tail, label in tails.items()]
        for storage in dict.fromkeys(_storages(self.kernels, writes)):
            self.writers.setdefault(storage, []).append(head)

    def _node_of(self, storage: str) -> SymbolNode | None:
        """The user's node whose result a storage holds."""
        return self.names.get(_user_name(storage, self.names) or "")

    def _writers_of(self, storage: str) -> list[int]:
        """The boxes with the storage's contents; one of memory is made where there were several."""
        writers = self.writers.get(storage, [])
        if len(writers) > 1:
            size = size_text(self.kernels.storages[storage].size_bytes)
            node = self._node_of(storage)
            title, line = (storage, "memory") if node is None else (node.name, f"{node.op_name}, without a copy")
            memory = self._add(Box(title, (line,), MEMORY, (("memory", size), ("storage", storage)), is_round=True))
            self.edges += [Edge(tail, memory) for tail in writers]
            self.writers[storage] = [memory]
        return self.writers.get(storage, [])

    def _step_box(self, number: int, node: KernelNode, colour: Colour) -> Box:
        """The operators as title, then a line for each node of the user's, then what runs and how long."""
        owners = self.owners
        nodes = [n for n in owners.nodes_of.get(number, []) if n not in self.in_memory]
        operators = [n.op_name for n in nodes] or list(node.operators)
        time = f", {time_text(owners.times_s[number])}" if number in owners.times_s else ""
        lines = (*(n.name for n in nodes), f"step {number}: {_short(owners.kernel(number))}{time}")
        share = owners.lowered.calls[number][1].share
        title = share.title if share is not None and share.title else " + ".join(dict.fromkeys(operators))
        return Box(title, lines, colour, owners.details(number), load=owners.load(number))


def _kernel_colours(owners: Owners) -> dict[str, Colour]:
    calls = Counter(map(owners.kernel, owners.steps))
    return {
        kernel: of_kernel(k, f"{_short(kernel)} x {n}" if n > 1 else _short(kernel))
        for k, (kernel, n) in enumerate(calls.items())
    }


def _short(kernel: str) -> str:
    """symc_matrix_81215c7ac6339302 -> matrix 81215c."""
    family, _, digest = kernel.removeprefix("symc_").rpartition("_")
    return f"{family} {digest[:HASH_DIGITS]}"


def _assembled(owners: Owners) -> list[str]:
    """The storages that a step reads after several others wrote them."""
    n_writers: Counter[str] = Counter()
    found: dict[str, None] = {}
    for number in owners.steps:
        reads, writes = (_storages(owners.lowered.kernels, part) for part in owners.lowered.touched(number))
        found.update(dict.fromkeys(s for s in reads if n_writers[s] > 1))
        n_writers.update(list(dict.fromkeys(writes)))
    return list(found)


def _inputs(kernels: KernelGraph, steps: Mapping[int, KernelNode]) -> dict[str, tuple[str, str]]:
    """The caller's data that steps read, by storage: name and shape."""
    found = {}
    for node in steps.values():
        for buffer in node.reads:
            storage = kernels.storage_of(buffer)
            if storage.place == "argument":
                found[storage.name] = (storage.key, shape_text(buffer_of(node.kernel, buffer).shape))
    return found
