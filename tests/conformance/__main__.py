"""The command: replays golden data, prints passed/total per family and the sum; exit status 1 when something differs.

python -m tests.conformance                                     everything that comes with the repository
python -m tests.conformance ops --list --only Pooling           one operator, with a line for each difference
python -m tests.conformance ops nets models train --root ../shared/conformance
python -m tests.conformance api --list                          snippets of Python: values, texts, errors
python -m tests.conformance legacy --root ../shared/conformance   files of every age, byte-equal round trips
python -m tests.conformance draws --root FOLDER --keep FILE     an hour: goes on where a run was ended
python -m tests.conformance threads                             8 threads, 1,000 calls each, one Executor
MXNET_MKLDNN_ENABLED=0 PYTHON_OF_MXNET -m tests.conformance --peer mxnet ops nets models train api
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import sys
import time
import warnings

from .golden import ROOT
from .suite import KINDS, KNOWN, Tally, tally


def report(kind: str, families: dict[str, Tally], lists: bool, time_s: float) -> bool:
    """Prints a table; True when nothing failed."""
    width = max([len(f) for f in families] or [0]) + 2
    for family, found in families.items():
        if found.n_total:
            print(f"{family:<{width}}{found.n_passed:>4}/{found.n_total}")
        for name, why in found.failed.items() if lists else ():
            print(f"    {name}: {why}" + (f" (known: {KNOWN[name]})" if name in KNOWN else ""))
    n_passed = sum(t.n_passed for t in families.values())
    n_total = sum(t.n_total for t in families.values())
    print(f"{kind}: {n_passed}/{n_total} passed in {time_s:.1f} s")
    absent = {family: len(t.missing) for family, t in families.items() if t.missing}
    if absent:
        print(f"not there yet: {sum(absent.values())} cases of {len(absent)} families: {', '.join(absent)}")
    return n_passed == n_total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; default: all")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="folder of the golden data")
    parser.add_argument("--list", action="store_true", help="a line for each difference")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    parser.add_argument(
        "--keep",
        type=pathlib.Path,
        metavar="FILE",
        help="gets a line for each case; those with a line there do not run again",
    )
    parser.add_argument("--peer", default="symc", help="module to test: symc, or mxnet to prove the checks")
    options = parser.parse_args()
    unknown = sorted(set(options.kinds) - set(KINDS))
    if unknown:
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if not options.root.is_dir():
        parser.error(f"no folder {options.root}")
    warnings.simplefilter("ignore")
    mx = importlib.import_module(options.peer)
    is_good = True
    for kind in options.kinds or KINDS:
        start = time.perf_counter()
        families = tally((c for c in KINDS[kind](mx, options.root) if options.only in c.name), mx, options.keep)
        is_good &= report(kind, families, options.list, time.perf_counter() - start)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
