"""The base of initializers: which rule a parameter's name asks for; initializers by name."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symc import registry
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.ndarray import NDArray
from symc.ndarray.generator import generator


class InitDesc(str):
    """A parameter's name with its attributes (`Symbol.attr_dict()[name]`), of which `__init__` overrides all rules.

    global_init   what an initializer for a part of the parameters falls back to
    """

    attrs: Mapping[str, str]
    global_init: Initializer | None

    def __new__(
        cls, name: str, attrs: Mapping[str, str] | None = None, global_init: Initializer | None = None
    ) -> InitDesc:
        desc = super().__new__(cls, name)
        desc.attrs = attrs or {}
        desc.global_init = global_init
        return desc


# What the end of a name means, first match first: of an InitDesc, and of a plain string (with the start of the name).
_RULES = (
    ("weight", "weight"), ("bias", "bias"), ("gamma", "gamma"), ("beta", "beta"), ("min", "zero"), ("max", "one"),
    ("weight_quantize", "quantized_weight"), ("bias_quantize", "quantized_bias"),
)  # fmt: skip
_OLD_RULES = (
    ("upsampling", "", "bilinear"), ("stn_loc", "weight", "zero"), ("stn_loc", "bias", "loc_bias"),
    ("", "bias", "bias"), ("", "gamma", "gamma"), ("", "beta", "beta"), ("", "weight", "weight"),
    ("", "moving_mean", "zero"), ("", "moving_var", "one"), ("", "moving_inv_var", "zero"), ("", "moving_avg", "zero"),
    ("", "min", "zero"), ("", "max", "one"),
)  # fmt: skip


class Initializer:
    """Base of initializers: a subclass overrides `_init_weight(name, array)`, and `_init_bias` and the like if needed.

    The keyword arguments given to the base's constructor are what `dumps` writes.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._kwargs = kwargs
        self._verbose = False
        self._print_func: Callable[[NDArray], str] | None = None

    def set_verbosity(self, verbose: bool = False, print_func: Callable[[NDArray], str] | None = None) -> Initializer:
        """Logs every array that is initialized with a number about it: root mean square, or what print_func says."""
        self._verbose = verbose
        self._print_func = print_func or _root_mean_square
        return self

    def dumps(self) -> str:
        """Name and arguments as JSON, as in a variable's `__init__`: `["normal", {"sigma": 0.5}]`."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __call__(self, desc: str, arr: NDArray) -> None:
        """Writes the start value of the parameter `desc` into `arr`.

        Raises ArgumentError for a name without a rule, ArgumentTypeError for what is no name or no NDArray.
        """
        if not isinstance(desc, str):
            raise ArgumentTypeError("name must be string")
        if not isinstance(arr, NDArray):
            raise ArgumentTypeError("arr must be NDArray")
        if not isinstance(desc, InitDesc):
            self._init_by_old_rules(desc, arr)
            return
        if desc.global_init is None:
            desc.global_init = self
        own = desc.attrs.get("__init__")
        if own:
            create(own)._init_weight(desc, arr)
            self._report(desc, own, arr)
            return
        rule = next((rule for end, rule in _RULES if desc.endswith(end)), "default")
        getattr(self, f"_init_{rule}")(desc, arr)
        self._report(desc, rule, arr)

    def _init_by_old_rules(self, name: str, arr: NDArray) -> None:
        warnings.warn(
            "Calling initializer with init(str, NDArray) has been deprecated. "
            "please use init(mx.init.InitDesc(...), NDArray) instead.",
            DeprecationWarning,
            stacklevel=3,
        )
        matching = (rule for start, end, rule in _OLD_RULES if name.startswith(start) and name.endswith(end))
        getattr(self, f"_init_{next(matching, 'default')}")(name, arr)

    def _report(self, desc: InitDesc, rule: str, arr: NDArray) -> None:
        if self._verbose and self._print_func:
            logging.info("Initialized %s as %s: %s", desc, rule, self._print_func(arr))

    # -- rules, which subclasses may override ------------------------------------------------------------------------

    def _init_weight(self, name: str, arr: NDArray) -> None:
        raise NotImplementedError(f"{type(self).__name__} must override _init_weight to initialize {name}")

    def _init_zero(self, _: str, arr: NDArray) -> None:
        arr[:] = 0.0

    def _init_one(self, _: str, arr: NDArray) -> None:
        arr[:] = 1.0

    _init_bias = _init_beta = _init_quantized_bias = _init_zero
    _init_gamma = _init_one

    def _init_quantized_weight(self, _: str, arr: NDArray) -> None:
        arr[:] = generator().integers(-127, 127, arr.shape)

    def _init_bilinear(self, _: str, arr: NDArray) -> None:
        arr[:] = bilinear_kernel(arr.shape)

    def _init_loc_bias(self, name: str, arr: NDArray) -> None:
        if arr.shape != (6,):
            raise ArgumentError(f"{name}: the bias of an affine transformation has shape (6,), got {arr.shape}")
        arr[:] = np.array([1.0, 0, 0, 0, 1.0, 0])

    def _init_default(self, name: str, _: NDArray) -> None:
        raise ArgumentError(
            f"Unknown initialization pattern for {name}. Default initialization is now limited to "
            '"weight", "bias", "gamma" (1.0), and "beta" (0.0).'
            "Please use mx.sym.Variable(init=mx.init.*) to set initialization pattern"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Initializer):
            return NotImplemented
        return type(self) is type(other) and self._kwargs == other._kwargs

    __hash__ = None  # type: ignore[assignment]  # compared by value, and mutable


def bilinear_kernel(shape: tuple[int, ...]) -> np.ndarray:
    """(.., h, w): the product of two hats over a grid whose pitch follows from w, as in MXNet."""
    height, width = shape[-2:]
    reach = math.ceil(width / 2)
    centre = (2 * reach - 1 - reach % 2) / (2 * reach)
    rows, columns = (1 - np.abs(np.arange(n) / reach - centre) for n in (height, width))
    return np.broadcast_to(np.outer(rows, columns), shape)


def _root_mean_square(array: NDArray) -> str:
    return str(float(np.sqrt(np.mean(np.square(array.asnumpy(), dtype="float64")))))


register = registry.get_register_func(Initializer, "initializer")
alias = registry.get_alias_func(Initializer, "initializer")
create = registry.get_create_func(Initializer, "initializer")
