"""Initializers that look at nothing but the array: constants and distributions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError
from symc.ndarray import NDArray
from symc.ndarray.generator import generator
from symc.ndarray.ndarray import as_numpy

from .base import Initializer, alias, register


@register
@alias("zeros")
class Zero(Initializer):
    """0."""

    def __init__(self) -> None:
        super().__init__()

    _init_weight = Initializer._init_zero


@register
@alias("ones")
class One(Initializer):
    """1."""

    def __init__(self) -> None:
        super().__init__()

    _init_weight = Initializer._init_one


@register
class Constant(Initializer):
    """One number, or an array of the parameter's shape."""

    def __init__(self, value: Any) -> None:
        super().__init__(value=value)
        self.value = value

    def dumps(self) -> str:
        value = self.value.asnumpy() if isinstance(self.value, NDArray) else self.value
        self._kwargs["value"] = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        return json.dumps(["constant", self._kwargs])

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = as_numpy(self.value, "Constant: value") if isinstance(self.value, (list, tuple)) else self.value


@register
class Uniform(Initializer):
    """Evenly distributed in [-scale, scale)."""

    def __init__(self, scale: float = 0.07) -> None:
        super().__init__(scale=scale)
        self.scale = scale

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = generator().uniform(-self.scale, self.scale, arr.shape)


@register
class Normal(Initializer):
    """Normally distributed with mean 0 and standard deviation sigma."""

    def __init__(self, sigma: float = 0.01) -> None:
        super().__init__(sigma=sigma)
        self.sigma = sigma

    def _init_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = generator().normal(0, self.sigma, arr.shape)


@register
class Orthogonal(Initializer):
    """`scale` times a matrix with orthonormal rows or columns, whichever are fewer; (n, ...) counts as (n, rest).

    Source: Saxe, McClelland, Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks (arXiv:1312.6120).
    """

    def __init__(self, scale: float = 1.414, rand_type: str = "uniform") -> None:
        super().__init__(scale=scale, rand_type=rand_type)
        self.scale = scale
        self.rand_type = rand_type

    def _init_weight(self, name: str, arr: NDArray) -> None:
        shape = (arr.shape[0], math.prod(arr.shape[1:]))
        if self.rand_type == "uniform":
            drawn = generator().uniform(-1.0, 1.0, shape)
        elif self.rand_type == "normal":
            drawn = generator().normal(0.0, 1.0, shape)
        else:
            raise ArgumentError(f"{name}: Orthogonal's rand_type is {self.rand_type!r}; expected uniform or normal")
        left, _, right = np.linalg.svd(drawn, full_matrices=False)
        arr[:] = self.scale * (left if left.shape == shape else right).reshape(arr.shape)


@register
class Xavier(Initializer):
    """Keeps the scale of gradients equal in all layers: the variance is magnitude / factor.

    rnd_type      "uniform" (in [-c, c), c^2 = magnitude / factor, as in MXNet) or "gaussian"
    factor_type   "avg", "in" or "out": what the factor is, of the numbers of inputs and outputs of a neuron

    Source: Glorot, Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """

    def __init__(self, rnd_type: str = "uniform", factor_type: str = "avg", magnitude: float = 3) -> None:
        super().__init__(rnd_type=rnd_type, factor_type=factor_type, magnitude=magnitude)
        self.rnd_type = rnd_type
        self.factor_type = factor_type
        self.magnitude = float(magnitude)

    def _init_weight(self, name: str, arr: NDArray) -> None:
        shape = arr.shape
        if len(shape) < 2:
            raise ArgumentError(
                f"Xavier initializer cannot be applied to vector {name}. It requires at least 2D, got shape {shape}."
            )
        taps = math.prod(shape[2:])
        n_in, n_out = shape[1] * taps, shape[0] * taps
        factors = {"avg": (n_in + n_out) / 2, "in": n_in, "out": n_out}
        if self.factor_type not in factors:
            raise ArgumentError(f"Incorrect factor type {self.factor_type!r}; expected one of {', '.join(factors)}")
        scale = math.sqrt(self.magnitude / factors[self.factor_type])
        if self.rnd_type == "uniform":
            arr[:] = generator().uniform(-scale, scale, shape)
        elif self.rnd_type == "gaussian":
            arr[:] = generator().normal(0, scale, shape)
        else:
            raise ArgumentError(f"Unknown random type {self.rnd_type!r}; expected uniform or gaussian")


@register
class MSRAPrelu(Xavier):
    """Xavier for layers before a (leaky) ReLU of the given slope: gaussian, magnitude 2 / (1 + slope^2).

    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers (arXiv:1502.01852).
    """

    def __init__(self, factor_type: str = "avg", slope: float = 0.25) -> None:
        super().__init__("gaussian", factor_type, 2.0 / (1 + slope**2))
        self._kwargs = {"factor_type": factor_type, "slope": slope}


@register
class Bilinear(Initializer):
    """Weights with which a transposed convolution interpolates bilinearly; (.., h, w), all planes alike."""

    def __init__(self) -> None:
        super().__init__()

    _init_weight = Initializer._init_bilinear
