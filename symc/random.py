"""`mx.random`: `seed` and the samplers of `mx.nd.random`."""

from symc.ndarray.random import generator, normal, randint, seed, uniform

__all__ = ["generator", "normal", "randint", "seed", "uniform"]
