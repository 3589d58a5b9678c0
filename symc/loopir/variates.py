"""Random numbers by rejection: how many tries a number takes is not known before, so these are no expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts

Family = Literal["gamma", "poisson"]
WORK_FLOPS = 60  # of one number, all tries together, estimated

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S11, S27, S30, S31 = (np.uint64(n) for n in (11, 27, 30, 31))


@dataclass(frozen=True)
class Variate(Routine):
    """keys (*p, *block) of uint64 and parameters (*p) -> numbers (*p, *block): each key gives one number.

    gamma     of shape `parameter` and scale 1; NaN where it is not positive
    poisson   of mean `parameter`; NaN where it is negative
    """

    family: Family

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        draw = samplers(lambda function: function)[self.family]
        keys, parameters = (a.ravel() for a in ins)
        repeat = keys.size // max(parameters.size, 1)
        with np.errstate(over="ignore"):
            drawn = [draw(key, float(parameters[n // repeat])) for n, key in enumerate(keys.view("uint64"))]
        outs[0][...] = np.array(drawn).reshape(outs[0].shape)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(size_of(shapes[0]), WORK_FLOPS)

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return size_of(shapes[0]) * WORK_FLOPS


def samplers(compiled: Callable[[Callable[..., Any]], Callable[..., Any]]) -> dict[Family, Callable[..., Any]]:
    """What draws one number of each family from (key: uint64, parameter: float64).

    `compiled` is applied to every function, so that a compiler can let them call each other; nothing else is called
    than `math`. A key starts a splitmix64 generator (Steele et al., 2014) of its own.
    """

    @compiled
    def mixed(state):  # type: ignore[no-untyped-def]
        z = (state ^ (state >> S30)) * MIX_1
        z = (z ^ (z >> S27)) * MIX_2
        return z ^ (z >> S31)

    @compiled
    def uniform(state):  # type: ignore[no-untyped-def]
        """In (0, 1), 53 bits."""
        return (float(mixed(state) >> S11) + 0.5) * 2.0**-53

    @compiled
    def gamma(key, shape):  # type: ignore[no-untyped-def]
        """Marsaglia & Tsang, "A simple method for generating gamma variables" (2000); the normal is Box-Muller's."""
        if not shape > 0:
            return math.nan
        if shape == math.inf:
            return math.inf
        state = mixed(key)
        boost = 1.0
        if shape < 1:  # gamma(a) = gamma(a + 1) * u^(1 / a)
            state += GOLDEN
            boost = math.exp(math.log(uniform(state)) / shape)
            shape += 1
        d = shape - 1 / 3
        c = 1 / math.sqrt(9 * d)
        while True:
            radius = math.sqrt(-2 * math.log(uniform(state + GOLDEN)))
            state += GOLDEN + GOLDEN
            x = radius * math.cos(2 * math.pi * uniform(state))
            state += GOLDEN
            v = 1 + c * x
            if v <= 0:
                continue
            v = v * v * v
            if math.log(uniform(state)) < 0.5 * x * x + d - d * v + d * math.log(v):
                return d * v * boost

    @compiled
    def poisson(key, mean):  # type: ignore[no-untyped-def]
        """Counting uniform factors for a small mean (Knuth); else transformed rejection (PTRS: W. Hoermann, "The
        transformed rejection method for generating Poisson random variables", 1993)."""
        if not mean >= 0:
            return math.nan
        if mean == math.inf:
            return math.inf
        state = mixed(key)
        if mean < 10:
            limit = math.exp(-mean)
            count = -1.0
            product = 1.0
            while product > limit or count < 0:
                state += GOLDEN
                product *= uniform(state)
                count += 1
            return count
        log_mean = math.log(mean)
        b = 0.931 + 2.53 * math.sqrt(mean)
        a = -0.059 + 0.02483 * b
        inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
        accepted = 0.9277 - 3.6224 / (b - 2)
        while True:
            u = uniform(state + GOLDEN) - 0.5
            state += GOLDEN + GOLDEN
            v = uniform(state)
            distance = 0.5 - abs(u)
            k = float(math.floor((2 * a / distance + b) * u + mean + 0.43))
            if distance >= 0.07 and v <= accepted:
                return k
            if k < 0 or (distance < 0.013 and v > distance):
                continue
            ratio = math.log(v) + math.log(inverse_alpha) - math.log(a / (distance * distance) + b)
            if ratio <= k * log_mean - mean - math.lgamma(k + 1):
                return k

    return {"gamma": gamma, "poisson": poisson}
