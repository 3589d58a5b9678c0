"""Converts files: old symbols and parameters to MXNet 1.9's, .params from and to .safetensors and .npz, names."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symc.core.errors import FormatError
from symc.core.replacing import replacing

from .arrays import OTHER_SUFFIXES, load_arrays, save_arrays
from .naming import N_LISTED, split_name, with_prefixes, without_prefixes
from .opening import require_file
from .report import Report, UsageError, complain, progress
from .targets import add_force_argument, require_free

if TYPE_CHECKING:
    from symc.ndarray import NDArray

EXAMPLES = (
    "symc convert old-symbol.json -o new-symbol.json",
    "symc convert net.params -o net.safetensors",
    "symc convert gluon.params -o net-0000.params --names module --symbol net-symbol.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which file, where to, with which names."""
    parser.add_argument("input", metavar="FILE", help="a -symbol.json, .params, .safetensors or .npz file of any age")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write; its suffix says what")
    parser.add_argument(
        "--names", choices=("module", "gluon"), help="module: arg:/aux: before every name; gluon: bare names"
    )
    parser.add_argument("--symbol", metavar="FILE", help="-symbol.json that says which arrays are auxiliary states")
    add_force_argument(parser)


def execute(args: argparse.Namespace) -> Report:
    """Reads, converts, and writes the whole file or nothing."""
    source, target = Path(args.input), Path(args.output)
    require_file(source)
    require_free([args.output], args)
    if (source.suffix == ".json") != (target.suffix == ".json"):
        raise UsageError(f"{source} to {target}: a symbol stays a .json file, arrays cannot become one")
    if target.suffix not in (".json", ".params", *OTHER_SUFFIXES):
        raise UsageError(
            f"{target}: symc writes no {target.suffix or 'file without a suffix'}; arrays become .params, "
            f"{' or '.join(OTHER_SUFFIXES)}, a symbol becomes .json"
        )
    with progress(f"converting {source}"):
        found = _symbol(source, target, args) if source.suffix == ".json" else _arrays(source, target, args)
    from symc.runtime.table import size_text

    data = {"input": str(source), "output": str(target), **found, "size_bytes": target.stat().st_size}
    what = f"{found['n_nodes']} nodes" if "n_nodes" in found else f"{found['n_arrays']} arrays"
    return Report(data, f"{target}: {what}, {size_text(data['size_bytes'])}")


def _symbol(source: Path, target: Path, args: argparse.Namespace) -> dict[str, Any]:
    from symc.symbol import load

    if args.names or args.symbol:
        raise UsageError(f"{source} is a symbol: leave out --names and --symbol, which are about arrays")
    symbol = load(str(source))
    with replacing(target) as unfinished:
        unfinished.write_text(symbol.tojson(remove_amp_cast=False), encoding="utf-8", newline="")
    return {"n_nodes": len(symbol.nodes())}


def _arrays(source: Path, target: Path, args: argparse.Namespace) -> dict[str, Any]:
    arrays = load_arrays(source)
    if args.names or args.symbol:
        arrays = _renamed(source, arrays, args)
    with replacing(target) as unfinished:
        save_arrays(unfinished, target.suffix, arrays)
    return {
        "n_arrays": len(arrays),
        "format": target.suffix if target.suffix in OTHER_SUFFIXES else ".params",
        "names": list(arrays) if isinstance(arrays, Mapping) else None,
    }


def _renamed(
    source: Path, arrays: Mapping[str, NDArray] | Sequence[NDArray], args: argparse.Namespace
) -> dict[str, NDArray]:
    from symc.symbol import load

    if args.names != "module" and args.symbol:
        raise UsageError("--symbol says which names get aux: and which arg:, so it goes with --names module")
    if not isinstance(arrays, Mapping):
        raise FormatError(f"{source}: {len(arrays)} arrays without names, which no symbol can tell apart")
    if args.names == "gluon":
        return without_prefixes(source, arrays)
    if args.symbol:
        require_file(Path(args.symbol))
        symbol = load(args.symbol)
        renamed = with_prefixes(source, arrays, symbol)
        _tell_strange(args.symbol, arrays, {*symbol.list_inputs()})
        return renamed
    if any(not split_name(source, key)[0] for key in arrays):
        raise UsageError(f"{source} has names without prefix: give --symbol FILE, which says what are auxiliary states")
    return dict(arrays)


def _tell_strange(symbol_path: str, names: Iterable[str], known: set[str]) -> None:
    """Warns of arrays that the symbol does not have."""
    strange = [name for key in names if (name := split_name(symbol_path, key)[1]) not in known]
    if strange:
        more = f" and {len(strange) - N_LISTED} more" if len(strange) > N_LISTED else ""
        complain(f"warning: not in {symbol_path}: {', '.join(strange[:N_LISTED])}{more}")
