"""Runs the recorded parameter sets by symc and compares; see record.py.

Outputs, gradients and states have MXNet's dtype and, within TOLERANCES of compare.py, its values.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.ops.cases import Case
from tests.ops.recorded import Recorded, read

from ..compare import Mismatch, expect_close, is_loose
from . import updates
from .families import answer

# Operators that MXNet computes in float32 in part, whatever the data's dtype; its parser of such numbers is an ulp off.
COARSE = {
    **dict.fromkeys("_contrib_quadratic SVMOutput SoftmaxOutput SequenceMask clip hard_sigmoid".split(), "parameters"),
    **dict.fromkeys(updates.GENERATORS, "parameters"),
    "_contrib_box_decode": "parameters",
    "_image_normalize": "parameters",
    "_image_adjust_lighting": "parameters",
    "MakeLoss": "parameters",
    "Pooling_v1": "shares of an average",
    **dict.fromkeys((f"{name}RegressionOutput" for name in ("Linear", "Logistic", "MAE")), "parameters"),
    "LeakyReLU": "its slope times the data",
    "_random_pdf_normal": "pi",
    "_contrib_hawkesll": "exponentials",
    "_contrib_BilinearResize2D": "the weights of pixels",
}
# Operators whose integers are cut from floats: where these are whole but for rounding, integers are one apart.
CUT = frozenset(
    "arccos arccosh arcsin arcsinh arctan arctanh broadcast_hypot broadcast_power cbrt cos cosh degrees erf exp expm1 "
    "gamma gammaln log log10 log1p log2 radians rcbrt reciprocal rsqrt sigmoid sin sinh softsign sqrt tan tanh "
    "_hypot _hypot_scalar _power _power_scalar _rpower_scalar _contrib_quadratic".split()
)


def cases_of(path: pathlib.Path) -> Iterator[tuple[Case, Recorded]]:
    """The cases of a file with what MXNet answered."""
    with np.load(path) as file:
        fields = json.loads(str(file["cases"]))
    answers = read(path)
    for name, given in fields.items():
        plain = {k: _tuples(v) for k, v in given.items()}
        case = Case(**{**plain, "given": {int(k): v for k, v in plain["given"].items()}})
        if str(case) != name:
            raise ValueError(f"{path.name}: the case {name} is read as {case}")
        yield case, answers[name]


def check(answer: Callable[[Case], dict[str, Any]], case: Case, want: Recorded) -> None:
    """Raises Mismatch where an answer, as of record.run, differs from MXNet's; where MXNet refuses, symc may answer."""
    got = answer(case)
    if want.error:
        return
    if "error" in got:
        raise Mismatch(f"refused: {got['error']}")
    inputs = case.inputs()
    expected = {
        **{f"output {k}": (got["outs"][k], a) for k, a in enumerate(want.outs)},
        **{f"training output {k}": (got.get("train_outs", got["outs"])[k], a) for k, a in enumerate(want.train_outs)},
        **{f"gradient of input {k}": (got["grads"][k], a) for k, a in want.grads.items()},
        **{f"state {k}": (got["states"].get(k, inputs[k]), a) for k, a in want.states.items()},
        **{f"input {k} afterwards": (got["after"].get(k, inputs[k]), a) for k, a in want.after.items()},
    }
    floats = [a.dtype for a in (*inputs, *want.outs) if a.dtype.kind == "f"]
    coarsest = min(floats, key=lambda dtype: dtype.itemsize, default=None)
    if case.op in COARSE and coarsest == np.float64:
        coarsest = np.dtype("float32")
    for what, (result, array) in expected.items():
        if deviation(case, what):
            continue
        is_cut = case.op in CUT or (case.op == "_image_resize" and case.params.get("interp") == 2)  # cubic: half way
        if is_cut and array.dtype.kind in "iu" and result.dtype == array.dtype:
            difference = result - array
            array = array + difference * ((difference == 1) | (difference + 1 == 0))
        _expect(what, result, array, coarsest, is_loose(case.op))


