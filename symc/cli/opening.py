"""What MODEL means: a .symc file, a -symbol.json file, a prefix, or the name of a built-in network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from symc.core.errors import FormatError
from symc.core.shapes import FullShape, size_of

from .arrays import load_arrays
from .importing import add_import_argument, import_files
from .naming import split_params
from .report import UsageError, progress

if TYPE_CHECKING:
    from symc.artifact import Artifact
    from symc.executor import Executor
    from symc.models import Model
    from symc.ndarray import NDArray
    from symc.symbol import Symbol

MAX_INPUT_SIZE = 1 << 40  # elements; what no machine holds is refused before anything reckons with it


@dataclass(frozen=True)
class Opened:
    """A model from the command line.

    weights  where they come from; None = it has none
    seed     of random weights, which `ready` draws
    """

    model: Model
    weights: str | None
    seed: int | None = None
    artifact: Artifact | None = None

    def executor(self) -> Executor:
        """An executor for predicting."""
        if self.artifact is not None:
            self.artifact.use_objects()
        return self.model.executor()


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and the options that belong to it."""
    parser.add_argument("model", metavar="MODEL", help=".symc file, -symbol.json file, prefix, or built-in network")
    group = parser.add_argument_group("model")
    add_import_argument(group)
    group.add_argument("--params", metavar="FILE", help="parameters of a -symbol.json file")
    group.add_argument("--epoch", type=count, metavar="N", help="which PREFIX-000N.params belongs to a prefix")
    group.add_argument(
        "--shape",
        type=_shape,
        action="append",
        default=[],
        metavar="NAME=N,C,H,W",
        help="shape of an input; repeatable",
    )
    group.add_argument("--batch", type=positive, metavar="N", help="first extent of every input")
    group.add_argument(
        "--seed",
        type=count,
        metavar="N",
        help="seeded random weights instead of parameters; built-in networks have seed 0",
    )


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Whether the object code of a .symc file may be run."""
    group = parser.add_argument_group("trust")
    group.add_argument(
        "--trust", action="store_true", help="run the object code of a .symc file without proof who made it"
    )
    group.add_argument(
        "--key", metavar="FILE", help="key file the .symc file must be signed with, instead of your own key"
    )


def open_model(args: argparse.Namespace, array_shapes: Mapping[str, FullShape] | None = None) -> Opened:
    """The model the arguments name, with as many input shapes as they, the arrays given, or the model itself tell.

    Raises UsageError when the arguments name none, and what reading the files raises.
    """
    from symc.models import names

    shapes = {**(array_shapes or {}), **dict(args.shape)}
    path = Path(args.model)
    if getattr(args, "key", None):
        require_file(Path(args.key))
    import_files(args)
    if args.seed is not None and (args.params or args.epoch is not None):
        raise UsageError("--seed draws random weights: leave out either it or --params and --epoch")
    with progress(f"reading {args.model}"):
        if path.suffix == ".symc":
            opened = _artifact(args, path)
        elif path.suffix == ".json":
            opened = _files(args, path, args.params)
        elif args.model in names() and args.epoch is None:
            opened = _built_in(args)
        elif Path(f"{path}-symbol.json").exists():
            opened = _files(args, Path(f"{path}-symbol.json"), args.params or _epoch_file(args, path))
        elif args.model in names():
            raise UsageError(
                f"--epoch belongs to a prefix, but {path}-symbol.json does not exist; leave it out for the built-in "
                f"network {args.model}"
            )
        else:
            raise UsageError(
                f"no model {args.model!r}: neither a .symc nor a .json file, nor a prefix ({path}-symbol.json does not "
                f"exist), nor one of {', '.join(names())}"
            )
    return _shaped(opened, shapes, args.batch)


def open_symbol(args: argparse.Namespace, model: str) -> Symbol:
    """The graph of a model alone; weights that lie beside it are not read.

    Raises UsageError when there is no such model, and what reading the file raises.
    """
    from symc.symbol import load

    import_files(args)
    path = Path(model) if model.endswith((".json", ".symc")) else Path(f"{model}-symbol.json")
    require_file(path)
    if path.suffix == ".json":
        return load(str(path))
    from symc.artifact import load as load_artifact

    return load_artifact(path).model.symbol


def ready(opened: Opened) -> Opened:
    """The model with its weights and the shapes of all inputs; raises UsageError saying which option gives them."""
    model = opened.model
    require_shapes(model)
    if opened.weights is None:
        if not model.has_weights():
            return replace(opened, weights="none needed")
        raise UsageError(f"{model.name} has no parameters: give --params FILE, or --seed N for random ones")
    if opened.seed is None:
        return opened
    with progress("drawing random weights"):
        return replace(opened, model=model.with_seed(opened.seed))


def require_shapes(model: Model) -> None:
    """Raises UsageError when the shape of an input is not known."""
    unknown = [n for n in model.inputs() if n not in model.shapes]
    if unknown:
        raise UsageError(
            f"{model.name}: the shape of input {', '.join(unknown)} is not known: give --shape {unknown[0]}=N,C,H,W"
        )


def _artifact(args: argparse.Namespace, path: Path) -> Opened:
    from symc.artifact import load

    require_file(path)
    if args.params or args.epoch is not None or args.seed is not None:
        raise UsageError(f"{path} holds its own weights: leave out --params, --epoch and --seed")
    artifact = load(path, getattr(args, "trust", False), getattr(args, "key", None))
    return Opened(artifact.model, "of the file", artifact=artifact)


def _built_in(args: argparse.Namespace) -> Opened:
    from symc.models import get

    model = get(args.model)
    if args.params:
        require_file(Path(args.params))
        return Opened(model.with_params(*read_params(Path(args.params), model.symbol)), args.params)
    seed = args.seed or 0
    return Opened(model, f"random, seed {seed}", seed)


def _files(args: argparse.Namespace, symbol_path: Path, params_path: str | Path | None) -> Opened:
    from symc.models import Model
    from symc.symbol import load

    require_file(symbol_path)
    symbol = load(str(symbol_path))
    name = symbol_path.name.removesuffix(".json").removesuffix("-symbol")
    model = Model(name, symbol, {})
    if params_path is not None:
        require_file(Path(params_path))
        return Opened(model.with_params(*read_params(Path(params_path), symbol)), str(params_path))
    return Opened(model, None if args.seed is None else f"random, seed {args.seed}", args.seed)


def require_file(path: Path) -> None:
    """Raises UsageError when there is no such file."""
    if not path.exists():
        raise UsageError(f"{path} does not exist")


def _epoch_file(args: argparse.Namespace, prefix: Path) -> Path | None:
    if args.epoch is not None:
        return Path(f"{prefix}-{args.epoch:04d}.params")
    found = sorted(prefix.parent.glob(f"{prefix.name}-[0-9][0-9][0-9][0-9].params"))
    if len(found) > 1:
        epochs = ", ".join(p.stem[-4:] for p in found)
        raise UsageError(f"{prefix} has parameters of several epochs ({epochs}): choose one with --epoch")
    return found[0] if found else None


def read_params(path: Path, symbol: Symbol) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Arguments and auxiliary states of a .params, .safetensors or .npz file, with names of Module or of Gluon.

    Raises FormatError when the arrays have no names, or structural ones (see `naming`).
    """
    arrays = load_arrays(path)
    if not isinstance(arrays, dict):
        raise FormatError(f"{path}: {len(arrays)} arrays without names, expected arg:<name> and aux:<name>")
    return split_params(path, arrays, symbol)


