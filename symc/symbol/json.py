"""Symbols from JSON: the reader for every version MXNet wrote (0.8 to 1.9). Nothing in a file is trusted."""

from __future__ import annotations

import json
import re
import reprlib
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.core.collector import collector_paused
from symc.core.errors import ArgumentTypeError, FormatError
from symc.core.params import MAX_PORTS
from symc.core.reading import contents
from symc.ir.absent import Absent
from symc.ir.op import Op, lookup

from .json_writer import tojson
from .listing import map_order
from .node import Entry, SymbolNode, nodes_of
from .upgrade import FIRST_VERSION, MXNET_VERSION, parse_and_upgrade

if TYPE_CHECKING:
    from .symbol import Symbol

__all__ = ["load", "load_json", "read", "tojson"]

_TOP_KEYS = {"nodes", "arg_nodes", "node_row_ptr", "heads", "attrs"}
_NODE_KEYS = {"op", "name", "inputs", "attrs", "attr", "param", "control_deps", "backward_source_id", "subgraphs"}
_MAX_DEPTH = 8  # of subgraphs inside subgraphs
_LARGEST = 2**31 - 1  # number of a node, an output or a version
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_N_LISTED = 10  # names that a warning spells out
_SHORTENING = reprlib.Repr()
_SHORTENING.maxlevel, _SHORTENING.maxstring = 2, 60


def load(fname: str) -> Symbol:
    """The symbol in a JSON file; raises what `contents` raises where there is none, and what `load_json` does."""
    if not isinstance(fname, str):
        raise ArgumentTypeError("fname need to be string")
    data = contents(fname)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise FormatError(f"{fname}: not a symbol: byte {e.start} is not UTF-8") from None
    return read(text, fname)


def load_json(json_str: str) -> Symbol:
    """The symbol a JSON text describes.

    Operators that symc does not have are kept; running them is refused. Raises FormatError for text that is not a
    symbol, ParameterError for parameters that its operators do not take.
    """
    if not isinstance(json_str, str):
        raise ArgumentTypeError("fname required to be string")
    return read(json_str, "JSON text")


def read(text: str, source: str) -> Symbol:
    """As `load_json`; `source` is what errors and origins call the text."""
    import symc.ops  # noqa: F401  (registers the operators)

    with collector_paused():
        return _Reader(source).symbol(_decode(text, source))


def _decode(text: str, source: str) -> Any:
    try:
        content = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()  # a half of a pair is no character: nothing could write it
    except json.JSONDecodeError as e:
        raise FormatError(
            f"{source}: not a symbol: {e.msg} at line {e.lineno} column {e.colno} (char {e.pos})"
        ) from None
    except (RecursionError, ValueError) as e:
        raise FormatError(f"{source}: not a symbol: {e}") from None
    return content


