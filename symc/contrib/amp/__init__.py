"""`mx.contrib.amp`: mixed precision, where layers compute in float16 and what is not safe there in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from symc.core.errors import ArgumentTypeError, ConflictError
from symc.gluon import Trainer
from symc.ndarray import invoke
from symc.symbol import compose

from . import lists
from .convert import convert_bucketing_module, convert_hybrid_block, convert_model, convert_symbol, require_dtype
from .loss_scaler import LossScaler
from .rules import Conditional, make_rules
from .scope import Casts

__all__ = [
    "LossScaler", "convert_bucketing_module", "convert_hybrid_block", "convert_model", "convert_symbol", "init",
    "init_trainer", "list_conditional_fp32_ops", "list_fp32_ops", "list_loss_output_functions", "list_lp16_fp32_ops",
    "list_lp16_ops", "list_lp16_use_fp32_params", "list_widest_type_cast", "scale_loss", "unscale",
]  # fmt: skip

_casts: Casts | None = None  # in force since `init`


def init(
    target_dtype: Any = "float16",
    target_precision_ops: Sequence[str] | None = None,
    conditional_fp32_ops: Conditional | None = None,
    fp32_ops: Sequence[str] | None = None,
) -> None:
    """Switches mixed precision on, for the whole process and for good: before the network is made.

    Parameters stay float32; what layers read is cast at every use, on arrays and in symbols alike. A second call
    changes nothing. Raises ConflictError for a dtype or lists that cannot be.
    """
    global _casts
    if _casts is not None:
        return
    rules = make_rules(target_precision_ops, fp32_ops, conditional_fp32_ops)
    made = Casts(rules, require_dtype(target_dtype), LossScaler())
    logging.info("Using AMP")
    _casts, compose.casts, invoke.casts = made, made.of_node, made.of_arrays


def init_trainer(optimizer_or_trainer: Trainer) -> None:
    """Gives a Trainer a loss scale that adapts; steps whose gradients overflow are left out.

    Raises ConflictError before `init`, ArgumentTypeError for anything but a Trainer.
    """
    if _casts is None:
        raise ConflictError("AMP not initialized, did you forget to call amp.init()?")
    trainer = _require_trainer(optimizer_or_trainer)
    trainer._amp_loss_scaler = _casts.scaler
    trainer._amp_original_scale = trainer._scale


@contextmanager
def scale_loss(loss: Any, optimizer_or_trainer: Trainer) -> Iterator[Any]:
    """The loss, or each of a list, times the Trainer's scale, inside a `with` that ends before `step`."""
    trainer = _require_trainer(optimizer_or_trainer)
    if trainer._amp_loss_scaler is None:
        raise ConflictError("Loss scaler is not initialized, did you forget to call amp.init_trainer()?")
    scale = trainer._amp_loss_scaler.loss_scale
    trainer._scale = trainer._amp_original_scale / scale
    yield [part * scale for part in loss] if isinstance(loss, (list, tuple)) else loss * scale


def unscale(optimizer_or_trainer: Trainer) -> None:
    """Takes the scale out of the gradients before `step`, for whoever looks at them or clips them."""
    trainer = _require_trainer(optimizer_or_trainer)
    for parameter in trainer._params:
        if parameter._grad is not None:
            for gradient in parameter.list_grad():
                gradient[:] = gradient * trainer._scale
    trainer._scale = 1.0


def _require_trainer(given: object) -> Trainer:
    if not isinstance(given, Trainer):
        raise ArgumentTypeError(f"AMP is currently only compatible with Gluon Trainer, got {type(given).__name__}")
    return given


def list_lp16_ops(target_dtype: Any) -> list[str]:
    """Operators that run in the target dtype."""
    require_dtype(target_dtype)
    return list(lists.LP16)


def list_fp32_ops(target_dtype: Any) -> list[str]:
    """Operators that run in float32."""
    require_dtype(target_dtype)
    return list(lists.FP32)


def list_lp16_fp32_ops(target_dtype: Any) -> list[str]:
    """Operators that run in whatever dtype comes."""
    require_dtype(target_dtype)
    return list(lists.LP16_FP32)


def list_conditional_fp32_ops(target_dtype: Any) -> list[tuple[str, str, list[str]]]:
    """Operators that run in float32 when a parameter has one of these values."""
    require_dtype(target_dtype)
    return list(lists.CONDITIONAL_FP32)


def list_widest_type_cast(target_dtype: Any) -> list[str]:
    """Operators that run in the widest dtype of their inputs."""
    require_dtype(target_dtype)
    return list(lists.WIDEST)


def list_loss_output_functions(target_dtype: Any) -> list[str]:
    """Losses with a gradient of their own."""
    require_dtype(target_dtype)
    return list(lists.LOSS_OUTPUTS)


def list_lp16_use_fp32_params(target_dtype: Any) -> None:
    """Operators whose parameters stay float32: none are listed for float16."""
    require_dtype(target_dtype)


def __getattr__(name: str) -> Any:
    if name == "_amp_initialized":  # other libraries ask for it
        return _casts is not None
    raise AttributeError(f"module 'symc.contrib.amp' has no attribute '{name}'")