def _shaped(opened: Opened, given: Mapping[str, FullShape], batch: int | None) -> Opened:
    """The model with the shapes of its inputs, as far as they are given, declared or inferred."""
    model = opened.model
    arguments = model.symbol.list_arguments()
    for name in given:
        if name not in arguments:
            raise UsageError(f"{model.name} has no input {name!r}; it has {', '.join(model.inputs())}")
    shapes = {**model.declared_shapes(), **model.shapes, **given}
    if batch is not None:
        shapes = {n: (batch, *s[1:]) for n, s in shapes.items()}
    for name, shape in shapes.items():
        if size_of(shape) > MAX_INPUT_SIZE:
            raise UsageError(f"{model.name}: input {name} {shape} is too large, expected at most 2**40 elements")
    inferred = dict(zip(arguments, model.symbol.infer_shape_partial(**shapes)[0]))
    shapes |= {n: inferred[n] for n in model.inputs() if n not in shapes and inferred[n] and 0 not in inferred[n]}
    return replace(opened, model=model.with_shapes(shapes))


def _shape(text: str) -> tuple[str, FullShape]:
    name, _, extents = text.rpartition("=")
    try:
        shape = tuple(int(n) for n in extents.strip("()[] ,").split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=N,C,H,W with positive extents")
    return name, shape


def threads_of(args: argparse.Namespace) -> int | None:
    """The number of --threads; raises UsageError for one that the runner does not take."""
    from symc.runtime.cpu.native import MAX_THREADS

    if args.threads is not None and args.threads > MAX_THREADS:
        raise UsageError(f"--threads {args.threads}: expected 1 to {MAX_THREADS}")
    return args.threads  # type: ignore[no-any-return]


def count(text: str) -> int:
    """An option's number of at least 0."""
    return _integer(text, 0)


def positive(text: str) -> int:
    """An option's number of at least 1."""
    return _integer(text, 1)


def _integer(text: str, low: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"{text!r}, expected an integer of at least {low}")
    return value
