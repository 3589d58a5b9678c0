"""`symc.base` as MXNet has it: the error root and a few names scripts import from there."""

import os

from symc.core.errors import MXNetError, SymcError

string_types = (str,)

__all__ = [  # some made when they are asked for
    "MXNetError", "SymcError", "data_dir", "integer_types", "mx_real_t", "numeric_types", "py_str",  # noqa: F822
    "string_types",
]  # fmt: skip


def data_dir() -> str:
    """Where data sets and trained weights are kept: MXNET_HOME, or ~/.mxnet."""
    return os.path.expanduser(os.environ.get("MXNET_HOME", os.path.join("~", ".mxnet")))


def py_str(x: bytes | str) -> str:
    """Bytes as text: MXNet hands the names of arrays to hooks as bytes, symc as text."""
    return x if isinstance(x, str) else x.decode()


def _as_list(x: object) -> list | tuple:
    """A list or a tuple as it is, anything else as a list of one."""
    return x if isinstance(x, (list, tuple)) else [x]


def __getattr__(name: str) -> object:
    if name in ("numeric_types", "integer_types", "mx_real_t"):
        import numpy as np  # not with `import symc`, which the command line keeps light

        table = {"numeric_types": (float, int, np.generic), "integer_types": (int, np.int32, np.int64)}
        return table.get(name, np.float32)
    if name in ("NotImplementedForSymbol", "_Null"):
        from symc.symbol import functions, operators

        return getattr(operators if name == "NotImplementedForSymbol" else functions, name)
    from symc import c_names

    if name in vars(c_names) and not name.startswith("__"):
        return getattr(c_names, name)
    raise AttributeError(f"module 'symc.base' has no attribute '{name}'")
