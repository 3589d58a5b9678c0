"""Reads the golden data: what MXNet 1.9.1 answered for one-operator symbols, networks and whole models.

    ops/<op>.json, <op>.npz                                     cases of one operator; arrays are "<nn>/<kind>/<name>"
    nets/<net>.json, .npz, -symbol.json [, -0003.params]        networks; arrays are "<kind>/<name>"
    nets/<net>-train.json, -trained.params                      15 steps of SGD with momentum
    models/<net>/<net>-symbol.json, -0000.params[.gz], -input.npy, -output.npy, -info.json [, -train.npz]
    api/api_traces.json                                         snippets of Python with their value, text or error
    float64/<net>.json                                          the training step of a model in float64

tests/data/conformance holds the part that comes with the repository; README.md there describes every key.
"""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).parents[1] / "data" / "conformance"


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of an archive whose names begin with `start`, by the rest of their names; read when first asked for,
    as every process of the tests collects all cases."""

    def __init__(self, path: pathlib.Path, start: str = "") -> None:
        self._path, self._start = path, start

    @cached_property
    def _read(self) -> dict[str, np.ndarray]:
        with np.load(self._path) as archive:
            return {k[len(self._start) :]: archive[k] for k in archive.files if k.startswith(self._start)}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


@dataclass(frozen=True)
class Case:
    """One recorded symbol.

    facts    what MXNet said about it: arguments, aux, outputs, infer_shape, grad_req, ...
    arrays   inputs and results by "<kind>/<name or index>": arg, aux, out, train_out, head, grad, grad_init, aux_after
    """

    name: str
    family: str
    symbol_json: str = field(repr=False)
    facts: dict[str, Any] = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)

    def by_name(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays of one kind: {name: array}."""
        start = kind + "/"
        return {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)}

    def by_index(self, kind: str) -> dict[int, np.ndarray]:
        """The arrays of one kind whose names are indices, in their order."""
        return {int(k): v for k, v in sorted(self.by_name(kind).items(), key=lambda item: int(item[0]))}


def op_cases(root: pathlib.Path = ROOT) -> Iterator[Case]:
    """Every case of `ops/` that is a symbol or an imperative update (`nd.*`), in order of names."""
    for path in sorted((root / "ops").glob("*.json")):
        for facts in json.loads(path.read_text()):
            arrays = Arrays(path.with_suffix(".npz"), f"{facts['id'].split('.')[-1]}/")
            yield Case(facts["id"], facts["op"], json.dumps(facts.get("symbol")), facts, arrays)


def net_cases(root: pathlib.Path = ROOT) -> Iterator[Case]:
    """Every network of `nets/`; the random graphs dag00, dag01 ... are one family."""
    for path in sorted((root / "nets").glob("*.npz")):
        facts = json.loads(path.with_suffix(".json").read_text())
        symbol = path.with_name(path.stem + "-symbol.json").read_text()
        yield Case(path.stem, path.stem.rstrip("0123456789"), symbol, facts, Arrays(path))


@dataclass(frozen=True)
class Training:
    """A recorded training run of a network: the optimizer's settings, the loss of each step, the final parameters."""

    case: Case
    settings: dict[str, Any]
    checkpoint: pathlib.Path
    trained: pathlib.Path


def trainings(root: pathlib.Path = ROOT) -> Iterator[Training]:
    """Every training run of `nets/`."""
    cases = {case.name: case for case in net_cases(root)}
    for path in sorted((root / "nets").glob("*-train.json")):
        name = path.name[: -len("-train.json")]
        files = (path.with_name(f"{name}-{end}.params") for end in ("0003", "trained"))
        yield Training(cases[name], json.loads(path.read_text()), *files)


@dataclass(frozen=True)
class Model:
    """A network with its parameters, an input and what came out.

    info      fingerprints of every internal output and, for some, of the gradients and states after a training step
    train     arrays of that step: output, head_grad, data_grad; empty where there is none
    float64   fingerprints of that step in float64, by part and name (see record_float64.py); empty where there are none
    """

    name: str
    folder: pathlib.Path
    info: dict[str, Any] = field(repr=False)
    input: np.ndarray = field(repr=False)
    output: np.ndarray = field(repr=False)
    train: dict[str, np.ndarray] = field(repr=False)
    float64: dict[str, dict[str, Any]] = field(repr=False)

    @property
    def symbol_path(self) -> pathlib.Path:
        return self.folder / f"{self.name}-symbol.json"

    def params_bytes(self) -> bytes:
        """The parameter file, unpacked."""
        plain = self.folder / f"{self.name}-0000.params"
        return plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_suffix(".params.gz").read_bytes())


def models(root: pathlib.Path = ROOT) -> Iterator[Model]:
    """Every model of `models/`."""
    for folder in sorted((root / "models").iterdir()):
        start = folder / folder.name
        train = pathlib.Path(f"{start}-train.npz")
        float64 = ROOT / "float64" / f"{folder.name}.json"
        yield Model(
            folder.name,
            folder,
            json.loads(pathlib.Path(f"{start}-info.json").read_text()),
            np.load(f"{start}-input.npy"),
            np.load(f"{start}-output.npy"),
            dict(np.load(train)) if train.exists() else {},
            json.loads(float64.read_text()) if float64.exists() else {},
        )


@dataclass(frozen=True)
class Snippet:
    """A recorded piece of Python; `error` is {"cls": ..., "message": ...} when MXNet raised one."""

    name: str
    category: str
    code: str = field(repr=False)
    has_value: bool = field(repr=False)
    value: Any = field(repr=False)
    stdout: str | None = field(repr=False)
    error: dict[str, Any] | None = field(repr=False)


def snippets(root: pathlib.Path = ROOT) -> Iterator[Snippet]:
    """Every snippet of `api/`, in the recorded order: some read what earlier ones wrote."""
    for c in json.loads((root / "api" / "api_traces.json").read_text()):
        yield Snippet(
            c["id"], c["cat"], c["code"], "value" in c, c.get("value"), c.get("stdout"), c.get("error") or None
        )