def deviation(case: Case, what: str) -> str:
    """Why symc, on purpose, differs from MXNet in a result of a case; empty where it does not."""
    params = case.params
    if case.op == "LeakyReLU" and (what.endswith(" 1") or (params["act_type"] == "rrelu" and what.startswith("train"))):
        return "the slopes of rrelu are random; predicting, MXNet leaves them unwritten"
    if (case.op, what) == ("_adamw_update", "input 1 afterwards"):
        return "MXNet rescales the gradient where it lies"
    if case.op == "mp_nag_mom_update" and what == "input 2 afterwards":
        return "MXNet decays the momentum by the new weight"
    dtype = case.input_dtypes()[0] if case.shapes else ""
    if case.op == "norm" and params.get("ord", 2) == 2 and "int" in dtype:
        return "MXNet divides integers while it scales them"
    if case.op == "erfinv" and "int" in dtype:
        return "beyond 1, where it has no value, MXNet's is 0"
    if case.op == "square" and "int" in dtype:
        return "MXNet squares integers in float32"
    if case.op in ("erf", "gamma", "gammaln") and "int" in dtype and what.startswith("gradient"):
        return "at poles and far out no integer is the slope, and what MXNet's square of it overflows to is not either"
    if case.op == "moments" and "int" in dtype and what.startswith("gradient"):
        return "MXNet leaves out how the mean moves, which for a mean cut to an integer is not 0"
    if case.op == "nansum" and case.points is not None and "output" in what:
        return "MXNet's compensated sum of infinities is NaN"
    if case.op == "smooth_l1" and "int" in dtype and params["scalar"] % 1:
        return "MXNet cuts the scalar to an integer"
    if case.op in ("BilinearSampler", "_histogram") and dtype == "float16":
        return "MXNet finds places in float16, where rounding decides for the next one"
    if "arange" in case.op and "float16" in (params.get("dtype"), dtype):
        return "MXNet counts in whole numbers"
    if case.op == "RNN" and params["num_layers"] > 2 and params["mode"].startswith("rnn") and what.endswith("input 1"):
        return "MXNet's gradient of the layers between the first and the last is not the derivative"
    if case.op == "Convolution_v1" and what == "gradient of input 0" and _is_strided_and_dilated(params):
        return "MXNet misses some of the places that a window reaches whose stride and dilation both leave some out"
    if case.op == "tile" and len(case.shapes[0]) == 1 and len(params["reps"]) > 3:
        return "MXNet gives zeros, or what was in memory"
    if case.op == "tanh" and "int" in case.dtypes and what.startswith("gradient") and 9 in np.abs(case.inputs()[0]):
        return "tanh(9), cut to 0 by MXNet, is 1 but for rounding"
    return ""


def _is_strided_and_dilated(params: dict[str, Any]) -> bool:
    """Whether both are more than 1 along one axis."""
    return any(s > 1 and d > 1 for s, d in zip(params.get("stride", ()), params.get("dilate", ())))


def _expect(what: str, got: np.ndarray, want: np.ndarray, coarsest: np.dtype | None, loose: bool) -> None:
    """Raises Mismatch unless both agree, floats as closely as the coarsest dtype that they were computed from."""
    if got.dtype == want.dtype and want.dtype.kind == "f" and coarsest is not None:
        kind = min(coarsest, want.dtype, key=lambda dtype: dtype.itemsize)
        got, want = got.astype(kind), want.astype(kind)
    expect_close(what, got, want, loose)


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples."""
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return value if not isinstance(value, dict) else {k: _tuples(v) for k, v in value.items()}


def parts(mx: Any, root: pathlib.Path) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Family, name and check of every recorded case below a folder."""
    for path in sorted(root.glob("*.npz")):
        for number, (case, want) in enumerate(cases_of(path)):
            yield (
                path.stem,
                f"{path.stem}.{number:02} {case}",
                functools.partial(check, functools.partial(answer, mx, pack=np.asarray), case, want),
            )
