"""One way to make a numba function out of code that emits LLVM IR. numba is imported when the first one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, overload

from symc.core.required import required

WORDS = ("desc", "bufs")  # arguments of these names are pointers to int64, all others are int64


class Printer(NamedTuple):
    """What an intrinsic is made of, for those who need no numba to call it."""

    emit: Callable[..., Any]
    arguments: tuple[str, ...]


def printer_of(function: Any) -> Printer | None:
    """Of an intrinsic; None of anything else."""
    return getattr(function, "printer", None)


@overload
def intrinsic(emit: Callable[..., Any], *, result: str = ..., arguments: Sequence[str] | None = ...) -> Any: ...


@overload
def intrinsic(*, result: str = ..., arguments: Sequence[str] | None = ...) -> Callable[[Callable[..., Any]], Any]: ...


def intrinsic(
    emit: Callable[..., Any] | None = None, *, result: str = "void", arguments: Sequence[str] | None = None
) -> Any:
    """A numba function whose code `emit(builder, *values)` prints; it returns the value of the result, if any.

    `result` names a numba type; with a star it is a pointer to that type. `arguments` names the arguments where
    emit's own parameters do not. Example:

        @intrinsic(result="int64")
        def twice(b, number):
            return b.add(number, number)
    """
    if emit is None:
        return partial(intrinsic, result=result, arguments=arguments)
    types = required("numba").types
    names = list(inspect.signature(emit).parameters)[1:] if arguments is None else arguments
    pointer_to: Any = types.CPointer
    words = pointer_to(types.int64)
    gives = getattr(types, result.rstrip("*"))
    gives = pointer_to(gives) if result.endswith("*") else gives
    typed = gives(*(words if name in WORDS else types.int64 for name in names))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = emit(builder, *values)
        return context.get_dummy_value() if value is None else value

    def define(typing: Any, *values: Any) -> Any:
        return typed, generate

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typing", *names)]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    define.__name__, define.__doc__ = emit.__name__, emit.__doc__
    made: Any = required("numba").extending.intrinsic(define)
    made.printer = Printer(emit, tuple(names))
    return made
