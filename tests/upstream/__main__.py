"""The command: runs MXNet's own unit tests, unchanged but for what `import mxnet` gives.

    git clone --depth 1 -b 1.9.1 https://github.com/apache/mxnet
    python -m tests.upstream mxnet/tests/python/unittest                      the files symc is measured by
    python -m tests.upstream mxnet/tests/python/unittest test_ndarray         one file
    python -m tests.upstream mxnet/tests/python/unittest --list               a line for each test that does not pass
    python -m tests.upstream mxnet/tests/python/unittest --count              what is above the Symbol, in two counts
    python -m tests.upstream mxnet/tests/python/unittest test_operator ../quantization/test_quantization
    python -m tests.upstream mxnet/tests/python/unittest --count --keep FILE  hours: goes on where a run was ended

They run in an empty folder, with stand-ins for the files they download (downloads.py). Some import scipy or requests.
Prints passed/total per file, and whether all is as expected. Exit status 1 when a test fails that
`expected.NOT_PASSING` does not explain, or when one that it lists passes; tests that skip themselves (for want of a
package) are listed only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import downloads
from .counted import OTHERS
from .expected import NOT_PASSING
from .outcomes import SKIPPED, Outcomes
from .stand_ins import Nose, install

FILES = (
    "test_symbol",
    "test_infer_shape",
    "test_infer_type",
    "test_attr",
    "test_viz",
    "test_executor",
    "test_ndarray",
    "test_autograd",
    "test_gluon_trainer",
    "test_kvstore_custom",
    "test_contrib_control_flow",
    "test_contrib_operator",
    "test_higher_order_grad",
    "test_loss",
    "test_exc_handling",
    "test_image",
    "test_recordio",
    "test_io",
    "test_gluon_data",
    "test_gluon_data_vision",
    "test_profiler",
    "test_runtime",
    "test_gluon_rnn",
    "test_rnn",
    "test_bucketing",
    "test_gluon_contrib",
    "test_gluon_estimator",
    "test_gluon_event_handler",
    "test_gluon_batch_processor",
    "test_contrib_text",
    "test_contrib_svrg_module",
    "test_contrib_svrg_optimizer",
    "test_module",
)


def run(folder: Path, names: list[str], only: str, limit_s: int, kept: Path | None) -> Outcomes:
    """What became of every test in `names` (files without .py) whose name contains `only`."""
    install()
    downloads.install()
    outcomes, folder = Outcomes(limit_s, kept and kept.resolve()), folder.resolve()
    paths = [str((folder / f"{name}.py").resolve()) for name in names]
    root = os.path.commonpath([Path(path).parent for path in paths])
    options = ["-c", "/dev/null", "--rootdir", root, "-p", "no:cacheprovider", "-p", "no:terminal"]
    options += ["--continue-on-collection-errors"]
    if only:
        options += ["-k", only]
    with tempfile.TemporaryDirectory() as place, _working_in(place):
        Path("data").mkdir()
        os.environ["MXNET_HOME"] = place
        for name in downloads.LAID_OUT.keys() & set(names):
            downloads.LAID_OUT[name]()
        pytest.main([*options, *paths], plugins=[outcomes, Nose()])
    return outcomes


@contextlib.contextmanager
def _working_in(folder: str) -> Iterator[None]:  # contextlib.chdir is Python 3.11's
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def count(outcomes: Outcomes) -> None:
    """Prints how many tests pass of those called clean, and of the others."""
    sums = [0, 0, 0, 0]
    print(f"{'':<28}{'clean':>9}{'others':>9}")
    for file, found in sorted(outcomes.files().items()):
        row = [0, 0, 0, 0]
        for test, why in found.items():
            at = 2 if test.split("::")[-1] in OTHERS[file] else 0
            row[at] += why is None
            row[at + 1] += 1
        sums = [a + b for a, b in zip(sums, row)]
        print(f"{file:<28}{row[0]:>5}/{row[1]:<3}{row[2]:>5}/{row[3]:<3}")
    print(f"{'all':<28}{sums[0]:>5}/{sums[1]:<3}{sums[2]:>5}/{sums[3]:<3}")


def report(outcomes: Outcomes, lists: bool) -> bool:
    """Prints a table and a verdict; True when exactly the tests in NOT_PASSING do not pass."""
    is_good = True
    for file, found in outcomes.files().items():
        n_passed = sum(why is None for why in found.values())
        print(f"{file:<20}{n_passed:>4}/{len(found)}")
        for test, why in found.items():
            known = NOT_PASSING.get(f"{file}::{test}") or (why if why and why.startswith(SKIPPED) else None)
            if why is not None and (lists or known is None):
                print(f"    {test}: {known or why}")
            if why is None and known is not None:
                print(f"    {test}: passes; take it out of NOT_PASSING")
            is_good &= (why is None) == (known is None)
    print("as expected" if is_good else "not as expected")
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="tests/python/unittest of a checkout of MXNet 1.9.1")
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"without .py; default: {' '.join(FILES)}")
    parser.add_argument("--only", default="", metavar="TEXT", help="tests whose name contains this")
    parser.add_argument(
        "--count", action="store_true", help="the files of counted.py: a table of clean tests and others"
    )
    parser.add_argument("--list", action="store_true", help="a line for each test that does not pass")
    parser.add_argument(
        "--limit", type=int, default=600, metavar="SECONDS", help="of computing, for each test; default 600"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="gets a line for each test that is over; those with a line there do not run again",
    )
    options = parser.parse_args()
    files = [name.removesuffix(".py") for name in options.files] or list(OTHERS if options.count else FILES)
    missing = [name for name in files if not (options.folder / f"{name}.py").is_file()]
    if missing:
        parser.error(f"no {missing[0]}.py in {options.folder}")
    outcomes = run(options.folder, files, options.only, options.limit, options.keep)
    is_good = report(outcomes, options.list)
    if options.count:
        count(outcomes)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
