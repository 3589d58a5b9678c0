"""`Block.save` and `load`: parameters, and a JSON file of the names of all blocks and of the graphs traced so far.

Blocks are known by class and number, in the order of children: what loads is built as what was saved was.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from symc.core.errors import ConflictError, FormatError
from symc.core.reading import contents
from symc.core.replacing import replacing


def save(block: Any, prefix: str) -> None:
    """Writes `<prefix>-model.json` and `<prefix>-model.params`."""
    with replacing(Path(f"{prefix}-model.json")) as unfinished:
        unfinished.write_text(json.dumps(_described(block, count())))
    block.save_parameters(f"{prefix}-model.params")


def load(block: Any, prefix: str) -> None:
    """Reads what `save` wrote; raises FormatError for a damaged file, ConflictError for a network built differently."""
    path = f"{prefix}-model.json"
    try:
        content = json.loads(contents(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: is no JSON: {error}") from None
    _restore(block, count(), content, path)
    block.load_parameters(f"{prefix}-model.params")


def _key(block: Any, numbers: Iterator[int]) -> str:
    return f"{type(block).__name__.lower()}{next(numbers)}"


def _described(block: Any, numbers: Iterator[int]) -> dict[str, Any]:
    key = _key(block, numbers)
    names = {child.name: name for name, child in block._children.items()}
    found = {"orig_name": block.name, **block._saved_graph(), "children": names}
    for child in block._children.values():
        found |= _described(child, numbers)
    return {key: found}


def _restore(block: Any, numbers: Iterator[int], content: Any, path: str) -> None:
    key = _key(block, numbers)
    saved = content.get(key) if isinstance(content, dict) else None
    if not isinstance(saved, dict) or not {"orig_name", "children"} <= saved.keys():
        raise ConflictError(f"{path}: it has no block {key!r} here; the network must be built as the saved one was")
    block._name = saved["orig_name"]
    try:
        block._restore_graph(saved)
    except KeyError as error:
        raise FormatError(f"{path}: block {key!r} has no {error}") from None
    own = block.params
    for name in list(own._params):
        own._params[f"{block.name}_{name[len(own.prefix) :]}"] = own._params.pop(name)
    for child in block._children.values():
        _restore(child, numbers, saved, path)
    names = saved["children"]
    for child in block._children.values():
        if not isinstance(names, dict) or child.name not in names:
            raise FormatError(f"{path}: block {key!r} has no name for its child {child.name!r}")
    block._children = OrderedDict((names[child.name], child) for child in block._children.values())
