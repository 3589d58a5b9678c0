"""`check_consistency`: whether a symbol, bound in several ways, gives the same outputs and gradients."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.ndarray import NDArray, array

from .compare import assert_almost_equal, get_tols

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.symbol import Symbol


def check_consistency(
    sym: Symbol | Sequence[Symbol],
    ctx_list: Sequence[Mapping[str, Any]],
    scale: float = 1.0,
    grad_req: Any = "write",
    arg_params: dict[str, Any] | None = None,
    aux_params: dict[str, Any] | None = None,
    rtol: Any = None,
    atol: Any = None,
    raise_on_err: bool = True,
    ground_truth: Mapping[str, Any] | None = None,
    equal_nan: bool = False,
    use_uniform: bool = False,
    rand_type: Any = np.float64,
) -> Mapping[str, Any]:
    """Asserts that one symbol per entry of `ctx_list` (or one for all) agrees with the most precise of them.

    ctx_list       arguments of `simple_bind`, for each binding
    scale          of the random values of the inputs that arg_params does not give; states are 0 unless given
    ground_truth   outputs and gradients by name, in place of the most precise binding's
    raise_on_err   False prints what differs and goes on
    Gives what was compared with.
    """
    symbols = list(sym) if isinstance(sym, (list, tuple)) else [sym] * len(ctx_list)
    assert len(symbols) == len(ctx_list) > 1, "one symbol for each of at least two bindings"
    first = symbols[0]
    names, arguments = first.list_outputs(), first.list_arguments()
    assert all(s.list_outputs() == names and s.list_arguments() == arguments for s in symbols)
    executors = [s.simple_bind(grad_req=grad_req, **how) for s, how in zip(symbols, ctx_list)]
    _fill(executors, scale, arg_params or {}, aux_params or {}, use_uniform, rand_type)
    with_gradient = grad_req != "null"
    for executor in executors:
        executor.forward(is_train=False)
    best = int(np.argmax([np.dtype(e.outputs[0].dtype).itemsize for e in executors]))

    def compare(what: str, results: Sequence[Mapping[str, NDArray | None]]) -> None:
        truth = ground_truth or results[best]
        for k, found in enumerate(results):
            for name, value in found.items() if k != best or ground_truth else ():
                try:
                    if value is None or truth.get(name) is None:
                        assert value is None, f"{name}: there is a gradient where none was expected"
                        continue
                    tolerances = _tolerances(value, truth[name], executors[k], executors[best], rtol, atol)
                    assert_almost_equal(value, truth[name], *tolerances, (f"{name} of {k}", name), equal_nan)
                except AssertionError:
                    if raise_on_err:
                        raise
                    print(f"{what}: binding {k} differs from {best} at {name}")
                    traceback.print_exc()

    compare("predicting", [dict(zip(names, e.outputs)) for e in executors])
    if with_gradient:
        for executor in executors:
            executor.forward(is_train=True)
        narrow = [min((e.outputs[k]._dtype for e in executors), key=_size) for k in range(len(names))]
        heads = [out.asnumpy().astype(dtype) for out, dtype in zip(executors[0].outputs, narrow)]
        for executor in executors:
            executor.backward([array(h, dtype=o.dtype) for h, o in zip(heads, executor.outputs)])
        compare("training", [{**dict(zip(names, e.outputs)), **e.grad_dict} for e in executors])
    chosen = executors[best]
    return ground_truth or {**chosen.output_dict, **(chosen.grad_dict if with_gradient else {})}


def _fill(
    executors: Sequence[Executor],
    scale: float,
    args: dict[str, Any],
    states: dict[str, Any],
    use_uniform: bool,
    rand_type: Any,
) -> None:
    """The same values in every binding; gradients that are added to start from 0."""
    for name, a in sorted(executors[0].arg_dict.items()):
        if name not in args:
            drawn = np.random.uniform(-0.92, 0.92, a.shape) if use_uniform else np.random.normal(size=a.shape)
            args[name] = (scale * drawn).astype(rand_type)
    for executor in executors:
        for name, a in executor.arg_dict.items():
            a[:] = args[name]
        for name, a in executor.aux_dict.items():
            a[:] = states.get(name, 0)
        for gradient in executor.grad_dict.values():
            if gradient is not None:
                gradient[:] = 0


def _size(dtype: np.dtype) -> int:
    return dtype.itemsize


def _tolerances(value: Any, truth: Any, one: Executor, other: Executor, rtol: Any, atol: Any) -> tuple[float, float]:
    """Those of the least precise dtype of what is compared and of the bindings' outputs."""
    dtypes = [np.dtype(x.dtype) for x in (value, truth, one.outputs[0], other.outputs[0])]
    stand_in = np.zeros(1, min(dtypes, key=_size))
    return get_tols(stand_in, stand_in, rtol, atol)
