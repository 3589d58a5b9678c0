"""Runs one recorded case against a peer (symc, or MXNet itself, which proves these checks); a difference is raised."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from .compare import Mismatch, expect_close, expect_equal, expect_fingerprint, expect_near, expect_norm, is_loose
from .golden import Case, Model, Training

# Fingerprints, see `expect_fingerprint`. Measured: internals of resnet18_v2 differ by 1e-6 at most.
FLOAT32_TOLERANCE = 1e-4
FLOAT64_TOLERANCE = 1e-7
# One value that rounding moves across a ReLU's kink changes gradients by this much. Measured against float64, where
# none moves: MXNet's own of mobilenet0.25 are up to 1 % off in norm, 9 % of the root mean square in single values.
KINK_TOLERANCE = 0.04
KINK_TOLERANCE_OF_VALUES = 0.2


def check_op(mx: Any, case: Case) -> dict[str, np.ndarray]:
    """Lists, inference, results in both modes, gradients, states, refused gradients of a one-operator symbol.

    Gives the results, none of an imperative operator.
    """
    if case.facts.get("imperative"):
        check_update(mx, case)
        return {}
    symbol, found = mx.sym.load_json(case.symbol_json), {}
    if case.by_name("out"):  # first: what a peer lacks it says when it is to run
        found = check_run(mx, symbol, case, is_loose(case.family))
    check_facts(mx, symbol, case)
    types = symbol.infer_type(**{n: a.dtype for n, a in case.by_name("arg").items()})
    expect_equal("infer_type", [_names_of(part) for part in types], case.facts["infer_type"])
    if case.facts.get("grad_error"):
        check_refused(mx, symbol, case)
    return found


def check_net(mx: Any, case: Case) -> dict[str, np.ndarray]:
    """As `check_op`, with the list of internals and all attributes."""
    symbol = mx.sym.load_json(case.symbol_json)
    check_facts(mx, symbol, case)
    expect_equal("internals", symbol.get_internals().list_outputs(), case.facts["internals"])
    expect_equal("attr_dict", symbol.attr_dict(), case.facts["attr_dict"])
    expect_equal("debug_str", symbol.debug_str(), case.facts["debug_str"])
    return check_run(mx, symbol, case, loose=True)


def check_facts(mx: Any, symbol: Any, case: Case) -> None:
    """Names and shapes."""
    facts = case.facts
    expect_equal("arguments", symbol.list_arguments(), facts["arguments"])
    expect_equal("aux", symbol.list_auxiliary_states(), facts["aux"])
    expect_equal("outputs", symbol.list_outputs(), facts["outputs"])
    if facts["given_shapes"] and facts["infer_shape"]:
        found = symbol.infer_shape(**{n: tuple(s) for n, s in facts["given_shapes"].items()})
        expect_equal("infer_shape", [part and [list(s) for s in part] for part in found], facts["infer_shape"])


def check_run(mx: Any, symbol: Any, case: Case, loose: bool) -> dict[str, np.ndarray]:
    """Outputs of both modes, gradients with the recorded requests, states after predicting and after training."""
    found = results(mx, symbol, case)
    for name, want in _expected(case).items():
        expect_close(name, found[name], want, loose)
    for name, before in case.by_name("aux").items():
        expect_close(f"state {name} after predicting", found[f"state {name} after predicting"], before)
    return found


def results(mx: Any, symbol: Any, case: Case) -> dict[str, np.ndarray]:
    """What a case leaves in both modes, as messages name it."""
    executor = bind(mx, symbol, case)
    outputs = executor.forward(is_train=False)
    found = {f"output {k}": array.asnumpy() for k, array in enumerate(outputs)}
    found |= {f"state {n} after predicting": array.asnumpy() for n, array in executor.aux_dict.items()}
    if not case.by_name("train_out") and not case.by_name("grad"):
        return found
    executor = bind(mx, symbol, case)
    outputs = executor.forward(is_train=True)
    found |= {f"training output {k}": array.asnumpy() for k, array in enumerate(outputs)}
    if not case.by_name("grad"):
        return found
    executor.backward([nd(mx, head) for head in case.by_index("head").values()] or None)
    found |= {f"gradient of {n}": executor.grad_dict[n].asnumpy() for n in case.by_name("grad")}
    return found | {f"state {n}": array.asnumpy() for n, array in executor.aux_dict.items()}


def _expected(case: Case) -> dict[str, np.ndarray]:
    """What MXNet left, by the names of `results`."""
    names = {"out": "output", "train_out": "training output", "grad": "gradient of", "aux_after": "state"}
    return {f"{name} {key}": want for kind, name in names.items() for key, want in case.by_name(kind).items()}


def check_refused(mx: Any, symbol: Any, case: Case) -> None:
    """MXNet refuses a gradient for every input at once, with the recorded kind of request."""
    req = "add" if "add" in case.facts["grad_req"].values() else "write"
    try:
        executor = bind(mx, symbol, case, dict.fromkeys(case.facts["arguments"], req))
        executor.forward(is_train=True)
        executor.backward([nd(mx, np.ones(o.shape, o.dtype)) for o in executor.outputs])
        [g.asnumpy() for g in executor.grad_arrays]
    except mx.base.MXNetError:
        return
    raise Mismatch(f"grad_req={req!r} for every input was accepted; MXNet: {case.facts['grad_error'][:80]}")


def check_update(mx: Any, case: Case) -> None:
    """An imperative operator that changes some of its inputs in place, such as an optimizer's update."""
    inputs = {name: nd(mx, a) for name, a in case.by_name("arg").items()}
    function = getattr(mx.nd, case.family[len("nd.") :])
    result = function(*[inputs[n] for n in case.facts["arguments"]], **case.facts["params"])
    results = result if isinstance(result, (list, tuple)) else [result]
    for k, want in case.by_index("out").items():
        expect_close(f"output {k}", results[k].asnumpy(), want)
    for name, want in case.by_name("arg_after").items():
        expect_close(f"input {name} afterwards", inputs[name].asnumpy(), want)


