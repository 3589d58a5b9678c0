"""A routine's kernel before a device compiles it, and what it asks of that device's compiler."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Ref
from symc.loopir.kernel import Template


@dataclass(frozen=True, eq=False)
class Compiler:
    """What a body uses besides arithmetic; every device has its own.

    jit       makes a function that a body may call
    elements  dtype -> function of an address that gives what is indexed, `elements("int32")(address)[i]`; bool is read
              as uint8, and float16, which has no arithmetic, must be read as the int16 of its bits
    floats    the words of a descriptor read as float64
    """

    jit: Callable[[Callable[..., Any]], Callable[..., Any]]
    elements: Callable[[str], Callable[..., Any]]
    floats: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Body:
    """The kernel `make(compiler, *options)` of a template; `structure` names the variant.

    The kernel has the ABI of all (chunk, n_chunks, desc, bufs). Its descriptor: slot and offset of every input, output
    and scratch buffer in this order, then `words`.
    """

    template: Template
    family: str
    make: Callable[..., Callable[..., None]]
    options: tuple[Any, ...]
    structure: str
    words: Mapping[str, int | float]
    reason: str

    def descriptor(self) -> Descriptor:
        """The words of its call."""
        d = Descriptor()
        for name in (*self.template.ins, *self.template.outs, *self.template.scratch):
            d.add(name, Ref(name))
        for name, word in self.words.items():
            d.add(name, word)
        return d

    def text(self) -> str:
        """What it does, its numbers in the descriptor, and the source of its maker."""
        numbers = "".join(f"# {line}\n" for line in self.descriptor().lines()[-len(self.words) :])
        source = textwrap.dedent(inspect.getsource(self.make))
        return f"# {self.template.routine}: {self.structure}\n{numbers}\n{source}"
