"""What a test case of an operator is, and the arrays it runs on; used by every runner (reference, compiled, MXNet)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

Shape = Tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One operator with parameters on inputs of given shapes.

    dtypes   one for all inputs, or one each
    domain   range of the random values; `points` are values put in their place, cyclically
    given    points of single inputs, by position
    grads    positions of inputs whose gradient is checked; None: of all float inputs
    smooth   whether central differences are meaningful there
    """

    op: str
    shapes: Tuple[Shape, ...] = ((3, 4),)
    params: Dict[str, Any] = field(default_factory=dict)
    dtypes: Union[str, Tuple[str, ...]] = "float32"
    domain: Tuple[float, float] = (-2.0, 2.0)
    points: Optional[Tuple[float, ...]] = None
    grads: Optional[Tuple[int, ...]] = None
    smooth: bool = True
    given: Dict[int, Tuple[float, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        text = ",".join(f"{k}={v}" for k, v in self.params.items())
        shapes = "x".join("_".join(map(str, s)) for s in self.shapes)
        kinds = self.dtypes if isinstance(self.dtypes, str) else "_".join(self.dtypes)
        where = "_".join(map(str, self.points if self.points is not None else self.domain))
        where += "".join(f"-{k}_{zlib.crc32(str(v).encode()):08x}" for k, v in self.given.items())
        return f"{self.op}({text})-{shapes}-{kinds}-{where}"

    def input_dtypes(self) -> List[str]:
        """The dtype of each input."""
        return [self.dtypes] * len(self.shapes) if isinstance(self.dtypes, str) else list(self.dtypes)

    def gradient_positions(self) -> List[int]:
        """The inputs whose gradient is checked."""
        if self.grads is not None:
            return list(self.grads)
        return [k for k, d in enumerate(self.input_dtypes()) if d.startswith("float")]

    def inputs(self) -> List[np.ndarray]:
        """The input arrays."""
        return [self._array(shape, dtype, k) for k, (shape, dtype) in enumerate(zip(self.shapes, self.input_dtypes()))]

    def head(self, shape: Shape, dtype: str, k: int = 0) -> np.ndarray:
        """A head gradient, exact in every float dtype; of integers the whole parts."""
        eighths = np.random.RandomState(k + 1).randint(-16, 17, shape) / 8
        return (eighths if dtype.startswith("float") else np.trunc(eighths).astype("int64")).astype(dtype)

    def _array(self, shape: Shape, dtype: str, k: int) -> np.ndarray:
        random = np.random.RandomState(zlib.crc32(str(self).encode()) + k)
        low, high = self.domain
        if k in self.given:
            values = np.resize(np.array(self.given[k], "float64"), shape)
        elif self.points is not None:
            n = int(np.prod(shape))
            values = np.resize(np.roll(np.array(self.points, "float64"), -k), n).reshape(shape)
        elif dtype.startswith("float"):
            # Distinct within an array and between arrays, and never 0: no accidental ties.
            n = int(np.prod(shape))
            places = (random.permutation(n) + 0.5 + 0.1 * (k + 1)) / (n + 1)
            values = (low + (high - low) * places).reshape(shape)
        elif dtype == "bool":
            values = random.randint(0, 2, shape)
        else:
            low = max(low, 0) if dtype == "uint8" else low
            values = random.randint(int(np.ceil(low)), int(high) + 1, shape)
        return values.astype(dtype)


def over_dtypes(case: Case, dtypes: Tuple[str, ...]) -> List[Case]:
    """The case repeated for several dtypes."""
    return [replace(case, dtypes=d) for d in dtypes]
