"""`python -m symc.as_mxnet script.py ...` runs a script that says `import mxnet` with symc in its place.

    python -m symc.as_mxnet train.py --epochs 3      a script, with its own arguments
    python -m symc.as_mxnet -m package.train ...     a module

An import hook gives symc's own modules for `mxnet` and all below it, in this process alone; nothing is written to disk.
Where the real MXNet is installed this is refused, unless `--replace` comes first. From code: `as_mxnet.install()`.
NumPy has the names of MXNet's time again (`np.int`, `np.float` ...), and takes what it took then (`old_numpy.py`).
With `--gpu-is-cpu` the contexts `mx.gpu(k)` of a script stand for the host; `mx.num_gpus()` does not change.
"""

from __future__ import annotations

import importlib.util
import io
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from symc.core.errors import ConflictError, MissingModuleError

from .old_numpy import restore_old_numpy

USAGE = "usage: python -m symc.as_mxnet [--replace] [--gpu-is-cpu] (SCRIPT | -m MODULE) [ARGUMENT ...]"
BAD_USAGE = 2  # exit code
# What MXNet has in modules of their own, by the module of symc that has it.
PLACES = {
    "contrib.amp.amp": "contrib.amp",
    "contrib.amp.lists.symbol_fp16": "contrib.amp.lists",
    "contrib.ndarray": "ndarray.contrib",
    "contrib.symbol": "symbol.contrib",
    "kvstore_server": "kvstore.kvstore_server",
    "onnx": "contrib.onnx",
}

# What MXNet's modules import of each other, and libraries ask any of them for; by the module of symc that has it.
BORROWED = {
    "": "autograd base context initializer io metric ndarray optimizer random recordio registry symbol",
    "base": "MXNetError integer_types mx_real_t numeric_types string_types",
    "callback": "LogValidationMetricsCallback",
    "context": "Context cpu current_context gpu num_gpus",
    "gluon.block": "Block HybridBlock",
    "gluon.nn": "LeakyReLU",
    "gluon.rnn": "BidirectionalCell HybridRecurrentCell SequentialRNNCell",
    "gluon.utils": "HookHandle check_sha1 download replace_file shape_is_known split_and_load",
    "initializer": "Uniform",
    "io": "DataBatch DataDesc DataIter",
    "metric": "CompositeEvalMetric EvalMetric",
    "model": "load_checkpoint save_checkpoint",
    "ndarray": "NDArray",
    "optimizer": "get_updater",
    "symbol": "Symbol load_json",
    "util": "is_np_array is_np_shape np_array np_shape set_np",
}
HOMES = {name: home for home, names in BORROWED.items() for name in names.split()}
SHORT = {"init": "initializer", "kvs": "kvstore", "nd": "ndarray", "opt": "optimizer", "sym": "symbol"}
OF_OPERATORS = ("mxnet.ndarray", "mxnet.symbol")  # a name there is an operator's
AT_ONCE = ("mxnet.ndarray", "mxnet.symbol", "mxnet.gluon")  # einops tells by sys.modules whose arrays there may be


def module_for(name: str) -> str:
    """The name of symc's module for one of MXNet's: mxnet.gluon.nn is symc.gluon.nn."""
    below = name.partition(".")[2]
    below = PLACES.get(below, below)
    return f"symc.{below}" if below else "symc"


