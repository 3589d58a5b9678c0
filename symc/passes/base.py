"""What a pass is: a named pure function from graph to graph that declares the facts it needs and leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from symc.core.errors import GraphError
from symc.core.shapes import FullShape
from symc.ir.bodies import is_inferred, within_bodies
from symc.ir.graph import FACTS, Graph, Layout, Node
from symc.loopir.kernel import Buffer, Contraction, Plan
from symc.loopir.routine import Routine
from symc.loopir.tensor import Product


class Machine(Protocol):
    """What passes ask of the backend they compile for; the rest of it is in codegen/backend.py."""

    def layout_of(self, product: Product, rank: int, operand: int | None) -> Layout | None:
        """The memory order in which a contraction reads the node's input number `operand`, which has that rank, or,
        with None, writes its result; None: any order will do.
        """

    def fits_prologue(self, product: Product, operand: int) -> bool:
        """Whether a contraction rearranges an operand anyway, so that what computes it can run there."""

    def channels_together(self, product: Product, dtype: str) -> int | None:
        """Of contractions of 8-bit integers, int16, float16 or bfloat16, with data of that dtype: the number that the
        channels of a group must be a multiple of; None: it has no int32 or float32 sums of such products.
        """

    def fits_epilogue(self, graph: Graph, anchor: Node, node: Node) -> bool:
        """Whether an elementwise node over the shape of a contraction's result can run on its finished sums."""

    def fits_sections(self, product: Product, dtype: str, n: int) -> bool:
        """Whether the channels of a contraction's result may fall into `n` equal sections whose finished sums are seen
        together, so that an epilogue runs over the channels of one."""

    def keeps_near(self, n_elements: int, is_contiguous: bool) -> bool:
        """Whether a row of so many elements stays near the core that walks it several times."""

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        """Whether a loop's product of so many rows with weights is faster as one of the weights with columns."""

    def gap_behind(self, row_bytes: int) -> int:
        """How many bytes to leave free behind each row of a matrix of such rows, so that rows which are stored or read
        together do not evict each other from the nearest cache."""

    @property
    def near_bytes(self) -> int | None:
        """How much one step may read and write so that the next finds it near the cores; None: all is equally far."""

    def plan(self, contraction: Contraction, is_reused: bool) -> Plan | None:
        """How it computes a contraction whose operands lie as their buffers say; None: it wants nothing of passes.

        `is_reused`: the right operand is arranged once and serves many runs.
        """

    def scratch(self, routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
        """Shapes and dtypes of the memory that it needs for a routine on these inputs, besides them and the outputs."""


@dataclass(frozen=True)
class PassContext:
    """What a compilation asks for besides the graph.

    backend          the machine
    grad_req         "write", "add" or "null" for each argument; empty for inference
    has_parameters   whether arguments that hold parameters rarely change, so that preparing them pays
    rounds_float16   whether every operator's float16 result is rounded, not only what is stored
    rounds_operands  whether data and weights of layers are rounded to bfloat16 where the backend multiplies that
    grad_dtype       of gradients that are not of their argument's dtype
    """

    backend: Machine
    grad_req: Mapping[str, str] = field(default_factory=dict)
    has_parameters: bool = True
    rounds_float16: bool = True
    rounds_operands: bool = False
    grad_dtype: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass:
    """A pass with its contract; facts that it neither keeps nor provides are dropped after it.

    Where it `enters_bodies`, it is run on the bodies of the nodes it leaves, too.
    """

    name: str
    run: Callable[[Graph, PassContext], Graph]
    requires: frozenset[str]
    provides: frozenset[str]
    keeps: frozenset[str]
    enters_bodies: bool = False

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        result = self.run(graph, context)
        if self.enters_bodies and isinstance(result, Graph):
            result = within_bodies(result, lambda body: self(body, context) if is_inferred(body) else body)
        if not isinstance(result, Graph):
            raise GraphError(f"pass {self.name} returned {type(result).__name__}, expected a Graph")
        nothing: dict = {}
        lost = {f: nothing for f in FACTS if f not in self.keeps | self.provides and getattr(result.facts, f)}
        return result.with_facts(**lost) if lost else result


def graph_pass(
    requires: tuple[str, ...] = ("shape", "dtype"),
    provides: tuple[str, ...] = (),
    keeps: tuple[str, ...] = ("shape", "dtype"),
    enters_bodies: bool = False,
) -> Callable[[Callable[[Graph, PassContext], Graph]], Pass]:
    """Makes a Pass of a function; it is named after the function."""

    unknown = {*requires, *provides, *keeps} - set(FACTS)
    if unknown:
        raise GraphError(f"graph_pass: no facts {', '.join(sorted(unknown))}; there are {', '.join(FACTS)}")

    def make(run: Callable[[Graph, PassContext], Graph]) -> Pass:
        return Pass(run.__name__, run, frozenset(requires), frozenset(provides), frozenset(keeps), enters_bodies)

    return make
