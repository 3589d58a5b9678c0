"""Running sums: rows of neighbouring lines advance together, so that memory is read as it lies."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

from collections.abc import Callable

from symc.loopir.kernel import Template, buffer_of
from symc.loopir.routine import lines_of
from symc.loopir.scan import Scan

from .body import Body, Compiler


def body(template: Template) -> Body:
    """The one kernel."""
    routine, data = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, Scan)
    outer, extent, inner = lines_of(data.shape, routine.axis)
    words = {"n_lines": outer * inner, "length": extent, "inner": inner}
    reason = f"{outer * inner} lines of {extent}"
    return Body(template, "scan", scan_kernel, (data.dtype,), data.dtype, words, reason)


def scan_kernel(compiler: Compiler, dtype: str) -> Callable[..., None]:
    """Each element is the one `inner` places before it plus its own."""
    values = compiler.elements(dtype)

    def kernel(chunk, n_chunks, desc, bufs):
        source = values(bufs[desc[0]] + desc[1])
        target = values(bufs[desc[2]] + desc[3])
        n_lines, length, inner = desc[4], desc[5], desc[6]
        line = chunk * n_lines // n_chunks
        last = (chunk + 1) * n_lines // n_chunks
        while line < last:
            outer = line // inner
            first = line - outer * inner
            stop = last - outer * inner
            if stop > inner:
                stop = inner
            row = outer * length * inner
            for at in range(row + first, row + stop):
                target[at] = source[at]
            for _ in range(length - 1):
                row += inner
                for at in range(row + first, row + stop):
                    target[at] = target[at - inner] + source[at]
            line += stop - first

    return kernel
