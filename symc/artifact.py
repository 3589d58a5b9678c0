"""Compiled models in one file: `save` makes a .symc file, `load` opens one, `verify` proves it where it shall run.

    artifact.save("net.symc", symbol, arg_params, aux_params, {"data": (1, 3, 224, 224)})
    y, = artifact.load("net.symc").executor()(data=x)

A .symc file from somebody else is safe to load: its graph and weights are data, and its object code is used only when
the file carries a MAC made with your own key (which `save` does) or when you say `trust=True`.  Otherwise, and when the
code was made for another machine or by another version of symc, the kernels are compiled from the graph.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.codegen.objects import ObjectStore
from symc.codegen.tuned import preload
from symc.core.dtypes import dtype_name
from symc.core.errors import FormatError, SymcError, TrustError
from symc.core.shapes import FullShape
from symc.models.model import Model
from symc.ndarray import NDArray, load_frombuffer
from symc.ndarray.generator import seeded
from symc.ndarray.serialize import dumps
from symc.ops.control.custom import Custom
from symc.runtime.artifact import (
    FUNCTIONS,
    GOLDEN,
    KERNELS,
    MANIFEST,
    SYMBOL,
    WEIGHTS,
    Container,
    default_key_path,
    own_key,
    read_container,
    read_key,
    write_container,
)

from .context import current_context

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.symbol import Symbol

GOLDEN_SEED = 0

# How far an output may be from its record: |seen - recorded| <= relative * |recorded| + absolute * max |recorded|.
# Wider or narrower vectors than those of the recording machine add up in another order.
TOLERANCES = {"float16": (1e-2, 1e-2), "float32": (1e-4, 1e-5), "float64": (1e-9, 1e-10)}
EXACT = (0.0, 0.0)


@dataclass(frozen=True)
class Artifact:
    """An open .symc file.

    golden_inputs, golden_outputs  what `verify` replays
    objects                        object code by name where it will be used; empty = compiled from the graph
    note                           why it is used or not
    """

    path: Path
    model: Model
    golden_inputs: Mapping[str, NDArray] = field(repr=False)
    golden_outputs: Mapping[str, NDArray] = field(repr=False)
    objects: Mapping[str, bytes] = field(repr=False)
    note: str
    manifest: Mapping[str, Any] = field(repr=False)

    def executor(self) -> Executor:
        """An executor for predicting with the file's weights."""
        self.use_objects()
        return self.model.executor()

    def use_objects(self) -> None:
        """Makes the file's object code, as far as it may be used, take the place of compiling."""
        if self.objects:
            backend = current_context().device.backend
            ObjectStore(backend).preload(self.objects)
            preload(backend.facts()["target"], self.manifest.get("plans", {}))  # those that the object code is of


def save(
    path: str | Path,
    symbol: Symbol,
    arg_params: Mapping[str, NDArray],
    aux_params: Mapping[str, NDArray],
    shapes: Mapping[str, FullShape],
    key: str | Path | None = None,
    name: str = "",
) -> Artifact:
    """Compiles a model for predicting and writes it with its kernels, and with golden inputs and outputs.

    shapes  of the inputs
    key     a key file to sign with; None = the user's own key, which is made if need be

    Raises ArgumentError or ShapeError when parameters and shapes do not fit the symbol, TrustError for an unusable key.
    """
    path = Path(path)
    model = Model(name or path.stem, symbol, shapes, arg_params, aux_params)
    secret = own_key() if key is None else read_key(Path(key))
    executor = model.executor()
    inputs = model.sample_inputs(GOLDEN_SEED)
    outputs = _run(executor, inputs)
    compiled = executor.compiled()
    device = compiled.loaded.device
    functions = ObjectStore(device.backend).compile({}, device.runner.functions()).functions
    weights = {**{f"arg:{n}": a for n, a in arg_params.items()}, **{f"aux:{n}": a for n, a in aux_params.items()}}
    golden = {**{f"in:{n}": a for n, a in inputs.items()}, **{f"out:{n}": a for n, a in outputs.items()}}
    about = {
        "name": model.name,
        "made_by": versions(),
        "made_for": {"identity": compiled.backend.identity(), **compiled.backend.facts()},
        "plans": dict(compiled.lowered.plans),
        "inputs": [_describe(n, a) for n, a in inputs.items()],
        "outputs": [_describe(n, a) for n, a in outputs.items()],
    }
    custom = sorted({node.op.op_type for node in symbol.nodes() if isinstance(node.op, Custom)})
    if custom:
        about["custom_operators"] = custom  # written in Python, which the file does not hold
    parts = {
        SYMBOL: symbol.tojson().encode(),
        WEIGHTS: dumps(weights),
        GOLDEN: dumps(golden),
        **{f"{KERNELS}{kernel}.o": data for kernel, data in sorted(compiled.objects.items())},
        **{f"{FUNCTIONS}{name}.o": data for name, data in sorted(functions.items())},
    }
    write_container(path, about, parts, secret)
    return load(path, key=key)


