"""Choosing among initializers: by what a file holds (`Load`), by regular expressions (`Mixed`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence

from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError
from symc.ndarray import NDArray, load


class Load:
    """Copies parameters from a dict or a .params file (`arg:` and `aux:` are dropped from names).

    Those that it does not hold go to `default_init`. Raises ArgumentError where there is none or shapes differ.
    """

    def __init__(
        self,
        param: str | Mapping[str, NDArray],
        default_init: Callable[[str, NDArray], None] | None = None,
        verbose: bool = False,
    ) -> None:
        loaded = load(param) if isinstance(param, str) else param
        if not isinstance(loaded, Mapping):
            raise ArgumentTypeError(f"Load: expected a dict of arrays or a file of named arrays, got {type(loaded)}")
        self.param = {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in loaded.items()}
        self.default_init = default_init
        self.verbose = verbose

    def __call__(self, name: str, arr: NDArray) -> None:
        found = self.param.get(name)
        if found is None and self.default_init is None:
            raise ConflictError(
                f"Cannot Initialize {name}. Not found in loaded param and no default Initializer is provided."
            )
        if found is None:
            self.default_init(name, arr)  # type: ignore[misc]
        elif found.shape != arr.shape:
            raise ConflictError(
                f"Parameter {name} cannot be initialized from loading. "
                f"Shape mismatch, target {arr.shape} vs loaded {found.shape}"
            )
        else:
            arr[:] = found
        if self.verbose:
            logging.info("Initialized %s by %s", name, "default" if found is None else "loading")


class Mixed:
    """The initializer of the first regular expression that matches the start of a parameter's name."""

    def __init__(self, patterns: Sequence[str], initializers: Sequence[Callable[[str, NDArray], None]]) -> None:
        if len(patterns) != len(initializers):
            raise ConflictError(f"Mixed: {len(patterns)} patterns for {len(initializers)} initializers")
        self.map = [(re.compile(p), init) for p, init in zip(patterns, initializers)]

    def __call__(self, name: str, arr: NDArray) -> None:
        init = next((init for pattern, init in self.map if pattern.match(name)), None)
        if init is None:
            raise ArgumentError(
                f"Parameter name {name} did not match any pattern. Consider adding a "
                '".*" pattern at the end with default Initializer.'
            )
        init(name, arr)