def bind(mx: Any, symbol: Any, case: Case, grad_req: Mapping[str, str] | None = None) -> Any:
    """An executor over fresh copies of the case's arrays, with its own gradient requests or the given ones."""
    args = {n: nd(mx, a) for n, a in case.by_name("arg").items()}
    aux = {n: nd(mx, a) for n, a in case.by_name("aux").items()}
    recorded = case.by_name("grad")
    if grad_req is None:
        asked = case.facts.get("grad_req") or {}
        grad_req = {n: asked.get(n, "write") if n in recorded else "null" for n in symbol.list_arguments()}
    start = case.by_name("grad_init")
    grads = {
        n: nd(mx, start[n]) if n in start else mx.nd.zeros(args[n].shape, dtype=args[n].dtype)
        for n in args
        if grad_req[n] != "null"
    }
    return symbol.bind(mx.current_context(), args, args_grad=grads, grad_req=dict(grad_req), aux_states=aux)


def check_model_output(mx: Any, model: Model) -> None:
    """The output for the recorded input."""
    symbol, args, aux = load_model(mx, model)
    executor = symbol.bind(mx.cpu(), args, aux_states=aux, grad_req="null")
    expect_near("output", executor.forward(is_train=False)[0].asnumpy(), model.output, 1e-4, 1e-5)


def check_model_internals(mx: Any, model: Model) -> None:
    """The fingerprint of every internal output, all of them heads of one program."""
    symbol, args, aux = load_model(mx, model)
    internals = symbol.get_internals()
    names = [n for n in internals.list_outputs() if n in model.info["internals"]]
    expect_equal("internals", names, list(model.info["internals"]))
    group = mx.sym.Group([internals[n] for n in names])
    executor = group.bind(mx.cpu(), args, aux_states=aux, grad_req="null")
    for name, array in zip(names, executor.forward(is_train=False)):
        expect_fingerprint(name, array.asnumpy(), model.info["internals"][name], FLOAT32_TOLERANCE)


def check_model_training(mx: Any, model: Model) -> None:
    """One training step in float32: output, the gradient of the input and of every parameter, the states after it."""
    step = training_step(mx, model, "float32")
    recorded = model.info["train"]
    expect_near("training output", step["output"]["output"], model.train["output"], 1e-4, 1e-4)
    expect_norm("gradient of data", step["grads"]["data"], model.train["data_grad"], KINK_TOLERANCE)
    for name, want in recorded["grads"].items():
        expect_fingerprint(f"gradient of {name}", step["grads"][name], want, KINK_TOLERANCE, KINK_TOLERANCE_OF_VALUES)
    for name, want in recorded["aux_after"].items():
        expect_fingerprint(f"state {name}", step["aux_after"][name], want, FLOAT32_TOLERANCE)


