"""Checks of symbols: outputs and gradients against expected arrays, gradients against central differences."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.context import Context
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray, array
from symc.ndarray.ndarray import as_numpy

from .compare import assert_almost_equal, default_numeric_eps, get_tolerance
from .scopes import default_context

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.symbol import Symbol

Arrays = Mapping[str, Any] | Sequence[Any]


def simple_forward(sym: Symbol, ctx: Context | None = None, is_train: bool = False, **inputs: Any) -> Any:
    """The outputs of a symbol as NumPy arrays; one alone for one output."""
    executor = sym.bind(ctx or default_context(), args={k: array(v) for k, v in inputs.items()})
    outputs = [o.asnumpy() for o in executor.forward(is_train=is_train)]
    return outputs[0] if len(outputs) == 1 else outputs


def check_symbolic_forward(
    sym: Symbol,
    location: Arrays,
    expected: Arrays,
    rtol: Any = None,
    atol: Any = None,
    aux_states: Arrays | None = None,
    ctx: Context | None = None,
    equal_nan: bool = False,
    dtype: Any = np.float32,
) -> list[NDArray]:
    """Asserts that a symbol's outputs at `location` are those expected; gives the outputs.

    location, expected and aux_states are by name or in the order of the symbol's lists. dtype is that of the arrays,
    "asnumpy" keeps those given.
    """
    ctx = ctx or default_context()
    args = _named(sym.list_arguments(), location, ctx, dtype)
    states = _named(sym.list_auxiliary_states(), aux_states or [], ctx, dtype)
    executor = sym.bind(ctx, args=args, aux_states=states, grad_req="null")
    outputs = executor.forward(is_train=False)
    wanted = [expected[n] for n in sym.list_outputs()] if isinstance(expected, Mapping) else expected
    for name, right, output in zip(sym.list_outputs(), wanted, outputs):
        assert_almost_equal(right, output, rtol, atol, (f"EXPECTED_{name}", f"FORWARD_{name}"), equal_nan)
    return outputs


def check_symbolic_backward(
    sym: Symbol,
    location: Arrays,
    out_grads: Any,
    expected: Arrays,
    rtol: Any = None,
    atol: Any = None,
    aux_states: Arrays | None = None,
    grad_req: Any = "write",
    ctx: Context | None = None,
    grad_stypes: Any = None,
    equal_nan: bool = False,
    dtype: Any = np.float32,
) -> dict[str, NDArray]:
    """Asserts that a symbol's gradients at `location` are those expected; gives the gradients.

    With grad_req "add" what is added must be as expected; with "null" the array must stay as it was.
    """
    _require_dense(grad_stypes)
    ctx = ctx or default_context()
    names = sym.list_arguments()
    args = _named(names, location, ctx, dtype)
    wanted = dict(expected) if isinstance(expected, Mapping) else dict(zip(names, expected))
    before = {n: np.random.normal(size=np.shape(wanted[n])) for n in sorted(wanted)}
    grads = {n: array(v, ctx, wanted[n].dtype if _is_kept(dtype) else dtype) for n, v in before.items()}
    reqs = _reqs(names, grad_req)
    states = _named(sym.list_auxiliary_states(), aux_states or [], ctx, dtype)
    executor = sym.bind(ctx, args=args, args_grad=grads, grad_req=reqs, aux_states=states)
    executor.forward(is_train=True)
    executor.backward(_arrays(out_grads, ctx, dtype))
    for name, right in wanted.items():
        _check_gradient(reqs[name], right, grads[name], before[name], rtol, atol, ("EXPECTED", name), equal_nan)
    return grads


def check_numeric_gradient(
    sym: Symbol,
    location: Arrays,
    aux_states: Arrays | None = None,
    numeric_eps: Any = None,
    rtol: Any = None,
    atol: Any = None,
    grad_nodes: Any = None,
    use_forward_train: bool = True,
    ctx: Context | None = None,
    grad_stype_dict: Any = None,
    dtype: Any = np.float32,
) -> None:
    """Asserts that a symbol's gradients are its central differences, of a random projection of its first output.

    grad_nodes   the arguments to check, all by default, or a dict of them to their grad_req
    """
    from symc import symbol

    _require_dense(grad_stype_dict)
    ctx = ctx or default_context()
    names = sym.list_arguments()
    args = _named(names, location, ctx, dtype)
    states = _named(sym.list_auxiliary_states(), aux_states or [], ctx, dtype)
    reqs = dict(grad_nodes) if isinstance(grad_nodes, Mapping) else dict.fromkeys(grad_nodes or names, "write")
    _, out_shapes, _ = sym.infer_shape(**{n: a.shape for n, a in args.items()})
    assert out_shapes is not None, "the location does not decide the shape of the output"
    out = symbol.make_loss(sym * symbol.Variable("__random_proj"))
    args["__random_proj"] = array(np.random.rand(*out_shapes[0]) + 0.1, ctx, dtype)
    before = {n: np.random.normal(0, 0.01, args[n].shape) for n in reqs}
    grads = {n: array(v, ctx, dtype) for n, v in before.items()}
    executor = out.bind(ctx, args=args, args_grad=grads, grad_req=reqs, aux_states=states)
    executor.forward(is_train=True)
    eps = get_tolerance(executor.outputs[0], numeric_eps, default_numeric_eps())
    executor.backward()
    found = {n: g.asnumpy() for n, g in grads.items()}
    numeric = numeric_grad(
        executor, {n: a.asnumpy() for n, a in args.items()}, {n: s.asnumpy() for n, s in states.items()}, eps,
        use_forward_train, dtype,
    )  # fmt: skip
    for name, req in reqs.items():
        _check_gradient(req, numeric[name], found[name], before[name], rtol, atol, ("NUMERICAL", name), False)


def numeric_grad(
    executor: Executor,
    location: Mapping[str, Any],
    aux_states: Mapping[str, Any] | None = None,
    eps: float = 1e-4,
    use_forward_train: bool = True,
    dtype: Any = np.float32,
) -> dict[str, np.ndarray]:
    """Central differences of the sum of the first output, by argument."""
    found = {}
    for name, at in location.items():
        at = np.array(at, order="C")
        found[name] = np.zeros(at.shape, dtype)
        if at.dtype.kind != "f":
            continue

        def value(name: str = name, at: np.ndarray = at) -> np.ndarray:
            executor.arg_dict[name][:] = at
            for state, contents in (aux_states or {}).items():
                executor.aux_dict[state][:] = contents
            return executor.forward(is_train=use_forward_train)[0].asnumpy()

        flat = at.reshape(-1)
        for k in range(flat.size):
            middle = flat[k]
            flat[k] = middle + eps / 2
            above = value()
            flat[k] = middle - eps / 2
            found[name].reshape(-1)[k] = (above - value()).sum() / eps
            flat[k] = middle
        executor.arg_dict[name][:] = at
    return found


def _check_gradient(
    req: str, right: Any, grad: Any, before: np.ndarray, rtol: Any, atol: Any, what: tuple[str, str], equal_nan: bool
) -> None:
    kind, name = what
    labels = (f"{kind}_{name}", f"BACKWARD_{name}")
    if req == "write":
        assert_almost_equal(right, grad, rtol, atol, labels, equal_nan)
    elif req == "add":
        assert_almost_equal(right, as_numpy(grad) - before, rtol, atol, labels, equal_nan)
    elif req == "null":
        assert_almost_equal(before, grad, rtol, atol, labels, equal_nan)
    else:
        raise ArgumentError(f"Invalid grad_req {req} for argument {name}")


def _named(names: Sequence[str], given: Arrays, ctx: Context, dtype: Any) -> dict[str, NDArray]:
    """NDArrays by name from arrays by name or in order."""
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ArgumentError(
                f"Symbol arguments and keys of the given location do not match: {sorted(names)} and {sorted(given)}"
            )
    else:
        given = dict(zip(names, given))
    return {n: _array(given[n], ctx, dtype) for n in names if n in given}


def _arrays(given: Any, ctx: Context, dtype: Any) -> Any:
    if isinstance(given, Mapping):
        return {n: _array(v, ctx, dtype) for n, v in given.items()}
    return None if given is None else [_array(v, ctx, dtype) for v in given]


def _array(value: Any, ctx: Context, dtype: Any) -> NDArray:
    if isinstance(value, NDArray):
        return value
    value = np.asarray(value)
    return array(value, ctx, value.dtype if _is_kept(dtype) else dtype)


def _is_kept(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype == "asnumpy"


def _reqs(names: Sequence[str], grad_req: Any) -> dict[str, str]:
    if isinstance(grad_req, str):
        return dict.fromkeys(names, grad_req)
    return dict(grad_req) if isinstance(grad_req, Mapping) else dict(zip(names, grad_req))


def _require_dense(stypes: Mapping[str, str | None] | None) -> None:
    sparse = [n for n, kind in (stypes or {}).items() if kind not in (None, "default")]
    if sparse:
        raise ArgumentError(f"gradients of {', '.join(sparse)}: only dense storage is supported")


def check_speed(
    sym: Symbol,
    location: Mapping[str, Any] | None = None,
    ctx: Context | None = None,
    N: int = 20,
    grad_req: str | None = None,
    typ: str = "whole",
    **kwargs: Any,
) -> float:
    """Seconds a run takes: forward and backward ("whole"), or forward alone ("forward")."""
    if typ not in ("whole", "forward"):
        raise ArgumentError(f"typ can only be 'whole' or 'forward', got {typ!r}")
    ctx = ctx or default_context()
    shapes = {n: np.shape(v) for n, v in location.items()} if location else kwargs
    executor = sym.simple_bind(ctx, grad_req=(grad_req or "write") if typ == "whole" else "null", **shapes)
    for name, a in executor.arg_dict.items():
        a[:] = location[name] if location else np.random.normal(size=a.shape)

    def run() -> None:
        outputs = executor.forward(is_train=typ == "whole")
        if typ == "whole":
            executor.backward(outputs)

    run()
    start = time.perf_counter()
    for _ in range(N):
        run()
    return (time.perf_counter() - start) / N


def same_symbol_structure(sym1: Symbol, sym2: Symbol) -> bool:
    """Whether two symbols have the same operators in the same order."""
    return _operators(sym1) == _operators(sym2)


def _operators(sym: Symbol) -> list[str]:
    nodes: Iterable[Mapping[str, str]] = json.loads(sym.tojson())["nodes"]
    return [node["op"] for node in nodes]
