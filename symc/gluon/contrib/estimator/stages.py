"""The stages of training: a handler derives from those at which it wants to be called."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from symc.context import Context
from symc.core.errors import ArgumentError
from symc.gluon.trainer import Trainer


class Training(Protocol):
    """What handlers and batch processors see of an Estimator."""

    net: Any
    val_net: Any
    loss: Any
    val_loss: Any
    trainer: Trainer
    context: list[Context]
    logger: logging.Logger
    max_epoch: int | None
    max_batch: int | None
    batch_axis: int


class EventHandler:
    """Base of all; those with a lower `priority` (0 unless they say) are called first."""


class TrainBegin(EventHandler):
    """Called once, before everything."""

    def train_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


class TrainEnd(EventHandler):
    """Called once, after everything."""

    def train_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


class EpochBegin(EventHandler):
    """Called before every epoch."""

    def epoch_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


class EpochEnd(EventHandler):
    """Called after every epoch."""

    def epoch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> bool | None:
        """Says whether training shall end."""
        return False


class BatchBegin(EventHandler):
    """Called before every batch, with `batch`."""

    def batch_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        """Does nothing."""


class BatchEnd(EventHandler):
    """Called after every batch, with `batch`, `pred`, `label` and `loss` (lists, one of each context)."""

    def batch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> bool | None:
        """Says whether the epoch shall end."""
        return False


def checked_handlers(handlers: EventHandler | Sequence[EventHandler] | None) -> list[EventHandler]:
    """A list of them; raises ArgumentError for anything else."""
    if isinstance(handlers, EventHandler):
        return [handlers]
    found = list(handlers or [])
    if not all(isinstance(handler, EventHandler) for handler in found):
        raise ArgumentError(f"handlers must be an EventHandler or a list of EventHandler, got: {handlers}")
    return found
