"""`mx.random`: `seed` and the samplers of `mx.nd.random`."""

from symc.ndarray.random import (
    exponential,
    gamma,
    generalized_negative_binomial,
    generator,
    multinomial,
    negative_binomial,
    normal,
    poisson,
    randint,
    randn,
    seed,
    shuffle,
    uniform,
)

__all__ = [
    "exponential", "gamma", "generalized_negative_binomial", "generator", "multinomial", "negative_binomial", "normal",
    "poisson", "randint", "randn", "seed", "shuffle", "uniform",
]  # fmt: skip
