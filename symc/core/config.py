"""Every SYMC_* environment variable in one table, read in one place.

>>> setting("SYMC_DEBUG")
0
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import SettingError
from .nearest import nearest

MAX_THREADS = 256  # of the native runner, whose pool has a place for each
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One environment variable: how its text is read, what holds when it is unset, what it does."""

    parse: Callable[[str], Any]
    default: Any
    doc: str


_WORDS = {"0": False, "false": False, "no": False, "off": False, "1": True, "true": True, "yes": True, "on": True}


def _flag(text: str) -> bool:
    """Reads yes or no; a word that is neither is nobody's choice."""
    word = text.strip().lower()
    if word not in _WORDS:
        raise ValueError(text)
    return _WORDS[word]


_flag.__name__ = "0 or 1"


def _at_least(low: int, high: int | None = None) -> Callable[[str], int]:
    """Reads a whole number that has a least value, and perhaps a largest."""

    def parse(text: str) -> int:
        number = int(text)
        if number < low or (high is not None and number > high):
            raise ValueError(text)
        return number

    parse.__name__ = f"a number from {low} on" if high is None else f"a number from {low} to {high}"
    return parse


def _one_of(*choices: T) -> Callable[[str], T]:
    """Reads one of a few words or numbers."""
    by_text = {str(choice): choice for choice in choices}

    def parse(text: str) -> T:
        if text not in by_text:
            raise ValueError(text)
        return by_text[text]

    parse.__name__ = f"one of {', '.join(by_text)}"
    return parse


SETTINGS: dict[str, Setting] = {
    "SYMC_DEBUG": Setting(
        _at_least(0),
        0,
        "0 quiet; 1 a line per compile (and tracebacks in the CLI); 2 time per pass and kernel; 3 fusion and schedule "
        "reasons; 4 kernel source; 5 the graph after each pass",
    ),
    "SYMC_DUMP": Setting(str, None, "directory that receives every compile step as text and an index.html"),
    "SYMC_NUM_THREADS": Setting(
        _at_least(1, MAX_THREADS), None, "threads of the native runner; default: the CPUs this process may use"
    ),
    "SYMC_COMPILERS": Setting(
        _at_least(1),
        4,
        "processes that may compile at a time, when many kernels are missing; never more than this one has CPUs",
    ),
    "SYMC_VECTOR_BITS": Setting(
        _one_of(128, 256, 512), None, "SIMD width of generated kernels; default: the widest that the CPU has"
    ),
    "SYMC_WINOGRAD": Setting(
        _flag, True, "0 sums every convolution directly: an infinity or NaN then reaches only the windows that see it"
    ),
    "SYMC_TF32": Setting(
        _flag,
        False,
        "1 lets GPUs multiply float32 by tensor cores: operands keep 10 of their 23 bits, sums all of them",
    ),
    "SYMC_BF16": Setting(_flag, False, "1 does the same with bfloat16 instead of tf32: 7 bits, twice as fast"),
    "SYMC_WGMMA": Setting(
        _flag,
        False,
        "1 lets GPUs of compute capability 9.0 (H100, H200) multiply float16, and float32 with SYMC_TF32=1, by four "
        "warps together (wgmma), which is the full rate of their tensor cores; off until a device has measured it",
    ),
    "SYMC_NUMERICS": Setting(
        _one_of("strict", "default", "fast", "bfloat16"),
        "default",
        "default rounds float16 after every operator, as MXNet does; strict also leaves out Winograd's algorithm; fast "
        "rounds float16 only where it is cast to or stored: inside a fused kernel it is float32; bfloat16 is as fast, "
        "and rounds data and weights of float32 layers to 8 bits where the CPU multiplies bfloat16; sums are float32",
    ),
    "SYMC_CACHE": Setting(_flag, True, "0 switches the kernel cache on disk off"),
    "SYMC_CACHE_DIR": Setting(str, None, "directory of the kernel cache; default: $XDG_CACHE_HOME/symc"),
    "SYMC_SIMULATED_GPUS": Setting(
        _at_least(0),
        0,
        "how many GPUs to simulate in place of real ones: mx.gpu(k) then runs PTX on the CPU, slowly, and faults at "
        "races, bad addresses and reads of what nobody wrote",
    ),
    "SYMC_VERIFY": Setting(_flag, True, "0 skips the verifier between passes"),
}


def setting(name: str) -> Any:
    """The value of one SYMC_* variable, parsed; its default when unset.

    Raises SettingError when the variable's text cannot be read.
    """
    _warn_of_unknown()
    entry = SETTINGS[name]
    text = os.environ.get(name)
    if text is None or text == "":
        return entry.default
    try:
        return entry.parse(text)
    except ValueError as e:
        raise SettingError(f"environment variable {name}={text!r}: expected {entry.parse.__name__}; {entry.doc}") from e


@functools.cache  # once: the first setting is asked for before anything is compiled
def _warn_of_unknown() -> None:
    """Warns of SYMC_* variables that are in no table: nothing else would tell that they have no effect."""
    for name in sorted(os.environ):
        if name.startswith("SYMC_") and name not in SETTINGS:
            warnings.warn(f"environment variable {name} has no effect{nearest(name, SETTINGS)}", stacklevel=3)
