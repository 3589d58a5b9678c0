"""`mx.onnx` and `mx.contrib.onnx`: not there; each function says what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from symc.core.errors import SymcError

__all__ = ["export_model", "get_model_metadata", "import_model", "import_to_gluon"]


def import_model(model_file: str) -> NoReturn:
    """Raises SymcError: symc reads no ONNX file."""
    raise SymcError(
        f"import_model: symc reads no ONNX file; convert {model_file} to a -symbol.json and a .params file with MXNet "
        "1.9, and load these"
    )


def get_model_metadata(model_file: str) -> NoReturn:
    """Raises SymcError, as `import_model`."""
    import_model(model_file)


def import_to_gluon(model_file: str, ctx: Any) -> NoReturn:
    """Raises SymcError, as `import_model`."""
    import_model(model_file)


def export_model(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises SymcError: symc writes no ONNX file."""
    raise SymcError(
        "export_model: symc writes no ONNX file; save the model (`mx.model.save_checkpoint`, `net.export`), which "
        "MXNet 1.9 can export"
    )
