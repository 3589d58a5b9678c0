"""Every kernel of whole families of networks, compiled and assembled for every generation of GPUs; no GPU is needed.

    python -m tests.codegen.cuda.every_kernel [--capability 9 0] [--only TEXT] [--keep FOLDER]

The networks: conformance ops and nets; LeNet, ResNet-18 (small images), a bidirectional LSTM, a layer of BERT, layers
of float16 and of 8-bit integers, these with products in tf32 and bfloat16, and by groups of warps for sm_90a, as well;
forward and both directions. Prints how many kernels have which instructions in their machine code; exit status 1 where
one spills, a tile keeps its sums elsewhere than in registers, or the machine code lacks what the PTX asks for: accesses
of 16 bytes, copies to shared memory that nobody waits for, tensor cores of a warp or of four. A folder that is kept is
a kernel cache: `every_case` then runs the code that was looked at.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import symc as mx
from symc.codegen.cache import KernelCache
from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.compile import compile_for
from symc.codegen.cuda.contraction import plan
from symc.codegen.cuda.contraction.tile import TILES_OF_CORES, TILES_OF_GROUPS, Kind
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.target import GROUPS, KNOWN, Target
from symc.codegen.kernel import KernelCode
from symc.codegen.objects import ObjectStore
from symc.context import register_device, unregister_device
from symc.runtime.cuda.memory import DeviceMemory
from symc.runtime.cuda.runner import DeviceRunner
from symc.runtime.device import Device
from symc.testing.driver import SimDriver
from tests.codegen.cuda.machine_code import disassembled
from tests.conformance import golden, replay
from tests.runtime.cuda.test_programs import CASES, bytes_, halves

Source = Callable[[mx.Context], Iterator[tuple[str, mx.Executor]]]
OF_GROUPS = Target(GROUPS, is_exact=True)


@dataclass(frozen=True)
class Collector(CudaBackend):
    """Builds nothing, and knows afterwards what was asked of it."""

    codes: dict[str, KernelCode] = field(default_factory=dict, compare=False)

    def build(self, code: KernelCode) -> bytes:
        """An image without code."""
        self.codes[code.name] = code
        return KernelImage(b"", code.name).to_bytes()


def recorded(_: mx.Context) -> Iterator[tuple[str, mx.Executor]]:
    """What the conformance suite runs."""
    for kind, cases in (("conformance ops", golden.op_cases()), ("conformance nets", golden.net_cases())):
        for case in cases:
            if not case.facts.get("imperative") and case.name != "contrib-boolean_mask.00":  # a shape by values
                yield kind, replay.bind(mx, mx.sym.load_json(case.symbol_json), case)


def built_in(context: mx.Context) -> Iterator[tuple[str, mx.Executor]]:
    """Networks with matrices large enough for tiles."""
    yield "lenet", mx.models.get("lenet").symbol.simple_bind(context, data=(2, 1, 28, 28))
    yield "resnet-18", mx.models.get("resnet-18").symbol.simple_bind(context, data=(2, 3, 32, 32))
    yield "float16", halves().simple_bind(context, data=(16, 3, 6, 5))
    yield "8-bit integers", bytes_().simple_bind(context, grad_req="null", data=(16, 3, 9, 8))
    for name in ("lstm", "lstm of 17", "attention"):
        make, shape = CASES[name]
        yield name, make().simple_bind(context, data=shape)


def collected(only: str) -> dict[str, dict[str, KernelCode]]:
    """The kernels of both directions by name, by what needs them."""
    kinds: tuple[Kind, ...] = ("fma", "tf32", "bfloat16")
    target = Target((9, 0))
    return _collected(only, [("fma", recorded, target, ""), *((kind, built_in, target, "") for kind in kinds)])


def collected_by_groups(only: str) -> dict[str, dict[str, KernelCode]]:
    """The same of tiles by groups of warps, each wherever it can be."""
    found: dict[str, dict[str, KernelCode]] = {}
    try:
        plan.TILES_OF_CORES = ()  # type: ignore[assignment]
        for tile in TILES_OF_GROUPS:
            plan.TILES_OF_GROUPS = (tile,)  # type: ignore[assignment]
            for label, codes in _collected(only, [("tf32", built_in, OF_GROUPS, " by groups")]).items():
                tiles = {name: code for name, code in codes.items() if "by warpgroups" in code.structure}
                found.setdefault(label, {}).update(tiles)
    finally:
        plan.TILES_OF_CORES, plan.TILES_OF_GROUPS = TILES_OF_CORES, TILES_OF_GROUPS
    return found


def _collected(only: str, sources: Sequence[tuple[Kind, Source, Target, str]]) -> dict[str, dict[str, KernelCode]]:
    found: dict[str, dict[str, KernelCode]] = {}
    for float32_by, source, target, suffix in sources:
        backend, driver = Collector(target, lambda image: (1, None), float32_by), SimDriver()
        memory = DeviceMemory(driver)
        device = Device(backend, memory, DeviceRunner(driver, memory))
        register_device("gpu", lambda number, device=device: device)
        try:
            with mx.gpu() as context:
                for name, executor in source(context):
                    label = name + ("" if float32_by == "fma" else f" in {float32_by}") + suffix
                    if only in label:
                        for is_train in (False, True):
                            executor.compiled(is_train)
                        found.setdefault(label, {}).update(backend.codes)
                        backend.codes.clear()
        finally:
            unregister_device("gpu")
    return found


class Found(NamedTuple):
    """What is known of one kernel for one target."""

    registers: int
    spilled_bytes: int
    instructions: Counter[str]
    problem: str


_codes: dict[str, KernelCode] = {}  # processes that are forked find them here: what makes a kernel is a closure
SPECIAL = {  # what is asked for in PTX, and what it is in machine code
    "16 bytes": (r"\b(?:ld|st)\.global\.(?:nc\.)?(?:v4\.[bfu]32|v2\.[bfu]64)", r"\b(?:LDG|STG)\.E\S*\.128"),
    "LDGSTS": (r"\bcp\.async\.c[ag]\.shared\.global", r"\bLDGSTS\."),
    "HMMA": (r"\bmma\.sync\.\S*\.f32\s", r"\bHMMA\."),
    "IMMA": (r"\bmma\.sync\.\S*\.s32\s", r"\bIMMA\."),
    "LDSM": (r"\bldmatrix\.", r"\bLDSM\."),
    "HGMMA": (r"\bwgmma\.mma_async\.", r"\bHGMMA\."),
}
MULTIPLYING = "FFMA", "HMMA", "IMMA", "HGMMA"
TOGETHER = 16  # kernels of a task: the disassembler begins once for each target
OF_TILES = {"FFMA": r"\bFFMA\b", "local": r"\b(?:LDL|STL)\b"}


def compiled(task: tuple[Sequence[str], Sequence[Target], Path | None]) -> tuple[list[list[Found]], Counter[str]]:
    """Some kernels, each for all targets; what was found by target and kernel, and the seconds that were spent."""
    names, targets, folder = task
    start = time.perf_counter()
    of_kernels = [compile_for(targets, _codes[name].build(), name) for name in names]
    done = time.perf_counter()
    found = []
    for target, images in zip(targets, zip(*of_kernels)):
        store = ObjectStore(CudaBackend(target, lambda image: (1, None)))
        for image in images:
            KernelCache(folder).put(store.key(image.entry), image.to_bytes(), {"kernel": image.entry})
        found.append([judged(*both) for both in zip(images, disassembled(images, target))])
    return found, Counter({"compiling": done - start, "disassembling": time.perf_counter() - done})


def judged(image: KernelImage, assembly: str) -> Found:
    """What is in the machine code of a kernel, and what is wrong with it."""
    assert image.registers is not None and image.spilled_bytes is not None
    ptx, is_tile = image.code.decode("ascii"), _codes[image.entry].family == "tile"
    asked = [kind for kind, (pattern, _) in SPECIAL.items() if re.search(pattern, ptx)]
    patterns = {kind: pattern for kind, (_, pattern) in SPECIAL.items()} | OF_TILES
    instructions = Counter({kind: len(re.findall(pattern, assembly)) for kind, pattern in patterns.items()})
    problems = [f"no {kind}" for kind in asked if not instructions[kind]]
    if image.spilled_bytes:
        problems.append(f"{image.spilled_bytes} bytes spilled")
    if is_tile and not (instructions["LDGSTS"] and any(instructions[kind] for kind in MULTIPLYING)):
        problems.append("no copies ahead, or nothing that multiplies")
    if is_tile and instructions["local"]:
        problems.append("sums in local memory")
    return Found(image.registers, image.spilled_bytes, instructions, ", ".join(problems))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--capability", nargs=2, type=int, action="append", help="default: all that are known")
    parser.add_argument("--only", default="", metavar="TEXT", help="what has this in its name")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to keep the code; default: nowhere")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ |= {"SYMC_COMPILERS": "1", "SYMC_CACHE": "0"}
    targets = tuple(Target((major, minor)) for major, minor in options.capability or KNOWN)
    needed = {label: (targets, kernels) for label, kernels in collected(options.only).items()}
    if Target(GROUPS) in targets:
        needed |= {label: ((OF_GROUPS,), kernels) for label, kernels in collected_by_groups(options.only).items()}
    wanted: dict[tuple[Target, ...], list[str]] = {}
    for of_label, kernels in needed.values():
        wanted.setdefault(of_label, []).extend(kernels.keys() - _codes.keys())
        _codes.update(kernels)
    found: dict[tuple[str, Target], Found] = {}
    spent: Counter[str] = Counter()
    tasks = []
    for of_all, all_names in wanted.items():
        print(f"{len(all_names)} kernels for {' '.join(target.name for target in of_all)}", flush=True)
        names = sorted(all_names, key=lambda name: (_codes[name].family != "tile", name))  # what takes longest first
        tasks += [(names[k : k + TOGETHER], of_all, options.keep) for k in range(0, len(names), TOGETHER)]
    with multiprocessing.get_context("fork").Pool() as pool:
        for (together, of_task, _), (results, times) in zip(tasks, pool.imap(compiled, tasks)):
            spent.update(times)
            for target, of_target in zip(of_task, results):
                for name, result in zip(together, of_target):
                    found[name, target] = result
                    if result.problem:
                        print(f"{name} for {target.name}: {result.problem}\n{_codes[name].source[:400]}", flush=True)
    print(f"{'':28}{'target':>8}{'kernels':>9}{'registers':>11}{'spill':>7}" + "".join(f"{k:>10}" for k in SPECIAL))
    for label, (of_label, kernels) in needed.items():
        for target in of_label:
            own_found = [found[name, target] for name in kernels if (name, target) in found]
            having = [sum(1 for f in own_found if f.instructions[kind]) for kind in SPECIAL]
            print(
                f"{label:28}{target.name:>8}{len(own_found):>9}{max((f.registers for f in own_found), default=0):>11}"
                f"{sum(1 for f in own_found if f.spilled_bytes):>7}" + "".join(f"{n:>10}" for n in having)
            )
    print(", ".join(f"{time_s:.0f} s {doing}" for doing, time_s in spent.items()))
    return int(any(f.problem for f in found.values()))


if __name__ == "__main__":
    sys.exit(main())
