"""What machine CPU kernels are compiled for: triple, features, and the width of its vectors."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from symc.core.errors import SettingError
from symc.core.required import required

# Subtracting one feature makes LLVM drop all that depend on it, so one word turns a machine into a lesser one.
_NARROWING = {512: "", 256: ",-avx512f", 128: ",-avx"}
_AVX512 = frozenset({"+avx512f", "+avx512vl", "+avx512dq", "+avx512bw"})
_AVX2 = frozenset({"+avx2", "+fma"})


@dataclass(frozen=True)
class Target:
    """A machine as LLVM describes it, plus the one number schedules ask for.

    `features` is LLVM's comma-separated list and is always passed explicitly: the CPU's name alone promises
    AVX-512 on virtual machines that mask it, and such code dies with SIGILL.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int

    @property
    def has_32_registers(self) -> bool:
        """Whether vectors have 32 registers, as with AVX-512 and NEON; else they have 16."""
        return self.vector_bits == 512 or self.triple.startswith("aarch64")

    def lanes(self, dtype: DTypeLike) -> int:
        """Elements of `dtype` in one vector register, at least 1."""
        return max(1, self.vector_bits // (8 * np.dtype(dtype).itemsize))

    def fingerprint(self) -> str:
        """A short stable name; equal fingerprints mean that object code may be exchanged.

        Example: `x86_64-znver4-512-1f0c5a7be2d49a63`.
        """
        identity = "\n".join((self.triple, self.cpu, self.features, str(self.vector_bits)))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return f"{self.triple.split('-')[0]}-{self.cpu}-{self.vector_bits}-{digest}"


@functools.cache
def host_target(vector_bits: int | None = None) -> Target:
    """The machine we run on.

    `vector_bits` (128, 256 or 512; None = the widest) narrows it: the features that a machine with such vectors
    lacks are taken away as well, so the result behaves like that machine. Raises SettingError when the CPU has
    no vectors of that width.
    """
    llvm = required("llvmlite.binding")  # 50 ms, not needed by `import symc`

    features = llvm.get_host_cpu_features().flatten()
    widest = widest_vector_bits(features)
    bits = widest if vector_bits is None else vector_bits
    if bits not in _NARROWING or bits > widest:
        raise SettingError(
            f"choosing the vector width: this CPU offers {_offered(widest)} bits, got {bits}; "
            f"unset SYMC_VECTOR_BITS or set it to one of these"
        )
    narrowing = _NARROWING[bits] if bits < widest else ""
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), features + narrowing, bits)


def widest_vector_bits(features: str) -> int:
    """The widest vectors worth generating for: 512 needs AVX-512 F+VL+DQ+BW, 256 needs AVX2+FMA, else 128
    (SSE2, NEON)."""
    present = frozenset(features.split(","))
    if present >= _AVX512:
        return 512
    if present >= _AVX2:
        return 256
    return 128


def _offered(widest: int) -> str:
    return ", ".join(str(bits) for bits in sorted(_NARROWING) if bits <= widest)
