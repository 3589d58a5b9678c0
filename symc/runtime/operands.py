"""What a program reads of a call: arrays of the caller, which lie in the host's memory whatever device runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from symc.core.shapes import FullShape

NO_SLOT = -1


class Operand(NamedTuple):
    """A dense NumPy array of this shape and dtype; NO_SLOT: nobody reads its contents."""

    slot: int
    shape: FullShape
    dtype: np.dtype


class Exactly(NamedTuple):
    """This very object."""

    what: object


Expected = Sequence[Operand | Exactly]
Point = Callable[[list[Any]], bool]
