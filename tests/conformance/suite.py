"""All checks, by kind and family, and what became of them; the command and the tests run the same ones."""

from __future__ import annotations

import functools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import api, golden, legacy, replay, threads
from .draws import replay as draws

# Where symc is known to differ from MXNet, and why. The tests demand that a check that passes is taken out.
KNOWN = {
    "elemwise_add.02": "grad_req add of both inputs: MXNet adds the first one's old content to the second as well",
    "infer.01": "MXNet 1.9.1 fails on shapes given by position, which its documentation promises; symc takes them",
    "infer.15": "MXNet gives 6 elements reshaped to (-1, 7) the extent 0 and drops the data; symc refuses",
    "gluon.15": "reads a file that a snippet wrote which is not part of the recording; MXNet fails as well",
    "module.05": "a batch of another size without labels: MXNet refuses it for the label's shape; symc predicts",
    "dag54": "MXNet's clip writes the gradient of its input also when grad_req is add",
}


MISSING = "is not there yet"


class Check(NamedTuple):
    """One check: `run` raises when the peer differs from MXNet."""

    family: str
    name: str
    run: Callable[[], None]


def checks_of_ops(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for case in golden.op_cases(root):
        yield Check(case.family, case.name, functools.partial(replay.check_op, mx, case))


def checks_of_nets(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for case in golden.net_cases(root):
        yield Check(case.family, case.name, functools.partial(replay.check_net, mx, case))


def checks_of_models(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for model in golden.models(root):
        parts = {"output": replay.check_model_output, "internals": replay.check_model_internals}
        if model.train:
            parts["training"] = replay.check_model_training
        if model.float64:
            parts["training in float64"] = replay.check_model_training_float64
        for part, check in parts.items():
            yield Check(model.name, f"{model.name} {part}", functools.partial(check, mx, model))


def checks_of_train(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for training in golden.trainings(root):
        name = training.case.name
        yield Check(name, name, functools.partial(replay.check_training, mx, training))


def checks_of_api(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for snippet in golden.snippets(root):
        yield Check(snippet.category, snippet.name, functools.partial(api.check_snippet, mx, snippet))


def checks_of_legacy(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    return (Check(*part) for part in legacy.parts(mx, root))


def checks_of_threads(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    for name in threads.NETWORKS:
        check = functools.partial(threads.check_shared_executor, mx, name, n_threads=8, n_calls=1000)
        yield Check(name, f"{name} 8 threads, 1000 calls each", check)


def checks_of_draws(mx: Any, root: pathlib.Path) -> Iterator[Check]:
    return (Check(*part) for part in draws.parts(mx, root / "draws"))


KINDS: dict[str, Callable[[Any, pathlib.Path], Iterator[Check]]] = {
    "ops": checks_of_ops,
    "nets": checks_of_nets,
    "models": checks_of_models,
    "train": checks_of_train,
    "api": checks_of_api,
    "legacy": checks_of_legacy,
    "threads": checks_of_threads,
    "draws": checks_of_draws,
}


@dataclass
class Tally:
    """What became of the checks of one family; `failed` says what differs, `missing` needs what is not there yet."""

    n_passed: int = 0
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def n_total(self) -> int:
        """Passed and failed."""
        return self.n_passed + len(self.failed)

    def add(self, name: str, why: str | None) -> None:
        """Files what `outcome` gave for a check."""
        if why is None:
            self.n_passed += 1
        elif why == MISSING:
            self.missing.append(name)
        else:
            self.failed[name] = why


def outcome(check: Check, mx: Any) -> str | None:
    """Runs a check: None when it passes, MISSING, or what differs."""
    try:
        check.run()
    except Exception as error:  # whatever a peer does wrong is a result
        return MISSING if is_missing(mx, error) else one_line(error)
    return None


def tally(checks: Iterable[Check], mx: Any, kept: pathlib.Path | None = None) -> dict[str, Tally]:
    """Runs checks; the results by family. `kept` gets a line for each; those with a line there do not run again."""
    found: dict[str, Tally] = {}
    lines = kept.read_text().splitlines() if kept is not None and kept.exists() else []
    over: dict[str, str | None] = dict(map(json.loads, lines))
    for check in checks:
        if check.name not in over:
            over[check.name] = outcome(check, mx)
            if kept is not None:
                with kept.open("a") as file:
                    print(json.dumps([check.name, over[check.name]]), file=file)
        found.setdefault(check.family, Tally()).add(check.name, over[check.name])
    return found


def is_missing(mx: Any, error: Exception) -> bool:
    """Whether the peer said that it does not have an operator, a module, a function or a method yet."""
    if isinstance(error, AttributeError):
        absent = rf"module '{mx.__name__}[\w.]*' has no attribute|'NDArray' object has no attribute"
        return re.match(absent, str(error)) is not None
    return type(error).__name__ == "UnknownOperatorError"


def one_line(error: Exception) -> str:
    """The first line of an error, with its class unless it is a Mismatch."""
    first = (str(error).strip() or "no message").splitlines()[0][:200]
    return first if isinstance(error, replay.Mismatch) else f"{type(error).__name__}: {first}"


def expect_all_pass(checks: Iterable[Check], mx: Any) -> None:
    """Raises AssertionError unless exactly the checks in KNOWN fail and nothing is missing."""
    listed = list(checks)
    families = tally(listed, mx).values()
    failed = {name: why for t in families for name, why in t.failed.items()}
    unexpected = [f"{name}: {why}" for name, why in failed.items() if name not in KNOWN]
    unexpected += [f"{name}: an operator is missing" for t in families for name in t.missing]
    fixed = [c.name for c in listed if c.name in KNOWN and c.name not in failed]
    unexpected += [f"{name}: passes; take it out of KNOWN" for name in fixed]
    if unexpected:
        raise AssertionError("\n".join(unexpected))
