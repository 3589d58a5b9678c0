"""symc compiles MXNet Symbol graphs; `import symc as mx` gives the names MXNet 1.9 gives.

Importing is light: a submodule is loaded when it is first used (`mx.nd`, `mx.autograd`, ...).
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import Any

from symc.core.errors import MissingModuleError, SymcError
from symc.core.undisturbed import imported

from . import attribute, base, context, name
from .attribute import AttrScope
from .base import MXNetError
from .context import Context, cpu, cpu_pinned, current_context, gpu, gpu_memory_info, num_gpus

__version__ = "1.9.1"  # the MXNet whose behaviour symc has; scripts compare against it

__all__ = [
    "AttrScope", "Context", "MXNetError", "SymcError", "attribute", "base", "context", "cpu", "cpu_pinned",
    "current_context", "gpu", "gpu_memory_info", "name", "num_gpus",
]  # fmt: skip

_MODULES = {
    "artifact": "artifact",
    "attr": "attribute",
    "autograd": "autograd",
    "callback": "callback",
    "contrib": "contrib",
    "engine": "engine",
    "executor": "executor",
    "executor_manager": "executor_manager",
    "gluon": "gluon",
    "image": "image",
    "img": "image",
    "init": "initializer",
    "initializer": "initializer",
    "io": "io",
    "kv": "kvstore",
    "kvstore": "kvstore",
    "libinfo": "libinfo",
    "log": "log",
    "lr_scheduler": "lr_scheduler",
    "metric": "metric",
    "mod": "module",
    "model": "model",
    "models": "models",
    "module": "module",
    "mon": "monitor",
    "monitor": "monitor",
    "nd": "ndarray",
    "ndarray": "ndarray",
    "operator": "operator",
    "opt": "optimizer",
    "optimizer": "optimizer",
    "profiler": "profiler",
    "random": "random",
    "recordio": "recordio",
    "registry": "registry",
    "rnd": "random",
    "rnn": "rnn",
    "runtime": "runtime",
    "sym": "symbol",
    "symbol": "symbol",
    "test_utils": "test_utils",
    "util": "util",
    "visualization": "visualization",
    "viz": "visualization",
}
_FUNCTIONS = {
    "Executor": "executor",
    "compile": "api",
    "graph_pass": "passes.base",
    "is_np_array": "util",
    "is_np_shape": "util",
    "onnx": "contrib",
    "np_array": "util",
    "np_shape": "util",
    "register_pass": "passes.pipeline",
    "set_np": "util",
    "set_np_shape": "util",
    "set_num_threads": "runtime.cpu.native",
    "unregister_pass": "passes.pipeline",
    "use_np": "util",
    "use_np_array": "util",
    "use_np_shape": "util",
}
# What MXNet has and symc has not, and why.
_LEFT_OUT = {
    **dict.fromkeys(("np", "npx", "numpy", "numpy_extension"), "mx.np is no part of it; use the arrays of mx.nd"),
    "error": "it raises mx.MXNetError, and subclasses of it that are Python's errors too",
    "library": "it loads no libraries of C++; write operators with mx.operator",
    "rtc": "it compiles no source of CUDA; write operators with mx.operator",
    "th": "it calls no functions of Torch; write operators with mx.operator",
}


def __getattr__(attribute_name: str) -> Any:
    if attribute_name in _FUNCTIONS:
        value = getattr(imported(f"symc.{_FUNCTIONS[attribute_name]}"), attribute_name)
    else:
        value = _submodule(attribute_name)
    globals()[attribute_name] = value
    return value


def _submodule(alias: str) -> Any:
    if alias not in _MODULES:
        reason = f" (MXNet has it, symc does not: {_LEFT_OUT[alias]})" if alias in _LEFT_OUT else ""
        raise AttributeError(f"module 'symc' has no attribute '{alias}'{reason}")
    if not _is_there(alias):
        raise AttributeError(f"module 'symc' has no attribute '{alias}': MXNet's module is not there yet")
    return imported(f"symc.{_MODULES[alias]}")


def _is_there(alias: str) -> bool:
    return PathFinder.find_spec(f"symc.{_MODULES[alias]}", __path__) is not None


def __dir__() -> list[str]:
    return sorted({"__version__", *__all__, *filter(_is_there, _MODULES), *_FUNCTIONS})


class _Absent:
    """The last of Python's finders: tells `from symc import gluon` more than that there is no such name."""

    @staticmethod
    def find_spec(full_name: str, path: Any = None, target: Any = None) -> None:
        package, _, alias = full_name.partition(".")
        if package == "symc" and alias in _MODULES and not _is_there(alias):
            raise MissingModuleError(f"no module named '{full_name}': MXNet's module is not there yet")


sys.meta_path.append(_Absent)
