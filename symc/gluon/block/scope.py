"""Names of blocks and of their parameters: hints are counted, prefixes nest inside `name_scope()`."""

from __future__ import annotations

from typing import Any

from symc import name
from symc.gluon.parameter import ParameterDict
from symc.scope import InForce


class BlockScope:
    """`with block.name_scope():` blocks made inside count in it and carry the block's prefix; so do symbols' names.

    A block whose prefix is "" has no scope of its own: entering does nothing.
    """

    _in_force = InForce(lambda: None)

    def __init__(self, block: Any) -> None:
        self._block = block
        self._counter: dict[str, int] = {}
        self._names: list[name.Prefix] = []  # of the symbols made inside, one for each time it was entered

    @staticmethod
    def create(prefix: str | None, params: ParameterDict | None, hint: str) -> tuple[str, ParameterDict]:
        """The full prefix of a new block and the dict of its parameters, which shares those of `params`."""
        outer: BlockScope | None = BlockScope._in_force.stack[-1]
        if outer is None:
            prefix = name.current().get(None, hint) + "_" if prefix is None else prefix
            return prefix, ParameterDict(prefix) if params is None else ParameterDict(params.prefix, params)
        if prefix is None:
            count = outer._counter.get(hint, 0)
            prefix = f"{hint}{count}_"
            outer._counter[hint] = count + 1
        if params is not None:
            return outer._block.prefix + prefix, ParameterDict(params.prefix, params)
        parent = outer._block.params
        return outer._block.prefix + prefix, ParameterDict(parent.prefix + prefix, parent._shared)

    def __enter__(self) -> BlockScope:
        if not self._block._empty_prefix:
            self._names.append(name.Prefix(self._block.prefix))
            self._names[-1].__enter__()
            self._in_force.stack.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if not self._block._empty_prefix:
            self._in_force.stack.pop()
            self._names.pop().__exit__(*error)
