"""Random numbers by rejection: every number is a unit of its own, the functions are the routine's."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable

from symc.core.shapes import size_of
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.variates import Family, Variate, samplers

from .body import Body, Compiler


def body(template: Template) -> Body:
    """The kernel of a family."""
    routine, parameters = template.routine, buffer_of(template, template.ins[1])
    assert isinstance(routine, Variate)
    size, family = size_of(buffer_of(template, template.ins[0]).shape), routine.family
    words = {"size": size, "repeat": size // max(size_of(parameters.shape), 1)}

    options = parameters.dtype, family
    return Body(template, "variate", variate_kernel, options, f"{parameters.dtype} {family}", words, f"{size} numbers")


def variate_kernel(compiler: Compiler, dtype: str, family: Family) -> Callable[..., None]:
    """One number from every key."""
    uint64s, values = compiler.elements("uint64"), compiler.elements(dtype)
    draw = samplers(compiler.jit)[family]

    def kernel(chunk, n_chunks, desc, bufs):
        keys = uint64s(bufs[desc[0]] + desc[1])
        parameters = values(bufs[desc[2]] + desc[3])
        drawn = values(bufs[desc[4]] + desc[5])
        size, repeat = desc[6], desc[7]
        for n in range(chunk * size // n_chunks, (chunk + 1) * size // n_chunks):
            drawn[n] = draw(keys[n], float(parameters[n // repeat]))

    return kernel