def load(path: str | Path, trust: bool = False, key: str | Path | None = None) -> Artifact:
    """Opens a .symc file; nothing is compiled or run yet.

    trust  whether to use the file's object code without a proof of where it comes from
    key    the key file the MAC must have been made with; None = the user's own key

    Raises FormatError for a damaged file, TrustError when `key` is given and the file is not signed with it.
    """
    container = read_container(Path(path))
    symbol = _symbol(container)
    weights = _params(container, WEIGHTS, ("arg", "aux"))
    golden = _params(container, GOLDEN, ("in", "out"))
    _check_described(container, "inputs", golden["in"])
    _check_described(container, "outputs", golden["out"])
    shapes = {n: a.shape for n, a in golden["in"].items()}
    name = str(container.manifest.get("name", container.path.stem))
    model = Model(name, symbol, shapes, weights["arg"], weights["aux"])
    if not isinstance(container.manifest.get("plans", {}), dict):
        container.fail(MANIFEST, f"plans is {type(container.manifest['plans']).__name__}, expected an object")
    objects, note = _usable_objects(container, trust, key)
    return Artifact(container.path, model, golden["in"], golden["out"], objects, note, container.manifest)


@dataclass(frozen=True)
class OutputCheck:
    """One output against its recording: the largest deviation, and how much of its tolerance the worst element uses."""

    name: str
    shape: FullShape
    dtype: str
    largest_error: float
    tolerance_used: float

    @property
    def is_right(self) -> bool:
        return self.tolerance_used <= 1


@dataclass(frozen=True)
class Verification:
    """What `verify` found; prints as a report."""

    artifact: Artifact
    checks: tuple[OutputCheck, ...]

    @property
    def is_right(self) -> bool:
        return all(c.is_right for c in self.checks)

    def __str__(self) -> str:
        lines = [
            f"{self.artifact.path}: every part is as the manifest says (SHA-256)",
            f"kernels: {self.artifact.note}",
        ]
        for c in self.checks:
            relative, absolute = TOLERANCES.get(c.dtype, EXACT)
            bound = f"rtol {relative:g}, atol {absolute:g} x max" if relative else "exact"
            verdict = "right" if c.is_right else "WRONG"
            lines.append(
                f"output {c.name} {c.dtype} {c.shape}: {verdict}; largest error {c.largest_error:.2e}, "
                f"{c.tolerance_used:.1%} of the tolerance ({bound})"
            )
        verb = "gives" if self.is_right else "does NOT give"
        return "\n".join([*lines, f"the model {verb} the recorded outputs on this machine"])


def verify(path: str | Path, trust: bool = False, key: str | Path | None = None) -> Verification:
    """Replays the golden inputs of a .symc file on this machine and compares the outputs with the recorded ones.

    Raises what `load` raises; a wrong output is not an exception but a result.
    """
    artifact = load(path, trust, key)
    outputs = _run(artifact.executor(), artifact.golden_inputs)
    checks = []
    for name, recorded in artifact.golden_outputs.items():
        seen = outputs.get(name)
        if seen is None or seen.shape != recorded.shape or seen.dtype != recorded.dtype:
            got = "none" if seen is None else _describe(name, seen)
            raise FormatError(f"{path}: {GOLDEN}: output {_describe(name, recorded)}, the graph gives {got}")
        checks.append(_compare(name, seen.asnumpy(), recorded.asnumpy()))
    return Verification(artifact, tuple(checks))


