"""Winograd's transforms on vectors, and the kernel that transforms the weights once."""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from symc.codegen.contraction.winograd import N_TAPS, Matrix, Transforms, TransformWeight, factors_of
from symc.codegen.cpu.target import Target
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I64
from symc.codegen.llvm.memory import Elements
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.kernel import Template

from .micro import plain_vectors_of

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Weights of 3x3 taps, transformed in place: G w G^T, {dtype}."""
    {words}
    for line in range(chunk * n_lines // n_chunks, (chunk + 1) * n_lines // n_chunks):
        panel = line // channels
        transform(weight + panel * panel_bytes + (line - panel * channels) * {line_bytes}, channels * {line_bytes})
'''


def schedule_weight_transform(template: Template, target: Target) -> KernelCall:
    """The call that carries out a `TransformWeight`."""
    routine = template.routine
    assert isinstance(routine, TransformWeight)
    packing, transforms = routine.packing, routine.packing.transforms
    lanes, n_elements = target.lanes(packing.dtype), packing.panel_columns * packing.n_together
    n_vectors = n_elements // lanes
    line_bytes = n_elements * ITEM_SIZE[packing.dtype]
    d = Descriptor()
    (weight,) = template.outs
    d.add("weight", Ref(weight))
    d.add("n_lines", packing.n_panels * packing.n_words)
    d.add("channels", packing.n_words)
    d.add("panel_bytes", transforms.n_frequencies * packing.n_words * line_bytes)
    source = SOURCE.format(dtype=packing.dtype, words="\n    ".join(d.lines()), line_bytes=line_bytes).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"transform": _weight_transform(packing.dtype, n_vectors, lanes, transforms)}
        exec(source, scope)
        return scope["kernel"]

    structure = f"winograd weight {packing.dtype} F{transforms.outputs} {n_vectors} vectors of {lanes}"
    code = KernelCode("winograd_weight", structure, lambda: source, build)
    return KernelCall(code, tuple(d.words), Chunks(template.n_parts), f"{template.n_parts} chunks")


def _weight_transform(dtype: str, n_vectors: int, lanes: int, transforms: Transforms) -> Any:
    """The intrinsic `transform(weight, bytes of a frequency)`: one input channel, or word of them, of one panel."""

    @intrinsic
    def transform_line(b, weight, step):
        simd = plain_vectors_of(b, dtype, lanes)
        first = simd.pointer(weight)
        frequencies = [simd.at(first, b.mul(step, I64(k))) for k in range(transforms.n_frequencies)]
        for v in range(n_vectors):
            places = [simd.at(pointer, v * simd.vector_bytes) for pointer in frequencies]
            values = transform(simd, transforms.weight, [simd.load(at) for at in places[: N_TAPS**2]])
            for at, value in zip(places, values):
                simd.store(value, at)

    return transform_line


def transform(simd: Elements, matrix: Matrix, values: Sequence[Any]) -> list[Any]:
    """matrix @ values @ matrix^T of vectors, row-major."""
    n, factors = len(matrix[0]), factors_of(matrix)
    columns = [_apply(simd, factors, values[j::n]) for j in range(n)]
    lines = [_apply(simd, factors, [column[a] for column in columns]) for a in range(len(matrix))]
    return [value for line in lines for value in line]


def _apply(simd: Elements, factors: tuple[Matrix, ...], values: Sequence[Any]) -> Sequence[Any]:
    """The product of `factors` @ values."""
    for matrix in reversed(factors):
        values = [_combine(simd, line, values) for line in matrix]
    return values


def _combine(simd: Elements, coefficients: Sequence[float], values: Sequence[Any]) -> Any:
    """sum of coefficient * value."""
    b, total = simd.b, None
    is_integer = isinstance(simd.element, ir.IntType)
    add, subtract, multiply = (b.add, b.sub, b.mul) if is_integer else (b.fadd, b.fsub, b.fmul)
    # A positive one first: the sum can start from it without a multiplication.
    for c, value in sorted(((c, v) for c, v in zip(coefficients, values) if c), key=lambda pair: pair[0] != 1):
        if total is None:
            total = value if c == 1 else multiply(value, simd.number(c))
        elif abs(c) == 1:
            total = add(total, value) if c == 1 else subtract(total, value)
        elif is_integer:
            total = add(total, multiply(value, simd.number(c)))
        else:
            total = simd.v.fma(value, simd.number(c), total)
    return total
