"""The number that a loss is multiplied by, so that small gradients are not lost in float16."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from symc.gluon.parameter import Parameter

LARGEST = 2.0**24
STEPS_TO_DOUBLE = 2000


class LossScaler:
    """Begins at 2^16, is halved for the next step when a gradient overflows, doubled after 2000 steps without."""

    def __init__(self) -> None:
        self.loss_scale = 2.0**16
        self._next = self.loss_scale
        self._n_fine = 0

    def has_overflow(self, params: Iterable[Parameter]) -> bool:
        """Whether a gradient is infinite or no number; adapts the scale of the next step."""
        gradients = [g for p in params if p._grad is not None for g in p.list_grad()]
        is_overflow = not all(np.isfinite(g.asnumpy()).all() for g in gradients)
        self.loss_scale = self._next
        self._n_fine = 0 if is_overflow else self._n_fine + 1
        if is_overflow:
            self._next = self.loss_scale / 2
            logging.info("AMP: decreasing loss scale to %f", self._next)
        elif self._n_fine == STEPS_TO_DOUBLE:
            self._n_fine = 0
            self._next = min(LARGEST, self.loss_scale * 2)
            logging.info("AMP: increasing loss scale to %f", self._next)
        return is_overflow
