"""What the real MXNet gave for cases written once for both: `case(mx, folder)` gives texts, numbers and lists of them.

    oracle/bin/python tests/gluon/recorded.py [family ...]   records tests/data/gluon/<family>.json, by MXNet's Python

A family is a module cases_<family>.py with a dict CASES. A case that raises gives {"error": [class names, message]}.
"""

from __future__ import annotations

import importlib
import json
import math
import pathlib
import sys
import tempfile
import warnings

import numpy as np

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent / "data" / "gluon"


def plain(value):
    """A case's result as JSON has it; numbers to 9 digits, which is more than float32 holds."""
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def result_of(mx, case):
    """What a case gives, from a fresh count of names and a fixed seed."""
    np.random.seed(0)  # noqa: NPY002  MXNet's initializers draw from it
    mx.random.seed(0)
    with tempfile.TemporaryDirectory() as folder, mx.name.NameManager(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(case(mx, folder))


def refusal(function, *args, **kwargs):
    """Which builtin error a call raises, and its message; MXNetError where it is MXNet's own."""
    try:
        function(*args, **kwargs)
    except Exception as e:
        kinds = (AssertionError, ValueError, TypeError, KeyError, UserWarning, NotImplementedError)
        kind = next((k.__name__ for k in kinds if isinstance(e, k)), "RuntimeError")
        return [kind, str(e).replace("symc.", "mxnet.").strip()]
    return None


def differences(seen, wanted, rtol=2e-5, atol=2e-6, where=""):
    """Where two results differ, one line each."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        if list(seen) != list(wanted):
            return [f"{where}: {list(seen)} instead of {list(wanted)}"]
        return [line for k in wanted for line in differences(seen[k], wanted[k], rtol, atol, f"{where}.{k}")]
    if isinstance(wanted, list) and isinstance(seen, list):
        if len(seen) != len(wanted):
            return [f"{where}: {len(seen)} values instead of {len(wanted)}: {seen} instead of {wanted}"]
        return [
            line for k, pair in enumerate(zip(seen, wanted)) for line in differences(*pair, rtol, atol, f"{where}[{k}]")
        ]
    numbers = (int, float)
    if isinstance(seen, numbers) and isinstance(wanted, numbers) and bool not in (type(seen), type(wanted)):
        is_equal = (seen != seen and wanted != wanted) or math.isclose(seen, wanted, rel_tol=rtol, abs_tol=atol)
    else:
        is_equal = seen == wanted
    return [] if is_equal else [f"{where}: {seen!r} instead of {wanted!r}"]


def load(family):
    """What was recorded of a family, by case."""
    return json.loads((DATA / f"{family}.json").read_text())


def record(families):
    import mxnet as mx

    sys.path.insert(0, str(HERE))
    for family in families:
        cases = importlib.import_module(f"cases_{family}").CASES
        lines = (f"{json.dumps(name)}: {json.dumps(result_of(mx, case))}" for name, case in cases.items())
        DATA.mkdir(exist_ok=True)
        (DATA / f"{family}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    record(sys.argv[1:] or sorted(p.stem[len("cases_") :] for p in HERE.glob("cases_*.py")))
