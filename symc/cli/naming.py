"""How parameter files name their arrays: Module's `arg:` and `aux:`, Gluon's full names, Gluon's structural names.

module       arg:fc_weight, aux:bn_moving_mean     Module.save_checkpoint, HybridBlock.export
gluon        fc_weight, bn_moving_mean             collect_params().save
structural   0.weight, features.1.running_mean     Block.save_parameters: a place in the Block, not in a symbol
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from symc.core.errors import FormatError

if TYPE_CHECKING:
    from symc.ndarray import NDArray
    from symc.symbol import Symbol

Params = dict[str, "NDArray"]
KINDS = ("arg", "aux")
N_LISTED = 5


def split_params(source: object, arrays: Mapping[str, NDArray], symbol: Symbol) -> tuple[Params, Params]:
    """Arguments and auxiliary states by bare name: a prefix decides, for a name without one the symbol does.

    Raises FormatError for names that mean nothing to a symbol, and for two arrays of one name.
    """
    states = set(symbol.list_auxiliary_states())
    _refuse_structural(source, arrays, {*symbol.list_inputs()})
    found: dict[str, Params] = {"arg": {}, "aux": {}}
    for key, array in arrays.items():
        kind, name = split_name(source, key)
        chosen = found[kind or ("aux" if name in states else "arg")]
        if name in chosen:
            raise FormatError(f"{source}: two arrays of the name {name!r}: with and without prefix")
        chosen[name] = array
    return found["arg"], found["aux"]


def split_name(source: object, key: str) -> tuple[str, str]:
    """("arg", "fc_weight") of "arg:fc_weight"; the kind is "" without a prefix. Raises FormatError for another one."""
    kind, colon, name = key.partition(":")
    if not colon:
        return "", key
    if kind not in KINDS:
        raise FormatError(f"{source}: array {key!r}, expected arg:<name> or aux:<name>")
    return kind, name


def with_prefixes(source: object, arrays: Mapping[str, NDArray], symbol: Symbol) -> Params:
    """The arrays under Module's names; the symbol says which are auxiliary states, whatever prefix they have."""
    states = set(symbol.list_auxiliary_states())
    args, aux = split_params(source, arrays, symbol)
    bare = _together(source, args, aux)
    return {f"{'aux' if name in states else 'arg'}:{name}": array for name, array in bare.items()}


def without_prefixes(source: object, arrays: Mapping[str, NDArray]) -> Params:
    """The arrays under Gluon's full names. Raises FormatError when two would have the same name."""
    parts = [(split_name(source, key)[1], array) for key, array in arrays.items()]
    return _together(source, *({name: array} for name, array in parts))


def _together(source: object, *parts: Params) -> Params:
    found: Params = {}
    for part in parts:
        for name, array in part.items():
            if name in found:
                raise FormatError(f"{source}: both arg:{name} and aux:{name}; without prefixes they have one name")
            found[name] = array
    return found


def _refuse_structural(source: object, names: Iterable[str], variables: set[str]) -> None:
    listed = list(names)
    if listed and all("." in n and ":" not in n and n not in variables for n in listed):
        shown = ", ".join(listed[:N_LISTED]) + (", ..." if len(listed) > N_LISTED else "")
        raise FormatError(
            f"{source} has the structural names of Gluon's save_parameters ({shown}), which only the Block's Python "
            "code connects with a symbol: load it there with net.load_parameters, and write symbol and parameters "
            "together with net.export"
        )
