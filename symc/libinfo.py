"""`mx.libinfo`: the version, and where MXNet's library would lie; symc has none to load."""

from __future__ import annotations

from symc.core.errors import SymcError

__version__ = "1.9.1"  # of MXNet, as `mx.__version__`


def find_lib_path(prefix: str = "libmxnet") -> list[str]:
    """Raises SymcError: there is no library that C code could be linked with."""
    raise SymcError(f"find_lib_path: symc has no {prefix}; it is Python, and compiles kernels when they are needed")


def find_include_path() -> str:
    """Raises SymcError: there are no headers."""
    raise SymcError("find_include_path: symc has no C headers; operators of your own are written with mx.operator")
