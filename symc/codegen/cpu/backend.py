"""The CPU backend: what passes ask of it, and kernels -> calls -> object code -> addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.kernel import KernelCall, KernelCode
from symc.codegen.tuned import Choices, tuned
from symc.core.collector import collector_paused
from symc.core.config import setting
from symc.core.dtypes import BFLOAT16, BYTES
from symc.core.lazy import lazy
from symc.core.shapes import FullShape
from symc.core.undisturbed import alone
from symc.core.version import source_digest
from symc.ir.graph import Graph, Layout, Node
from symc.loopir.kernel import Buffer, Contraction, LoopKernel, Plan, Template
from symc.loopir.routine import Routine
from symc.loopir.tensor import Product

from .compile import compile_function, toolchain
from .load import LoadedKernel, LoadedKernels
from .target import Target, host_target

if TYPE_CHECKING:
    from symc.codegen.cpu.contraction.plan import CpuPlan

# By target fingerprint and kernel name; a kernel is unloaded when no program holds it any more.
_loaded: WeakValueDictionary[tuple[str, str], LoadedKernel] = WeakValueDictionary()


@dataclass(frozen=True)
class CpuBackend:
    """Schedules, compiles and loads kernels for one CPU target."""

    target: Target
    has_winograd: bool = True  # whether Winograd's algorithm may be chosen

    @staticmethod
    def host() -> CpuBackend:
        """The backend of this machine, as SYMC_VECTOR_BITS, SYMC_WINOGRAD and SYMC_NUMERICS narrow it."""
        has_winograd = setting("SYMC_WINOGRAD") and setting("SYMC_NUMERICS") != "strict"
        return CpuBackend(host_target(setting("SYMC_VECTOR_BITS")), has_winograd)

    # Imports are late, because a start with a warm cache schedules nothing.

    def layout_of(self, product: Product, rank: int, operand: int | None) -> Layout | None:
        """See passes.base.Machine."""
        from .preferences import layout_of

        return layout_of(product, rank, operand)

    def fits_prologue(self, product: Product, operand: int) -> bool:
        """See passes.base.Machine."""
        from .preferences import fits_prologue

        return fits_prologue(product, operand)

    def channels_together(self, product: Product, dtype: str) -> int | None:
        """See passes.base.Machine."""
        from symc.codegen.cpu.contraction.products import multiplies_bfloat16, widens_bytes

        from .preferences import channels_together, is_better_filtered

        if dtype == BFLOAT16 and not multiplies_bfloat16(self.target):
            return None
        if dtype in (*BYTES, "int16") and widens_bytes(self.target) != (dtype == "int16"):
            return None
        if dtype == BFLOAT16 and self.has_winograd and is_better_filtered(product, self.target.lanes("float32")):
            return None
        return channels_together(product, dtype)

    def fits_epilogue(self, graph: Graph, anchor: Node, node: Node) -> bool:
        """See passes.base.Machine."""
        from .preferences import fits_epilogue

        return fits_epilogue(graph, anchor, node)

    def fits_sections(self, product: Product, dtype: str, n: int) -> bool:
        """See passes.base.Machine."""

        from .preferences import fits_sections

        # Of 16, tiles that fit hold two rows: an LSTM of 16 sentences took 11 % longer.
        return self.target.has_32_registers and fits_sections(product, dtype, n)

    def keeps_near(self, n_elements: int, is_contiguous: bool) -> bool:
        """See passes.base.Machine."""
        from .preferences import keeps_near

        return keeps_near(n_elements, is_contiguous)

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        """See passes.base.Machine."""
        from .preferences import wants_columns

        return not self.target.has_32_registers and wants_columns(n_rows, weight_bytes, self.target.lanes(dtype))

    def gap_behind(self, row_bytes: int) -> int:
        """See passes.base.Machine."""
        from .preferences import gap_behind

        return 0 if self.target.has_32_registers else gap_behind(row_bytes)

    @property
    def near_bytes(self) -> int:
        """See passes.base.Machine."""
        from .preferences import NEAR_BYTES

        return NEAR_BYTES

    def plan(self, contraction: Contraction, is_reused: bool) -> Plan:
        """See passes.base.Machine."""
        from symc.codegen.cpu.contraction import plan_contraction

        return plan_contraction(contraction, self.target, is_reused, self.has_winograd, self.tuned)

    def scratch(self, routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
        """See passes.base.Machine."""
        return routine.scratch([b.shape for b in ins])

    @lazy
    def tuned(self) -> Choices:
        """See codegen.backend.Backend; what was known when it was first asked for."""
        return tuned(self.facts()["target"])

    def candidates(self, contraction: Contraction) -> list[CpuPlan]:
        """See codegen.backend.Backend."""
        from symc.codegen.cpu.contraction import candidates

        plan, bare = contraction.plan, replace(contraction, plan=None)
        assert isinstance(plan, ContractionPlan)
        return candidates(bare, self.target, plan.is_reused, self.has_winograd)

    def schedule(self, kernel: LoopKernel) -> list[KernelCall]:
        """The calls that compute a kernel, in order."""
        from symc.codegen.cpu.contraction import RowsPlan, schedule_contraction, schedule_rows
        from symc.codegen.cpu.nest import schedule_nest

        from .routines import schedule_template

        if isinstance(kernel, Contraction):
            return (
                schedule_rows(kernel, self.target)
                if isinstance(kernel.plan, RowsPlan)
                else schedule_contraction(kernel)
            )
        if isinstance(kernel, Template):
            return [schedule_template(kernel, self.target)]
        return list(schedule_nest(kernel, self.target))

    def identity(self) -> str:
        """Target, compiler and generator: object code of equal names and equal identities is interchangeable."""
        algorithms = "" if self.has_winograd else " direct"
        sources = source_digest("loopir", "codegen", "codegen/cpu")
        return f"{self.target.fingerprint()}{algorithms} {toolchain()} {sources}"

    def takes(self, identity: str) -> bool:
        """See codegen.backend.Backend."""
        return identity == self.identity()

    def facts(self) -> dict[str, str]:
        """What the target is, for people who read an artifact."""
        target = self.target
        return {
            "target": target.fingerprint(),
            "triple": target.triple,
            "cpu": target.cpu,
            "features": target.features,
        }

    def build(self, code: KernelCode) -> bytes:
        """The object code of a kernel."""
        with collector_paused():
            return alone(lambda: compile_function(code.build(), code.name, self.target))

    def remark(self, kernel: LoopKernel, call: KernelCall, data: bytes) -> str:
        """Nothing: registers and the like are in its source."""
        return ""

    def load(self, objects: Mapping[str, bytes]) -> LoadedKernels:
        """Addresses of kernels, which hold as long as the mapping does; programs share what is loaded already."""
        mark = self.target.fingerprint()
        kernels = {name: _loaded.get((mark, name)) or LoadedKernel(name, data) for name, data in objects.items()}
        _loaded.update({(mark, name): kernel for name, kernel in kernels.items()})
        return LoadedKernels(kernels)