class _Hook(MetaPathFinder, Loader):
    """Finds `mxnet` and all below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        is_ours = fullname == "mxnet" or fullname.startswith("mxnet.")
        return ModuleSpec(fullname, self, origin="symc") if is_ours else None

    def exec_module(self, module: ModuleType) -> None:
        """Puts symc's module in the place of the empty one: that is what the import then gives."""
        name = module_for(module.__name__)
        try:
            sys.modules[module.__name__] = found = importlib.import_module(name)
            vars(found).setdefault("__path__", [])  # what is one file here may be a package of MXNet's: PLACES
            for place, home in PLACES.items():  # `from mxnet.contrib.amp import amp` asks the package for it
                package, _, child = place.rpartition(".")
                if package and f"mxnet.{package}" == module.__name__:
                    vars(found).setdefault(child, importlib.import_module(f"symc.{home}"))
            if not module.__name__.startswith(OF_OPERATORS) and module.__name__ not in ("mxnet", "mxnet.gluon"):
                _lend(found)
            if module.__name__ == "mxnet":
                for below in AT_ONCE:
                    importlib.import_module(below)
        except ModuleNotFoundError as error:
            if error.name not in (None, name):  # a package that the module needs
                raise
            missing = MissingModuleError(f"no module named '{module.__name__}': symc has no module {name}")
            missing.name = module.__name__
            raise missing from None


def _lend(module: ModuleType) -> None:
    """Lets a module give what those of MXNet import of each other, where it has no such name of its own."""
    own = vars(module).get("__getattr__")

    def borrow(name: str) -> object:
        is_lent = name in SHORT or name in HOMES
        if own is not None:
            try:
                return own(name)
            except AttributeError:
                if not is_lent:
                    raise
        if not is_lent:
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        home = importlib.import_module(f"symc.{SHORT.get(name) or HOMES[name]}".rstrip("."))
        return home if name in SHORT else getattr(home, name)

    vars(module)["__getattr__"] = borrow


def install(replace: bool = False) -> None:
    """From here on `import mxnet` gives symc in this process; a second call changes nothing.

    Raises ConflictError where the real MXNet is imported already, or is installed and `replace` is not set.
    """
    if any(isinstance(finder, _Hook) for finder in sys.meta_path):
        return
    if "mxnet" in sys.modules:
        raise ConflictError("as_mxnet: mxnet is imported already; call install() before anything imports it")
    found = PathFinder.find_spec("mxnet")
    if found is not None and found.origin is not None and not replace:
        raise ConflictError(
            f"as_mxnet: a real mxnet is installed ({found.origin}); --replace, or install(replace=True), "
            "takes symc all the same"
        )
    sys.meta_path.insert(0, _Hook())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a script or a module; gives 0, or 2 when nothing could be run. What the script raises leaves it."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = set()
    while words and words[0] in ("--replace", "--gpu-is-cpu"):
        chosen.add(words.pop(0))
    if words[:1] in (["-h"], ["--help"]):
        print((__doc__ or "").strip(), USAGE, sep="\n\n")
        return 0
    is_module = words[:1] == ["-m"]
    words = words[is_module:]
    if not words or words[0].startswith("-"):
        return _refused(f"no {'module' if is_module else 'script'} to run; {USAGE}")
    if not is_module:
        if not Path(words[0]).is_file():
            return _refused(f"{words[0]}: no such file; {USAGE}")
        sys.path[0] = str(Path(words[0]).resolve().parent)  # Python puts there where its script lies
    try:
        install("--replace" in chosen)
    except ConflictError as error:
        return _refused(str(error).removeprefix("as_mxnet: "))
    import symc

    _tell(f"'import mxnet' gives symc, as MXNet {symc.__version__}, in this process; nothing was written to disk")
    restored = restore_old_numpy()
    if restored:
        _tell(f"NumPy has its old names again: {', '.join(restored)}")
    if "--gpu-is-cpu" in chosen:
        symc.context.register_device("gpu", symc.context.host)
        _tell("contexts mx.gpu(k) stand for the host")
    sys.argv = words
    if is_module:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        _run(words[0])
    return 0


def _run(path: str) -> None:
    """A script as Python runs it: its module is `__main__` to the end, so that what it defines can be pickled."""
    with io.open_code(str(Path(path).resolve())) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    module = ModuleType("__main__")
    vars(module).update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    exec(code, vars(module))


def _refused(why: str) -> int:
    _tell(why)
    return BAD_USAGE


def _tell(what: str) -> None:
    print(f"symc.as_mxnet: {what}", file=sys.stderr, flush=True)
