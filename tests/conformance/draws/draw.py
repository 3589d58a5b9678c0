"""A source of random shapes, dtypes, parameters and values for one case of an operator; read by MXNet's Python 3.8."""

from __future__ import annotations

import zlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from tests.ops.cases import Case, Shape

FLOATS = ("float32", "float32", "float64", "float16")
NUMBERS = (*FLOATS, "int32", "int64", "int8", "uint8")
EXTENTS = (1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 17, 33)
LARGE_EXTENTS = (1, 3, 8, 15, 16, 24, 31, 32, 48, 64, 65, 96, 128, 200, 256, 513)
CHANNELS = (3, 8, 12, 16, 16, 24, 32, 32, 33, 48, 64, 64, 96, 128)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1e-3, 100.0, -100.0, np.inf, -np.inf, np.nan)
WIDE = {
    "int8": (-128.0, 127.0),
    "uint8": (0.0, 255.0),
    "int32": (-(2.0**31), 2.0**31 - 1),
    "int64": (-(2.0**52), 2.0**52),
}
LEFT_ALONE = set("cudnn_off cudnn_tune layout dtype out_dtype sparse_grad forward_stype stype infer_range".split())

Declared = Dict[str, Tuple[Any, ...]]  # an operator's flags and choices by name, as MXNet lists them


class Draw:
    """The numbers that make the `number`-th case of an operator."""

    def __init__(self, op: str, number: int, declared: Declared) -> None:
        self.op, self.declared = op, declared
        self.random = np.random.RandomState(zlib.crc32(f"{op}.{number}".encode()))

    def integer(self, low: int, high: int) -> int:
        """Between both ends."""
        return int(self.random.randint(low, high + 1))

    def real(self, low: float, high: float) -> float:
        """With few digits, that its text is short."""
        return round(float(self.random.uniform(low, high)), 3)

    def chance(self, probability: float) -> bool:
        return bool(self.random.uniform() < probability)

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def some(self, options: Sequence[Any]) -> List[Any]:
        """Some of them, at least one, in their order."""
        chosen = sorted(self.random.permutation(len(options))[: self.integer(1, len(options))])
        return [options[k] for k in chosen]

    def permuted(self, options: Sequence[Any]) -> List[Any]:
        return [options[k] for k in self.random.permutation(len(options))]

    def extent(self) -> int:
        return int(self.pick(EXTENTS))

    def channels(self, most: int) -> int:
        """Of a layer, or of one of its groups."""
        return self.integer(1, most)

    def along(self, rank: int, low: int, high: int) -> Tuple[int, ...]:
        """A number between both ends for each of `rank` axes of an image."""
        return tuple(self.integer(low, high) for _ in range(rank))

    def room(self, rank: int) -> int:
        """By how much one of `rank` axes of an image exceeds what a window reaches."""
        return self.integer(0, 6)

    def shape(self, low: int = 1, high: int = 4, most: int = 400) -> Shape:
        """A shape of `low` to `high` axes with at most so many elements."""
        found: Tuple[int, ...] = ()
        for _ in range(self.integer(low, high)):
            n = self.extent()
            found += (n if n * int(np.prod(found)) <= most else 1,)
        return found

    def axis(self, rank: int) -> int:
        """Of a shape of that many axes; counted from either end."""
        return self.integer(-rank, rank - 1)

    def axes(self, rank: int) -> Any:
        """None, one axis or several."""
        kind = self.integer(0, 3)
        if kind == 0:
            return None
        if kind == 1:
            return self.axis(rank)
        return tuple(a - rank if self.chance(0.3) else a for a in self.some(range(rank)))

    def split(self, total: int) -> Tuple[int, int]:
        """Two factors of a number."""
        first = self.pick([k for k in range(1, total + 1) if total % k == 0])
        return first, total // first

    def broadcast(self, shape: Shape) -> Shape:
        """A shape of as many axes that is broadcast to this one."""
        return tuple(1 if self.chance(0.3) else n for n in shape)

    def flags(self, given: Dict[str, Any]) -> Dict[str, Any]:
        """A value for most declared flags and choices that are not given."""
        free = {n: o for n, o in self.declared.items() if n not in given and n not in LEFT_ALONE}
        return {name: self.pick(options) for name, options in free.items() if self.chance(0.6)}

    def case(
        self,
        *shapes: Shape,
        dtypes: Any = NUMBERS,
        domain: Optional[Tuple[float, float]] = None,
        grads: Any = "some",
        special: float = 0.0,
        given: Optional[Dict[int, Tuple[float, ...]]] = None,
        **params: Any,
    ) -> Case:
        """The case on inputs of these shapes, with the flags that `params` does not give.

        dtypes    options for one dtype of all inputs, or a list: the dtype of each
        domain    of values; None: some
        grads     of which inputs; "some": of those of float dtype, now and then of all
        special   probability that values are among SPECIAL, where all inputs are floats
        """
        names = tuple(dtypes) if isinstance(dtypes, list) else str(self.pick(dtypes))
        params = {**params, **self.flags(params)}
        if grads == "some":
            grads = tuple(range(len(shapes))) if isinstance(names, str) and self.chance(0.3) else None
        is_special = self.chance(special) and isinstance(names, str) and names.startswith("float")
        if domain is None:
            domain = self.pick(((-2.0, 2.0), (-2.0, 2.0), (0.1, 1.5), (-7.0, 9.0)))
            if names in WIDE and self.chance(0.3):
                domain = WIDE[names]
        points = tuple(self.permuted(SPECIAL)) if is_special else None
        return Case(self.op, tuple(shapes), params, names, domain, points, grads, False, given or {})


class LargeDraw(Draw):
    """The same operators on what networks have, where other algorithms, blocks and several threads take over."""

    def extent(self) -> int:
        return int(self.pick(LARGE_EXTENTS))

    def shape(self, low: int = 1, high: int = 4, most: int = 400) -> Shape:
        return super().shape(low, high, 500 * most)

    def channels(self, most: int) -> int:
        return int(self.pick(CHANNELS))

    def along(self, rank: int, low: int, high: int) -> Tuple[int, ...]:
        return (self.integer(low, high),) * rank if self.chance(0.8) else super().along(rank, low, high)

    def room(self, rank: int) -> int:
        return self.integer(0, 40 if rank < 3 else 6)


Generator = Callable[[Draw], Case]
