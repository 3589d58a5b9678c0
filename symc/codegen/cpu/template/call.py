"""The call of a hand-written kernel: its buffers, then its numbers, as descriptor words."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref
from symc.loopir.kernel import Template


def template_call(
    template: Template,
    family: str,
    structure: str,
    maker: Callable[..., Any],
    build: Callable[[], Callable[..., Any]],
    words: Mapping[str, int],
    reason: str,
) -> KernelCall:
    """The call of the kernel that `build` makes by `maker`, of which `structure` names the variant.

    Descriptor: slot and offset of every input, output and scratch buffer in this order, then `words`.
    """
    d = Descriptor()
    for name in (*template.ins, *template.outs, *template.scratch):
        d.add(name, Ref(name))
    for name, word in words.items():
        d.add(name, word)

    def describe() -> str:
        numbers = "".join(f"# {line}\n" for line in d.lines()[-len(words) :])
        return f"# {template.routine}: {structure}\n{numbers}\n{textwrap.dedent(inspect.getsource(maker))}"

    code = KernelCode(family, f"{maker.__name__} {structure}", describe, build)
    return KernelCall(code, tuple(d.words), Chunks(template.n_parts), f"{reason}, {template.n_parts} chunks")
