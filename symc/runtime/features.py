"""`mx.runtime.Features`: what symc can do here, under the names of MXNet's compile-time features."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.cpu.target import host_target
from symc.core.errors import ArgumentError

# Of MXNet 1.9's features those that describe something symc always has; the others are off, but for those of the CPU.
ENABLED = frozenset({"SIGNAL_HANDLER"})
# What LLVM calls them: kernels are compiled for the machine they run on.
OF_CPU = {
    "CPU_SSE": "+sse", "CPU_SSE2": "+sse2", "CPU_SSE3": "+sse3", "CPU_SSE4_1": "+sse4.1", "CPU_SSE4_2": "+sse4.2",
    "CPU_SSE4A": "+sse4a", "CPU_AVX": "+avx", "CPU_AVX2": "+avx2", "F16C": "+f16c",
}  # fmt: skip
NAMES = (
    "CUDA CUDNN NCCL CUDA_RTC TENSORRT CPU_SSE CPU_SSE2 CPU_SSE3 CPU_SSE4_1 CPU_SSE4_2 CPU_SSE4A CPU_AVX CPU_AVX2 "
    "OPENMP SSE F16C JEMALLOC BLAS_OPEN BLAS_ATLAS BLAS_MKL BLAS_APPLE LAPACK MKLDNN OPENCV CAFFE PROFILER "
    "DIST_KVSTORE CXX14 INT64_TENSOR_SIZE SIGNAL_HANDLER DEBUG TVM_OP"
).split()


@dataclass(frozen=True, repr=False)
class Feature:
    """A feature and whether it is there."""

    name: str
    enabled: bool

    def __repr__(self) -> str:
        return f"{'✔' if self.enabled else '✖'} {self.name}"


def feature_list() -> list[Feature]:
    """Every feature."""
    of_machine = host_target().features.split(",")
    return [Feature(name, name in ENABLED or OF_CPU.get(name) in of_machine) for name in NAMES]


class Features(dict[str, Feature]):
    """Every feature by name; there is one for all."""

    _only: Features | None = None

    def __new__(cls) -> Features:
        cls._only = cls._only or super().__new__(cls)
        return cls._only

    def __init__(self) -> None:
        super().__init__((feature.name, feature) for feature in feature_list())

    def __repr__(self) -> str:
        return str(list(self.values()))

    def is_enabled(self, feature_name: str) -> bool:
        """Whether a feature is there; raises ArgumentError for a name MXNet does not have."""
        found = self.get(feature_name.upper())
        if found is None:
            raise ArgumentError(f"Feature '{feature_name}' is unknown, known features are: {list(self)}")
        return found.enabled