def check_model_training_float64(mx: Any, model: Model) -> None:
    """The same step in float64, where rounding moves no value across a kink, against MXNet's in float64."""
    step = training_step(mx, model, "float64")
    for part, recorded in model.float64.items():
        for name, want in recorded.items():
            expect_fingerprint(f"{part} {name}", step[part][name], want, FLOAT64_TOLERANCE)


def training_step(mx: Any, model: Model, dtype: str) -> dict[str, dict[str, np.ndarray]]:
    """What one forward and backward leave: {"output": ..., "grads": by argument, "aux_after": by state}."""
    symbol, args, aux = load_model(mx, model)
    args, aux = ({n: a.astype(dtype) for n, a in arrays.items()} for arrays in (args, aux))
    grads = {n: mx.nd.zeros(a.shape, dtype=dtype) for n, a in args.items()}
    executor = symbol.bind(mx.cpu(), args, args_grad=grads, grad_req="write", aux_states=aux)
    output = executor.forward(is_train=True)[0].asnumpy()
    executor.backward([mx.nd.array(model.train["head_grad"], dtype=dtype)])
    left = {"grads": grads, "aux_after": executor.aux_dict}
    return {"output": {"output": output}, **{k: {n: a.asnumpy() for n, a in v.items()} for k, v in left.items()}}


def load_model(mx: Any, model: Model) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Symbol, arguments with the recorded input as `data`, and auxiliary states."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.params")
        with open(path, "wb") as file:
            file.write(model.params_bytes())
        params = mx.nd.load(path)
    args, aux = (_of_kind(params, kind) for kind in ("arg:", "aux:"))
    args["data"] = nd(mx, model.input)
    return mx.sym.load(str(model.symbol_path)), args, aux


def check_training(mx: Any, training: Training) -> None:
    """Trains by a hand-written SGD from the recorded checkpoint to MXNet's losses and final parameters."""
    case, settings = training.case, training.settings
    symbol = mx.sym.load_json(case.symbol_json)
    args = {n: nd(mx, a) for n, a in case.by_name("arg").items()}
    args.update(_of_kind(mx.nd.load(str(training.checkpoint)), "arg:"))
    (label,) = (n for n in args if n.endswith("label"))
    names = [n for n in symbol.list_arguments() if n not in ("data", label)]
    grads = {n: mx.nd.zeros(args[n].shape) for n in names}
    executor = symbol.bind(mx.current_context(), args, args_grad=grads, grad_req=dict.fromkeys(names, "write"))
    update = Sgd(settings)
    rows = np.arange(args[label].shape[0]), args[label].asnumpy().astype(int)
    losses = []
    for _ in range(settings["steps"]):
        chosen = executor.forward(is_train=True)[0].asnumpy()[rows]
        losses.append(-np.log(chosen).mean())
        executor.backward()
        for name in names:
            update(name, args[name], grads[name].asnumpy())
    expect_near("loss", losses, np.array(settings["loss"]), 1e-4, 1e-7)
    for name, want in _of_kind(mx.nd.load(str(training.trained)), "arg:").items():
        expect_near(f"trained {name}", args[name].asnumpy(), want.asnumpy(), 1e-4, 1e-5)


class Sgd:
    """m = momentum * m - lr * (rescale * gradient + wd * w); w += m.  As mx.optimizer, biases have no weight decay."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.momenta: dict[str, np.ndarray] = {}

    def __call__(self, name: str, weight: Any, gradient: np.ndarray) -> None:
        """Changes `weight` in place."""
        s = self.settings
        old = weight.asnumpy()
        decay = s["wd"] if name.endswith("_weight") else 0.0
        step = s["learning_rate"] * (s["rescale_grad"] * gradient + decay * old)
        self.momenta[name] = s["momentum"] * self.momenta.get(name, np.zeros_like(old)) - step
        weight[:] = old + self.momenta[name]


def nd(mx: Any, array: np.ndarray) -> Any:
    """An NDArray of the same dtype."""
    return mx.nd.array(array, dtype=array.dtype)


def _of_kind(params: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {n[len(kind) :]: a for n, a in params.items() if n.startswith(kind)}


def _names_of(dtypes: Any) -> Any:
    return dtypes and [None if d is None else np.dtype(d).name for d in dtypes]