def _compare(name: str, seen: np.ndarray, recorded: np.ndarray) -> OutputCheck:
    relative, absolute = TOLERANCES.get(recorded.dtype.name, EXACT)
    a, b = seen.astype(np.float64), recorded.astype(np.float64)
    is_same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(is_same, 0.0, np.abs(a - b))
    error[np.isnan(error)] = np.inf  # a NaN or an infinity on one side only
    finite = np.abs(b[np.isfinite(b)])
    allowed = relative * np.where(np.isfinite(b), np.abs(b), 0.0) + absolute * finite.max(initial=0.0)
    used = np.divide(error, allowed, out=np.where(error > 0, np.inf, 0.0), where=allowed > 0)
    worst, most = float(error.max(initial=0.0)), float(used.max(initial=0.0))
    return OutputCheck(name, recorded.shape, recorded.dtype.name, worst, most)


def _run(executor: Executor, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
    with seeded(GOLDEN_SEED):
        return dict(zip(executor._symbol.list_outputs(), executor(**inputs)))


def _describe(name: str, array: NDArray) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "dtype": dtype_name(array.dtype)}


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("symc", "numba", "llvmlite", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


# -- reading ----------------------------------------------------------------------------------------------------------


def _part(container: Container, name: str) -> bytes:
    if name not in container.parts:
        container.fail(name, "missing")
    return container.parts[name]


def _symbol(container: Container) -> Symbol:
    from symc.symbol.json import read

    try:
        text = _part(container, SYMBOL).decode("utf-8")
    except UnicodeDecodeError as error:
        container.fail(SYMBOL, f"byte {error.start} is not UTF-8")
    return read(text, f"{container.path}: {SYMBOL}")


def _params(container: Container, part: str, kinds: tuple[str, str]) -> dict[str, dict[str, NDArray]]:
    """Arrays by kind and name; their keys are `kind:name`."""
    try:
        arrays = load_frombuffer(_part(container, part))
    except SymcError as error:
        container.fail(part, str(error).removeprefix("<buffer>: "))
    found: dict[str, dict[str, NDArray]] = {kind: {} for kind in kinds}
    for key, array in (arrays if isinstance(arrays, dict) else {}).items():
        kind, _, name = key.partition(":")
        if kind not in found or not name:
            container.fail(part, f"array {key[:80]!r}, expected names that begin with {kinds[0]}: or {kinds[1]}:")
        found[kind][name] = array
    return found


def _check_described(container: Container, field_name: str, arrays: Mapping[str, NDArray]) -> None:
    described = container.manifest.get(field_name)
    seen = [_describe(n, a) for n, a in arrays.items()]
    if described != seen or not seen:
        container.fail(GOLDEN, f"its {field_name} are {seen}, expected {described!r} by the manifest")


def _usable_objects(container: Container, trust: bool, key: str | Path | None) -> tuple[dict[str, bytes], str]:
    """The object code that may be used and fits this machine; and a sentence about it."""
    codes = {name: data for name, data in container.parts.items() if name.startswith((KERNELS, FUNCTIONS))}
    objects = {Path(name).stem: data for name, data in codes.items()}
    n_kernels = sum(name.startswith(KERNELS) for name in codes)
    reason, doubt = _proof(container, trust, key)
    if reason is None:
        return {}, f"compiled from the graph: the file's object code carries no proof that you made it{doubt}"
    made_for = container.manifest.get("made_for")
    identity = made_for.get("identity") if isinstance(made_for, dict) else None
    if not isinstance(identity, str) or not current_context().device.backend.takes(identity):
        return {}, "compiled from the graph: the file's object code was made for another machine or by another version"
    return objects, f"object code of the file ({n_kernels} kernels), {reason}"


def _proof(container: Container, trust: bool, key: str | Path | None) -> tuple[str | None, str]:
    """Why the file's code may be run, None when nothing says so; and what is wrong with the user's own key."""
    doubt = ""
    if key is not None:
        if container.is_signed_with(read_key(Path(key))):
            return f"signed with {key}", doubt
        if not trust:
            state = "not signed" if container.mac is None else "signed with another key"
            raise TrustError(f"{container.path}: {state}; expected a MAC made with {key}")
    elif container.mac is not None and os.path.lexists(default_key_path()):
        try:
            if container.is_signed_with(read_key(default_key_path())):
                return "signed with your key", doubt
        except TrustError as error:  # a key that others know proves nothing; the graph can be compiled all the same
            doubt = f" ({error})"
    return ("which you said to trust" if trust else None), doubt
