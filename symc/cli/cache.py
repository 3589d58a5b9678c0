"""Shows where the kernel cache is and how full, or empties it."""

from __future__ import annotations

import argparse

from symc.core.errors import SymcError

from .report import Report

EXAMPLES = ("symc cache info", "symc cache clear")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do."""
    parser.add_argument("action", choices=("info", "clear"), help="show the cache, or remove all its entries")


def execute(args: argparse.Namespace) -> Report:
    """The cache's place and size, after clearing if that was asked for."""
    from symc.codegen.cache import kernel_cache
    from symc.runtime.table import size_text

    before = kernel_cache().info()
    if args.action == "clear":
        kernel_cache().clear()
    info = kernel_cache().info()
    if args.action == "clear" and info.n_entries:
        raise SymcError(f"{info.directory}: {info.n_entries} of {before.n_entries} entries could not be removed")
    removed = before.n_entries - info.n_entries
    data = {
        "directory": None if info.directory is None else str(info.directory),
        "n_entries": info.n_entries,
        "size_bytes": info.size_bytes,
        "limit_bytes": info.limit_bytes,
        "n_removed": removed,
    }
    if info.directory is None:
        return Report(data, "no kernel cache on disk (SYMC_CACHE=0, or its directory cannot be used)")
    cleared = f", {removed} removed" if args.action == "clear" else ""
    sizes = f"{size_text(info.size_bytes)} of at most {size_text(info.limit_bytes)}"
    return Report(data, f"{info.directory}: {info.n_entries} kernels and programs, {sizes}{cleared}")