class _Reader:
    """Builds a symbol from decoded JSON; the first value of a wrong type or out of range ends it with FormatError."""

    def __init__(self, source: str, outer: _Reader | None = None) -> None:
        self.source = source
        self.depth = outer.depth + 1 if outer else 0
        self.version = outer.version if outer else None
        self.unknown_fields: dict[str, None] = outer.unknown_fields if outer else {}

    def fail(self, what: str) -> FormatError:
        return FormatError(f"{self.source}: not a symbol: {what}")

    def symbol(self, content: Any) -> Symbol:
        """The symbol; its nodes are checked, parsed and upgraded to the current version."""
        from .symbol import Symbol

        if not isinstance(content, dict):
            raise self.fail(f"expected an object, got {_short(content)}")
        for key in ("arg_nodes", "heads", "nodes"):
            if not isinstance(content.get(key), list):
                raise self.fail(f'"{key}" is not a list' if key in content else f'Missing field "{key}"')
        self.unknown_fields.update(dict.fromkeys(k for k in content if k not in _TOP_KEYS))
        self.version = self.file_version(content.get("attrs"))
        records = content["nodes"]
        nodes, classes, absent = self.nodes(records)
        for i, (node, record) in enumerate(zip(nodes, records)):
            what = f"node {i} ({node.name}): input"
            node.inputs, node.versions = self.entries(record.get("inputs", []), nodes, what)
        self.check_variables(content["arg_nodes"], nodes, {*classes, *absent})
        heads, _ = self.entries(content["heads"], nodes, "head")
        self.keep_absent(absent, nodes, heads, content.get("node_row_ptr"))
        if not heads:
            raise self.fail('"heads" is empty')
        self.check_acyclic(records, nodes)
        used = nodes_of(heads)
        parse_and_upgrade(used, classes, self.version, self.source)
        self.check_outputs(used, heads)
        if self.unknown_fields and not self.depth:
            listed = ", ".join([_short(k) for k in self.unknown_fields][:_N_LISTED])
            more = f" and {len(self.unknown_fields) - _N_LISTED} more" if len(self.unknown_fields) > _N_LISTED else ""
            warnings.warn(f"{self.source}: ignored unknown fields {listed}{more}", stacklevel=4)
        return Symbol(heads)

    def file_version(self, attrs: Any) -> int:
        """MXNet's version number of a file, e.g. 10901; of a subgraph that of the file around it."""
        if attrs is None or (isinstance(attrs, dict) and "mxnet_version" not in attrs):
            return FIRST_VERSION if self.version is None else self.version
        entry = attrs.get("mxnet_version") if isinstance(attrs, dict) else attrs
        if not (isinstance(entry, list) and len(entry) == 2 and _is_count(entry[1])):
            raise self.fail(f'"attrs" holds no version: {_short(entry)}; expected ["int", {MXNET_VERSION}] or the like')
        if entry[1] > MXNET_VERSION:
            warnings.warn(f"{self.source} was written by version {entry[1]}, newer than {MXNET_VERSION}", stacklevel=5)
        return int(entry[1])

    def nodes(self, records: list[Any]) -> tuple[list[SymbolNode], dict[SymbolNode, type[Op]], dict[SymbolNode, str]]:
        """Nodes without inputs, the operator class of those that are not variables, the names of operators we lack."""
        nodes, classes, absent = [], {}, {}
        for i, record in enumerate(records):
            if (
                not isinstance(record, dict)
                or not isinstance(record.get("op"), str)
                or not isinstance(record.get("name"), str)
            ):
                raise self.fail(f'node {i} needs "op" and "name", got {_short(record)}')
            if not record.keys() <= _NODE_KEYS:
                self.unknown_fields.update(dict.fromkeys(k for k in record if k not in _NODE_KEYS))
            node = SymbolNode(None, record["name"], self.attributes(i, record), origin=self.source)
            node.subgraphs = self.subgraphs(i, record)
            nodes.append(node)
            if record["op"] == "null":
                continue
            cls = lookup(record["op"])
            if cls is None or cls.is_internal or not cls.is_there(node.attrs):
                absent[node] = record["op"]
            else:
                classes[node] = cls
        return nodes, classes, absent

    def keep_absent(
        self, absent: Mapping[SymbolNode, str], nodes: Sequence[SymbolNode], heads: Sequence[Entry], row_ptr: Any
    ) -> None:
        """Gives operators that symc lacks the inputs that are listed, and the outputs that are listed or used."""
        if not absent:
            return
        n_outputs = dict.fromkeys(absent, 1)
        for source, index in (*heads, *(entry for node in nodes for entry in node.inputs)):
            if source in n_outputs:
                n_outputs[source] = max(n_outputs[source], index + 1)
        if isinstance(row_ptr, list) and len(row_ptr) == len(nodes) + 1 and all(map(_is_count, row_ptr)):
            listed = zip(nodes, row_ptr, row_ptr[1:])
            n_outputs.update((node, max(n_outputs[node], end - begin)) for node, begin, end in listed if node in absent)
        for node, operator in absent.items():
            if n_outputs[node] > MAX_PORTS:
                raise self.fail(f"{operator} {node.name} has {n_outputs[node]} outputs, expected at most {MAX_PORTS}")
            op_type = node.attrs.get("op_type", "") if lookup(operator) is not None else ""
            node.op = Absent(operator=operator, n_inputs=len(node.inputs), n_outputs=n_outputs[node], op_type=op_type)

    def attributes(self, i: int, record: dict[str, Any]) -> dict[str, str]:
        """Attributes: `attrs` (since 0.12), `attr` (since 0.9), `param` (0.8, where `attr` holds the user's)."""
        attrs: dict[str, str] = {}
        for key in ("param", "attrs", "attr"):
            found = record.get(key)
            if found is None:
                continue
            if not isinstance(found, dict) or any(not isinstance(v, str) for v in found.values()):
                raise self.fail(f'node {i} ({record["name"]}): "{key}" must map names to strings, got {_short(found)}')
            attrs.update((k, found[k]) for k in (map_order(found) if key == "param" else found))
        return attrs

    def subgraphs(self, i: int, record: dict[str, Any]) -> tuple[Symbol, ...]:
        """The bodies of a control-flow operator."""
        found = record.get("subgraphs") or []
        if not isinstance(found, list) or (found and self.depth >= _MAX_DEPTH):
            raise self.fail(f'node {i} ({record["name"]}): "subgraphs" must be a list, at most {_MAX_DEPTH} deep')
        return tuple(_Reader(self.source, self).symbol(s) for s in found)

    def entries(self, found: Any, nodes: Sequence[SymbolNode], what: str) -> tuple[list[Entry], tuple[int, ...]]:
        """(node, output index) pairs and the variable versions beside them, from lists of two or three numbers."""
        if not isinstance(found, list):
            raise self.fail(f"{what}s must be a list, got {_short(found)}")
        entries, versions, n_nodes = [], [], len(nodes)
        for k, entry in enumerate(found):
            if not (isinstance(entry, list) and 2 <= len(entry) <= 3 and all(_is_count(n) for n in entry)):
                raise self.fail(
                    f"{what} {k} must be [node, index] or [node, index, version], each a number from 0 to {_LARGEST}; "
                    f"got {_short(entry)}"
                )
            if entry[0] >= n_nodes:
                raise self.fail(f"{what} {k} names node {entry[0]} of {n_nodes}")
            entries.append(Entry(nodes[entry[0]], entry[1]))
            versions.append(entry[2] if len(entry) == 3 else 0)
        return entries, tuple(versions) if any(versions) else ()

    def check_variables(self, arg_nodes: list[Any], nodes: Sequence[SymbolNode], operators: set[SymbolNode]) -> None:
        """Every index in "arg_nodes" must be a variable's; the list is not needed otherwise."""
        for index in arg_nodes:
            if not _is_count(index) or index >= len(nodes):
                raise self.fail(f'"arg_nodes" names node {_short(index)} of {len(nodes)}')
            if nodes[index] in operators:
                raise self.fail(f'"arg_nodes" names node {index} ({nodes[index].name}), which is not a variable')

    def check_acyclic(self, records: list[Any], nodes: Sequence[SymbolNode]) -> None:
        """Nodes may stand in any order but must not need themselves."""
        sources = [[entry[0] for entry in record.get("inputs", [])] for record in records]
        if all(source < i for i, found in enumerate(sources) for source in found):
            return
        users: list[list[int]] = [[] for _ in nodes]
        missing = [len(found) for found in sources]
        for i, found in enumerate(sources):
            for source in found:
                users[source].append(i)
        ready = deque(i for i, n in enumerate(missing) if n == 0)
        n_done = 0
        while ready:
            n_done += 1
            for user in users[ready.popleft()]:
                missing[user] -= 1
                if missing[user] == 0:
                    ready.append(user)
        if n_done < len(nodes):
            i = next(i for i, n in enumerate(missing) if n)
            raise self.fail(f"node {i} ({nodes[i].name}) needs its own output: the graph has a cycle")

    def check_outputs(self, used: Sequence[SymbolNode], heads: Sequence[Entry]) -> None:
        """Every output index must exist."""
        for node in used:
            for k, (source, index) in enumerate(node.inputs):
                if index and index >= source.n_outputs:
                    raise self.fail(
                        f"input {k} of {node.name} is output {index} of {source.name}, which has {source.n_outputs}"
                    )
        for source, index in heads:
            if index >= source.n_outputs:
                raise self.fail(f"a head is output {index} of {source.name}, which has {source.n_outputs}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _short(value: Any) -> str:
    """As Python writes it, of containers and long texts the beginning."""
    text = _SHORTENING.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
