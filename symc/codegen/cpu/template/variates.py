"""Random numbers by rejection: every number is a unit of its own, the functions are the routine's."""

# mypy: disable-error-code="no-untyped-def"
# (the kernel is typed by numba)
from __future__ import annotations

from collections.abc import Callable

from symc.codegen.kernel import KernelCall
from symc.core.shapes import size_of
from symc.loopir.kernel import Template, buffer_of
from symc.loopir.variates import Family, Variate, samplers

from .call import template_call


def schedule(template: Template) -> KernelCall:
    """The call of the kernel of a family."""
    routine, parameters = template.routine, buffer_of(template, template.ins[1])
    assert isinstance(routine, Variate)
    size, family = size_of(buffer_of(template, template.ins[0]).shape), routine.family
    words = {"size": size, "repeat": size // max(size_of(parameters.shape), 1)}

    def build() -> Callable[..., None]:
        return variate_kernel(parameters.dtype, family)

    structure = f"{parameters.dtype} {family}"
    return template_call(template, "variate", structure, variate_kernel, build, words, f"{size} numbers")


def variate_kernel(dtype: str, family: Family) -> Callable[..., None]:
    """One number from every key."""
    from numba import njit

    from .elements import elements

    uint64s, values = elements("uint64"), elements(dtype)
    draw = samplers(njit)[family]

    def kernel(chunk, n_chunks, desc, bufs):
        keys = uint64s(bufs[desc[0]] + desc[1])
        parameters = values(bufs[desc[2]] + desc[3])
        drawn = values(bufs[desc[4]] + desc[5])
        size, repeat = desc[6], desc[7]
        for n in range(chunk * size // n_chunks, (chunk + 1) * size // n_chunks):
            drawn[n] = draw(keys[n], float(parameters[n // repeat]))

    return kernel
