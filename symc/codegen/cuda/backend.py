"""The CUDA backend: what passes ask of it, and kernels -> calls -> images -> handles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.cuda.contraction.tile import Kind
from symc.codegen.kernel import KernelCall, KernelCode
from symc.codegen.tuned import NOTHING, Choices
from symc.core.errors import DeviceError
from symc.core.shapes import FullShape
from symc.core.undisturbed import alone
from symc.core.version import source_digest
from symc.ir.graph import Graph, Layout, Node
from symc.loopir.kernel import Buffer, Contraction, LoopKernel, Plan, Template
from symc.loopir.routine import Routine
from symc.loopir.tensor import Product

from .compile import compile_kernel, toolchain
from .image import KernelImage
from .launch import Grid
from .target import Target

# What a driver does with images: a handle that lives as long as the object it is given with.
Load = Callable[[KernelImage], tuple[int, Any]]


@dataclass(frozen=True)
class CudaBackend:
    """Schedules and compiles kernels for one target; `load_image` puts them onto a GPU."""

    target: Target
    load_image: Load
    float32_by: Kind = "fma"  # what multiplies float32: tensor cores round to tf32 or bfloat16 first

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which compile and load nothing."""
        return CudaBackend, (self.target, _load_nothing, self.float32_by)

    # Imports are late, because a start with a warm cache schedules nothing.

    def layout_of(self, product: Product, rank: int, operand: int | None) -> Layout | None:
        """See passes.base.Machine."""
        from symc.codegen.contraction.preferences import layout_of

        return layout_of(product, rank, operand)

    def fits_prologue(self, product: Product, operand: int) -> bool:
        """See passes.base.Machine."""
        from symc.codegen.contraction.preferences import fits_prologue

        return fits_prologue(product, operand)

    def channels_together(self, product: Product, dtype: str) -> int | None:
        """See passes.base.Machine."""
        from .preferences import channels_together

        return channels_together(product, dtype)

    def fits_epilogue(self, graph: Graph, anchor: Node, node: Node) -> bool:
        """See passes.base.Machine."""
        from symc.codegen.contraction.preferences import fits_epilogue

        return fits_epilogue(graph, anchor, node)

    def fits_sections(self, product: Product, dtype: str, n: int) -> bool:
        """See passes.base.Machine."""
        from .preferences import fits_sections

        return self.float32_by == "fma" and fits_sections(product, dtype, n)

    def keeps_near(self, n_elements: int, is_contiguous: bool) -> bool:
        """See passes.base.Machine."""
        from .preferences import keeps_near

        return keeps_near(n_elements, is_contiguous)

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        """See passes.base.Machine."""
        return False

    def gap_behind(self, row_bytes: int) -> int:
        """See passes.base.Machine."""
        return 0

    @property
    def near_bytes(self) -> None:
        """See passes.base.Machine."""
        return None

    def plan(self, contraction: Contraction, is_reused: bool) -> Plan | None:
        """See passes.base.Machine."""
        from symc.codegen.cuda.contraction.plan import plan_contraction

        return plan_contraction(contraction, self.float32_by, is_reused, self.target.is_exact)

    def scratch(self, routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
        """See passes.base.Machine."""
        from symc.codegen.cuda.routines import scratch_of

        return scratch_of(routine, ins)

    tuned: ClassVar[Choices] = NOTHING

    def candidates(self, contraction: Contraction) -> Sequence[ContractionPlan]:
        """See codegen.backend.Backend."""
        return ()

    def schedule(self, kernel: LoopKernel) -> list[KernelCall]:
        """The calls that compute a kernel, in order."""
        from symc.codegen.cuda.contraction.direct import nest_of
        from symc.codegen.cuda.contraction.plan import TilePlan
        from symc.codegen.cuda.contraction.schedule import schedule_tiles
        from symc.codegen.cuda.nest import schedule_nest
        from symc.codegen.cuda.routines import schedule_template

        if isinstance(kernel, Contraction) and isinstance(kernel.plan, TilePlan):
            return schedule_tiles(kernel, kernel.plan)
        if isinstance(kernel, Contraction):
            return schedule_nest(nest_of(kernel))
        if isinstance(kernel, Template):
            return schedule_template(kernel)
        return schedule_nest(kernel)

    def identity(self) -> str:
        """Target, compilers and generator: images of equal names and equal identities are interchangeable."""
        before, after = self._identity_around()
        return f"{before}{toolchain() or 'no compiler'}{after}"

    def _identity_around(self) -> tuple[str, str]:
        """What the compilers' versions stand between."""
        rounded = "" if self.float32_by == "fma" else f" {self.float32_by}"
        return f"{self.target.name}{rounded} ", f" {source_digest('loopir', 'codegen', 'codegen/cuda')}"

    def takes(self, identity: str) -> bool:
        """Its own; where there are no compilers, what others have made of the same kernels for this target."""
        if toolchain() is not None:
            return identity == self.identity()
        before, after = self._identity_around()
        return identity.startswith(f"{before}numba ") and identity.endswith(after)

    def facts(self) -> Mapping[str, str]:
        """What the target is, for people who read an artifact."""
        return {"target": self.target.name}

    def build(self, code: KernelCode) -> bytes:
        """The image of a kernel."""
        return alone(lambda: compile_kernel(code.build(), code.name, self.target)).to_bytes()

    def remark(self, kernel: LoopKernel, call: KernelCall, data: bytes) -> str:
        """Registers and shared memory, which decide how many blocks run at once, what did not fit, and the time."""
        from .roofline import predict

        image = KernelImage.from_bytes(data)
        n_shared = image.shared_bytes + Grid(*call.launch).shared_bytes
        shared = f", {n_shared} B shared" if n_shared else ""
        spilled = f", {image.spilled_bytes} B spilled" if image.spilled_bytes else ""
        return f"{image.registers} registers{shared}{spilled}, {predict(kernel, call, image)}"

    def load(self, objects: Mapping[str, bytes]) -> LoadedImages:
        """Handles of kernels, which hold as long as the mapping does."""
        return LoadedImages({name: self.load_image(KernelImage.from_bytes(data)) for name, data in objects.items()})


def _load_nothing(image: KernelImage) -> tuple[int, Any]:
    raise DeviceError(f"loading {image.entry}: this process compiles for a GPU that another one has")


class LoadedImages(dict[str, int]):
    """Handles by kernel name; keeps the kernels loaded."""

    def __init__(self, loaded: Mapping[str, tuple[int, Any]]) -> None:
        super().__init__({name: handle for name, (handle, _) in loaded.items()})
        self._kept = [owner for _, owner in loaded.values()]
