"""The command: replays golden data, prints passed/total per family and the sum; exit status 1 when something differs.

    python -m tests.conformance                                     everything that comes with the repository
    python -m tests.conformance ops --list --only Pooling           one operator, with a line for each difference
    python -m tests.conformance ops nets models train --root ../shared/conformance
    python -m tests.conformance threads                             8 threads, 1,000 calls each, one Executor
"""

from __future__ import annotations

import argparse
import functools
import importlib
import pathlib
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import golden, replay, threads

Check = tuple  # (family, name, function of no argument that raises on a difference)


def checks_of_ops(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for case in golden.op_cases(root):
        yield case.family, case.name, functools.partial(replay.check_op, mx, case)


def checks_of_nets(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for case in golden.net_cases(root):
        yield case.family, case.name, functools.partial(replay.check_net, mx, case)


def checks_of_models(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for model in golden.models(root):
        yield model.name, f"{model.name} output", functools.partial(replay.check_model_output, mx, model)
        yield model.name, f"{model.name} internals", functools.partial(replay.check_model_internals, mx, model)
        if model.train:
            yield model.name, f"{model.name} training", functools.partial(replay.check_model_training, mx, model)
        if model.float64:
            check = functools.partial(replay.check_model_training_float64, mx, model)
            yield model.name, f"{model.name} training in float64", check


def checks_of_train(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for training in golden.trainings(root):
        yield training.case.name, training.case.name, functools.partial(replay.check_training, mx, training)


def checks_of_threads(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for name in threads.NETWORKS:
        yield name, f"{name} 8 x 1000 calls", functools.partial(threads.check_shared_executor, mx, name, 8, 1000)


KINDS: dict[str, Callable[[Any, pathlib.Path], Iterator[Check]]] = {
    "ops": checks_of_ops,
    "nets": checks_of_nets,
    "models": checks_of_models,
    "train": checks_of_train,
    "threads": checks_of_threads,
}


@dataclass
class Tally:
    """What became of the checks of one family."""

    n_passed: int = 0
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def n_total(self) -> int:
        return self.n_passed + len(self.failed)

    def add(self, name: str, check: Callable[[], None], mx: Any) -> None:
        """Runs one check and files its result."""
        try:
            check()
        except Exception as error:  # every kind of failure of a peer is a result here
            if is_missing_operator(mx, error):
                self.missing.append(name)
            else:
                text = str(error).strip() or "no message"
                label = "" if isinstance(error, replay.Mismatch) else f"{type(error).__name__}: "
                self.failed[name] = label + text.splitlines()[0][:200]
        else:
            self.n_passed += 1


def is_missing_operator(mx: Any, error: Exception) -> bool:
    """Whether the peer said that it does not have an operator yet."""
    if isinstance(error, AttributeError):
        return f"module '{mx.__name__}.ndarray" in str(error) or f"module '{mx.__name__}.nd" in str(error)
    return type(error).__name__ == "UnknownOperatorError"


def tally(checks: Iterator[Check], mx: Any, only: str = "") -> dict[str, Tally]:
    """Runs the checks whose name contains `only`."""
    found: dict[str, Tally] = {}
    for family, name, check in checks:
        if only in name:
            found.setdefault(family, Tally()).add(name, check, mx)
    return found


def report(kind: str, families: dict[str, Tally], lists: bool) -> bool:
    """Prints a table; True when nothing failed."""
    width = max([len(f) for f in families] or [0]) + 2
    for family, found in families.items():
        if found.n_total:
            print(f"{family:<{width}}{found.n_passed:>4}/{found.n_total}")
        for name, why in found.failed.items() if lists else ():
            print(f"    {name}: {why}")
    n_passed = sum(t.n_passed for t in families.values())
    n_total = sum(t.n_total for t in families.values())
    print(f"{kind}: {n_passed}/{n_total} passed")
    absent = {family: len(t.missing) for family, t in families.items() if t.missing}
    if absent:
        print(f"not there yet: {sum(absent.values())} cases of {len(absent)} operators: {', '.join(absent)}")
    return n_passed == n_total


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; default: all")
    parser.add_argument("--root", type=pathlib.Path, default=golden.ROOT, help="folder of the golden data")
    parser.add_argument("--list", action="store_true", help="a line for each difference")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
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
        families = tally(KINDS[kind](mx, options.root), mx, options.only)
        is_good &= report(kind, families, options.list)
        print(f"{time.perf_counter() - start:.1f} s\n")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
