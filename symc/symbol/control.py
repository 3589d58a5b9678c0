"""`mx.sym.contrib.foreach`, `while_loop` and `cond`: Python functions traced to subgraphs of one node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from symc.attribute import AttrScope, current
from symc.core.errors import ArgumentError, ConflictError
from symc.core.nesting import flatten, regroup
from symc.ir.op import lookup

from .compose import apply, read_versions
from .creation import Group, var
from .functions import resolve
from .graph import to_graph
from .node import Entry, SymbolNode, copy_graph, nodes_of
from .symbol import Symbol

MARK = "__subgraph_name__"  # the attribute of every node that is made for a subgraph: the subgraph's name


def foreach(body: Callable, data: Any, init_states: Any, name: str = "foreach") -> tuple[Any, Any]:
    """`outputs, states = body(row, states)` for each row of the data, along axis 0.

    Data, states and outputs are symbols or nested lists of symbols. Gives the outputs of all rounds, stacked along
    axis 0, and the last states. Raises ConflictError where a row or a state has no part in what body
    computes, or states change their format.
    """
    rows, data_form = _flat(data, "foreach input")
    firsts, state_form = _flat(init_states, "foreach states")
    with _Subgraph(name) as graph:
        made, after = body(graph.variables(rows, data_form), graph.variables(firsts, state_form))
        results, result_form = _flat(made, "foreach output")
        nexts, after_form = _flat(after, "foreach loop_vars")
        if after_form != state_form:
            raise ConflictError("The input and output loop_vars have different format")
        graph.give(results, nexts)
    names = graph.input_names
    for kind, symbols in (("data", rows), ("state", firsts)):
        if not all(_inner_name(s) in names for s in symbols):
            raise ConflictError(f"the {kind} arrays have to be used in the loop body")
    fed = [_inner_name(s) for s in (*rows, *firsts)]
    remain = [k for k, n in enumerate(names) if n not in fed]
    made = _node(
        "_foreach",
        [graph],
        [*(s.heads[0] for s in (*rows, *firsts)), *(graph.inputs[k] for k in remain)],
        num_outputs=len(results) + len(nexts),
        num_out_data=len(results),
        in_state_locs=[names.index(_inner_name(s)) for s in firsts],
        in_data_locs=[names.index(_inner_name(s)) for s in rows],
        remain_locs=remain,
    )
    return regroup(made[: len(results)], result_form), regroup(made[len(results) :], state_form)


def while_loop(
    cond: Callable, func: Callable, loop_vars: Any, max_iterations: Any = None, name: str = "while_loop"
) -> tuple[Any, Any]:
    """`outputs, loop_vars = func(*loop_vars)` while `cond(*loop_vars)` is not 0, at most `max_iterations` times.

    Gives the outputs of all rounds, stacked along axis 0, which has the extent `max_iterations` and zeros at its end,
    and the last loop variables. Raises ArgumentError for a cond that gives no symbol, loop variables that
    change their number or have no part in what func computes, and without `max_iterations`.
    """
    if max_iterations is None:
        raise ArgumentError("max_iterations should be specified")
    if not isinstance(loop_vars, Symbol) and not len(loop_vars):
        raise ArgumentError("loop_vars should contain at least one element")
    firsts, form = _flat(loop_vars, "while loop_vars")
    with _Subgraph(f"{name}_cond") as condition:
        goes_on = cond(*condition.variables(firsts, form))
        if not isinstance(goes_on, Symbol):
            raise ArgumentError("Return of cond must be a Symbol")
        condition.give([goes_on])
    with _Subgraph(f"{name}_func") as function:
        made, after = func(*function.variables(firsts, form))
        results, result_form = _flat([] if made is None else made, "while output")
        nexts, _ = _flat([] if after is None else after, "while loop_vars")
        if len(nexts) != len(firsts):
            raise ArgumentError("The number of loop_vars should be consistent during the loop")
        function.give([*results, *nexts])
    known = {_inner_name(s): s.heads[0] for s in firsts}
    inputs, (cond_locs, func_locs) = _united([condition, function], known)
    places = {n: k for k, n in enumerate(function.input_names)}
    for k, s in enumerate(firsts, 1):
        if _inner_name(s) not in places:
            raise ArgumentError(f"The {k}-th loop_var doesn't involve into the computation")
    found = _node(
        "_while_loop",
        [condition, function],
        inputs,
        max_iterations=_count(max_iterations),
        cond_input_locs=cond_locs,
        func_input_locs=func_locs,
        func_var_locs=[places[_inner_name(s)] for s in firsts],
        num_out_data=len(results),
        num_outputs=len(results) + len(nexts),
    )
    return regroup(found[: len(results)], result_form), regroup(found[len(results) :], form)


def cond(pred: Symbol, then_func: Callable, else_func: Callable, name: str = "cond") -> Any:
    """The outputs of `then_func()` where `pred` is not 0, else those of `else_func()`.

    Raises ArgumentError where `pred` has several outputs or the functions differ in their number.
    """
    graphs = []
    forms = []
    for part, function in (("pred", lambda: pred), ("then", then_func), ("else", else_func)):
        with _Subgraph(f"{name}_{part}") as graph:
            outputs, form = _flat(function(), "cond outputs")
            graph.give(outputs)
        graphs.append(graph)
        forms.append(form)
    n_outputs = [len(graph.heads) for graph in graphs]
    if n_outputs[0] != 1:
        raise ArgumentError("pred should always be a single output")
    if n_outputs[1] != n_outputs[2]:
        raise ArgumentError("Number of outputs differs between then-branch and else-branch")
    inputs, locs = _united(graphs, by_name=True)
    found = _node(
        "_cond",
        graphs,
        inputs,
        cond_input_locs=locs[0],
        then_input_locs=locs[1],
        else_input_locs=locs[2],
        num_outputs=n_outputs[1],
    )
    return regroup(found, forms[1])


class _Subgraph:
    """A subgraph in the making: what is made in its scope belongs to it, all else that it reads is its input.

    heads         its outputs
    input_names   its variables in order
    inputs        what each of them stands for outside; itself, if it was made inside
    """

    def __init__(self, hint: str) -> None:
        around = current()._attr.get(MARK, "")
        hint = f"{around}${hint}" if around else hint
        self.name = f"{hint}{AttrScope._subgraph_names[hint]}"
        AttrScope._subgraph_names[hint] += 1
        self._scope = AttrScope(**{MARK: self.name})

    def __enter__(self) -> _Subgraph:
        self._scope.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._scope.__exit__(*error)

    def variables(self, symbols: Sequence[Symbol], form: Any) -> Any:
        """Variables that stand for symbols from outside, in their format."""
        return regroup([var(_inner_name(s)) for s in symbols], form)

    def give(self, outputs: Sequence[Symbol], states: Sequence[Symbol] = ()) -> None:
        """Sets the outputs; what comes from outside, is an input or comes twice goes through an identity."""
        inputs = set(Group([*outputs, *states]).list_inputs()) if outputs or states else set()
        names = {s.name for s in outputs}
        own = [s if self._is_own(s, inputs) else resolve("op", "identity")(s) for s in outputs]
        own += [s if self._is_own(s, inputs | names) else resolve("op", "identity")(s) for s in states]
        cut: dict[str, Entry] = {}
        self.heads = self._cut(copy_graph([s.heads[0] for s in own]), cut, [s.heads[0] for s in own])
        variables = [n for n in nodes_of(self.heads) if n.is_variable]
        self.input_names = [n.name for n in variables]
        if len(set(self.input_names)) < len(self.input_names):
            raise ConflictError(f"The inputs of the subgraph don't have unique names: {self.input_names}")
        self.inputs = [cut[n.name] for n in variables]

    def _is_own(self, symbol: Symbol, taken: Iterable[str | None]) -> bool:
        return symbol.name not in taken and symbol.list_attr().get(MARK) == self.name

    def _cut(self, heads: list[Entry], cut: dict[str, Entry], originals: list[Entry]) -> list[Entry]:
        """The heads of a copy, in which what comes from outside is variables; `cut` gets what these stand for."""
        copies = dict(zip(nodes_of(heads), nodes_of(originals)))
        outside: dict[Entry, Entry] = {}
        for node, original in copies.items():
            if node.is_variable:
                cut.setdefault(node.name, Entry(original))
        for node in copies:
            if node.attrs.get(MARK) == self.name:
                node.inputs = [self._inside(e, copies, cut, outside) for e in node.inputs]
        return heads

    def _inside(
        self, entry: Entry, copies: Mapping[SymbolNode, SymbolNode], cut: dict[str, Entry], outside: dict[Entry, Entry]
    ) -> Entry:
        source, index = entry
        if source.attrs.get(MARK) == self.name:
            return entry
        if entry not in outside:
            variable = SymbolNode(None, source.output_name(index), origin=source.origin)
            outside[entry] = Entry(variable)
            cut[variable.name] = Entry(copies[source], index)
        return outside[entry]


def _inner_name(symbol: Symbol) -> str:
    """What the variable is called that stands for a symbol in a subgraph."""
    return f"{symbol.name}-{symbol.attr('_value_index')}"


def _flat(args: Any, what: str) -> tuple[list[Symbol], Any]:
    return flatten(args, lambda x: list(x) if isinstance(x, Symbol) else None, "Symbol", what)


def _count(value: Any) -> int:
    try:
        return int(value.asscalar() if hasattr(value, "asscalar") else value)
    except (TypeError, ValueError):
        raise ArgumentError("Cannot convert max_iteration to python int") from None


def _united(
    graphs: Sequence[_Subgraph], known: Mapping[str, Entry] | None = None, by_name: bool = False
) -> tuple[list[Entry], list[list[int]]]:
    """The inputs of several subgraphs in one list, and where each subgraph's are.

    known     inputs that are listed once, by the name of their variable
    by_name   whether an input is listed once that earlier subgraphs have under its name
    """
    entries: list[Entry] = []
    places: dict[str, int] = {}
    locs: list[list[int]] = []
    for graph in graphs:
        listed = {entry.node.name: k for k, entry in enumerate(entries)} if by_name else {}
        found = []
        for name, entry in zip(graph.input_names, graph.inputs):
            if name in (known or {}):
                entry, place = (known or {})[name], places.get(name)
            else:
                place = listed.get(name)
            if place is None:
                place = len(entries)
                entries.append(entry)
                if name in (known or {}):
                    places[name] = place
            found.append(place)
        locs.append(found)
    return entries, locs


def _node(operator: str, graphs: Sequence[_Subgraph], inputs: Sequence[Entry], **params: Any) -> list[Symbol]:
    """The outputs of a node with subgraphs."""
    cls = lookup(operator)
    assert cls is not None
    made = apply(cls, operator, [Symbol([entry]) for entry in inputs], {}, params)
    node = made.heads[0].node
    assert node.op is not None
    node.subgraphs = tuple(Symbol(graph.heads) for graph in graphs)
    node.op = node.op.with_bodies(tuple(map(to_graph, node.subgraphs)))
    read_versions(node)
    return list(Symbol(node.visible()))
