"""Faults planted in correct kernels, one by one: each is found, and said to be what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from symc.testing.ptx.faults import KINDS, KernelFault
from symc.testing.ptx.launch import Limits

from .kernels import Constant, Empty, edited, numbers, run_text, uses

Edit = tuple[str, str] | Callable[[str], str]
BARRIER = "bar.sync \t0;"
SHOWN = "fence.proxy.async.shared::cta;"
HEAD = ".version 9.0\n.target sm_90\n.address_size 64\n"


def nth(old: str, n: int, new: str = "") -> Callable[[str], str]:
    """Replaces the n-th place of a text, from 0."""

    def edit(text: str) -> str:
        parts = text.split(old)
        return old.join(parts[: n + 1]) + new + old.join(parts[n + 1 :])

    return edit


def pattern(old: str, new: str) -> Callable[[str], str]:
    """Replaces the first place of a regular expression."""
    return lambda text: re.sub(old, new, text, count=1)


def before_barrier(lines: str, n: int = 0) -> Callable[[str], str]:
    """Puts lines in front of the n-th barrier."""
    return nth(BARRIER, n, f"{{ .reg .pred %c; .reg .b32 %d; mov.u32 %d, %tid.x; {lines} }} {BARRIER}")


class Fault(NamedTuple):
    """What is planted: its kind, the kernel, edits of its text, and what is changed about its launch."""

    kind: str
    kernel: str
    edits: tuple[Edit, ...] = ()
    arguments: dict[int, object] = {}  # noqa: RUF012
    launch: dict[str, object] = {}  # noqa: RUF012


FAULTS = {
    # addresses
    "a vector behind the end": Fault("bounds", "relu4", (("st.global.v4.f32 [%rd23]", "st.global.v4.f32 [%rd23+16]"),)),
    "an element before the beginning": Fault("bounds", "waves", (pattern(r"ld.global.f32 (\s*%f\d+), \[(%rd\d+)\]",
        r"ld.global.f32 \1, [\2+-4]"),)),
    "a loop that goes one too far": Fault("bounds", "relu4", (("setp.ge.s64 \t%p1", "setp.gt.s64 \t%p1"),),
        launch={"block": (125,)}),
    "a guard that is left out": Fault("bounds", "branches", (pattern(r"@%p1 bra \s*\S+;", ""),)),
    "a wrong row pitch": Fault("bounds", "matmul", (pattern(r"ld.param.u32 \s*%r2, \[matmul_param_4\]",
        "ld.param.u32 %r2, [matmul_param_5]"),)),
    "a count of elements for one of vectors": Fault("bounds", "relu4", arguments={2: 2000}),
    "no memory": Fault("bounds", "waves", arguments={1: 0}),
    "an address of the host": Fault("bounds", "waves", arguments={0: 0x7F00_1234_5678_0000}),
    "behind shared memory": Fault("bounds", "softmax", (("[_cudapy_smem_1+12]", "[_cudapy_smem_1+16]"),)),
    "too little dynamic shared memory": Fault("bounds", "dynamic", launch={"dynamic_bytes": 252}),
    "behind a local array": Fault("bounds", "medians", (nth("[%rd92]", 0, "[%rd92+4]"),)),
    "a shared index that is not brought back": Fault("bounds", "votes", (("and.b64  \t%rd32, %rd31, 60;",
        "mov.b64 %rd32, %rd31;"),)),
    # alignment
    "a vector at half a vector": Fault("alignment", "relu4", (("ld.global.nc.v4.f32 {%f1,%f2,%f3,%f4}, [%rd20]",
        "ld.global.nc.v4.f32 {%f1,%f2,%f3,%f4}, [%rd20+8]"),)),
    "an odd address of 16 bits": Fault("alignment", "halves", (pattern(r"(ld.global.u16 \s*%rs\d+, \[%rd\d+)",
        r"\1+1"),)),
    "a shared word across two": Fault("alignment", "dynamic", (("[%rd16]", "[%rd16+2]"),)),
    "a cp.async at 8 bytes": Fault("alignment", "tensor_tf32", (("shared.global [%r13]", "shared.global [%r13+8]"),)),
    "a cp.async from 4 bytes": Fault("alignment", "tensor_tf32", (("[%rd45]", "[%rd45+4]"),)),
    "an ldmatrix between rows": Fault("alignment", "tensor_halves", (("[%r19]", "[%r19+4]"),)),
    # memory that nobody wrote
    "an input that was not copied": Fault("uninitialised", "waves", arguments={0: Empty(200)}),
    "half an input": Fault("uninitialised", "softmax", (pattern(r"st.global.f32 (\s*\[%rd\d+\], %f\d+);", r"// \1"),)),
    "a shared array that is not filled": Fault("uninitialised", "dynamic", (pattern(r"st.shared.f32.*", ""),)),
    "a histogram that does not begin at 0": Fault("uninitialised", "votes", (pattern(r"st.shared.u32.*", ""),)),
    "a local array that is not filled": Fault("uninitialised", "medians",
        (lambda t: re.sub(r"\tst.local.u32 \t\[%rd5\].*", "", t),)),
    "a counter that does not begin at 0": Fault("uninitialised", "last_block", arguments={2: Empty(1, "u4")}),
    "an atom on nothing": Fault("uninitialised", "votes", arguments={2: Empty(16, "i4")}),
    "the padding of a tile": Fault("uninitialised", "tensor_tf32", (("mul.lo.s32 \t%r8, %r7, 80",
        "mul.lo.s32 \t%r8, %r7, 96"),)),
    # cp.async
    "no wait": Fault("pending", "tensor_tf32", (("cp.async.wait_group 1;", ""),)),
    "a wait for the group before": Fault("pending", "tensor_tf32", (("cp.async.wait_group 1;",
        "cp.async.wait_group 2;"),)),
    "a group that is not closed": Fault("pending", "tensor_tf32", (("cp.async.commit_group;", ""),)),
    # races in a block
    "a maximum before all have one": Fault("race", "softmax", (nth(BARRIER, 0),)),
    "sums over maxima still read": Fault("race", "softmax", (nth(BARRIER, 1),)),
    "a total before all have one": Fault("race", "softmax", (nth(BARRIER, 2),)),
    "a tile before it is whole": Fault("race", "matmul", (nth(BARRIER, 0),)),
    "the next tile over the last": Fault("race", "matmul", (nth(BARRIER, 1),)),
    "a tree without its first barrier": Fault("race", "last_block", (nth(BARRIER, 0),)),
    "a tree without a barrier within": Fault("race", "last_block", (nth(BARRIER, 1),)),
    "a flag before it is set": Fault("race", "last_block", (nth(BARRIER, 8),)),
    "a histogram before it is empty": Fault("race", "votes", (nth(BARRIER, 0),)),
    "a histogram before it is whole": Fault("race", "votes", (nth(BARRIER, 1),)),
    "a mirror before it is whole": Fault("race", "dynamic", (nth(BARRIER, 0),)),
    "two threads on one word": Fault("race", "dynamic", (("shl.b64 \t%rd14, %rd13, 2;",
        "shl.b64 \t%rd14, %rd13, 1; and.b64 %rd14, %rd14, -4;"),)),
    "a count without an atom": Fault("race", "votes", (("atom.shared.add.u32 \t%r12, [%rd34], 1;",
        "ld.shared.u32 %r12, [%rd34]; add.u32 %r12, %r12, 1; st.shared.u32 [%rd34], %r12;"),)),
    "a fragment before its warp has stored it": Fault("race", "tensor_halves", (("bar.warp.sync \t-1;", ""),)),
    "a copy that only its thread waited for": Fault("race", "tensor_tf32", (("bar.warp.sync \t-1;", ""),)),
    "a stage that the warp still reads": Fault("race", "tensor_tf32", (nth("bar.warp.sync \t-1;", 1),)),
    # races between blocks
    "blocks that all write the first row": Fault("race", "softmax", (lambda t: t.replace("%ctaid.x", "0"),)),
    "blocks that overlap by a vector": Fault("race", "relu4", (("mul.wide.s32 \t%rd10, %r2, %r3;",
        "mul.wide.s32 %rd10, %r3, 63;"),)),
    "a partial sum without a fence": Fault("race", "last_block", (("membar.gl;", ""), ("membar.gl;", ""))),
    "a partial sum that only its writer fences": Fault("race", "last_block", (nth("membar.gl;", 1),)),
    "a sum over blocks without an atom": Fault("race", "votes", (("red.global.add.s32 [%rd37], %r14;",
        "ld.global.u32 %r15, [%rd37]; add.u32 %r15, %r15, %r14; st.global.u32 [%rd37], %r15;"),)),
    "a neighbour's input overwritten": Fault("race", "dynamic", (("[dynamic_param_1]", "[dynamic_param_0]"),
        ("st.global.f32 \t[%rd26]", "st.global.f32 [%rd26+256]")), {0: numbers(192)}),
    "in place through the read-only path": Fault("race", "relu4", (("[%rd23]", "[%rd20]"),), launch={"block": (32,)}),
    # barriers
    "a barrier for even threads": Fault("barrier", "softmax",
        (before_barrier("and.b32 %d, %d, 1; setp.eq.u32 %c, %d, 0; @%c bar.sync 0;"),)),
    "a barrier for the first warp": Fault("barrier", "matmul",
        (before_barrier("mov.u32 %d, %tid.y; setp.lt.u32 %c, %d, 2; @%c bar.sync 0;"),)),
    "threads that have gone": Fault("barrier", "dynamic", (before_barrier("setp.gt.u32 %c, %d, 59; @%c ret;"),)),
    "one block that has gone": Fault("barrier", "votes",
        (before_barrier("mov.u32 %d, %ctaid.x; mov.u32 %d, %laneid; setp.eq.u32 %c, %d, 7; @%c exit;", 1),)),
    "a barrier for more than a block": Fault("barrier", "dynamic", ((BARRIER, "bar.sync 1, 96;"),)),
    # warps
    "a shuffle by half a warp": Fault("warp", "softmax", (pattern(r"(shfl\.sync\.bfly\.b32 \s*%r10)",
        r"setp.lt.u32 %p16, %laneid, 16; @%p16 \1"),)),
    "a vote with a wrong mask": Fault("warp", "votes", (("mov.u32 \t%r9, -1;", "mov.u32 \t%r9, 65535;"),)),
    "an ldmatrix without its last lane": Fault("warp", "tensor_halves", (("ldmatrix.sync.aligned.m8n8.x4",
        "{ .reg .pred %c; setp.ne.u32 %c, %laneid, 31; @%c ldmatrix.sync.aligned.m8n8.x4"), ("[%r19];", "[%r19]; }"))),
    "an mma by half a warp": Fault("warp", "tensor_halves", (("mma.sync.aligned.m16n8k32",
        "{ .reg .pred %c; setp.lt.u32 %c, %laneid, 16; @%c mma.sync.aligned.m16n8k32"), ("{%r42,%r42,%r42,%r42};",
        "{%r42,%r42,%r42,%r42}; }"))),
    # products of four warps
    "a wgmma of what nobody showed it": Fault("fence", "groups", ((SHOWN, ""),)),
    "a fence before what it shows has come": Fault("fence", "groups", ((SHOWN, ""), ("cp.async.wait_group",
        f"{SHOWN} cp.async.wait_group"),)),
    "a wgmma of registers without a fence": Fault("fence", "groups", (("wgmma.fence.sync.aligned;", ""),)),
    "a wgmma of copies under way": Fault("pending", "groups", (("cp.async.wait_group 0;", ""),)),
    "a wgmma of what is not there for all": Fault("race", "groups", (("bar.sync \t0;", ""),)),
    "sums that nobody waits for": Fault("pending", "groups", (("wgmma.wait_group.sync.aligned 0;", ""),)),
    "sums of the one group that may be under way": Fault("pending", "groups", (("wait_group.sync.aligned 0",
        "wait_group.sync.aligned 1"),)),
    "sums of a group that was not closed": Fault("pending", "groups", (("wgmma.commit_group.sync.aligned;", ""),)),
    "memory that a wgmma reads yet": Fault("pending", "groups", (("wgmma.wait_group", "st.shared.u32 [%r6], 0; "
        "wgmma.wait_group"),)),
    "a copy to what a wgmma reads yet": Fault("pending", "groups", (("wgmma.wait_group", "cp.async.cg.shared.global "
        "[%r6], [%rd5], 16; wgmma.wait_group"),)),
    "a matrix with a wrong step of products": Fault("bounds", "groups", (("0x1000080000", "0x1000200000"),)),
    "a matrix with a wrong step of rows": Fault("bounds", "groups", (("0x1000080000", "0x2000080000"),)),
    "a swizzled matrix": Fault("bounds", "groups", (("0x1000080000", "0x4000001000080000"),)),
    "a wgmma by half a group": Fault("warp", "groups", (("wgmma.mma_async", "setp.lt.u32 %p1, %r1, 64; "
        "@%p1 wgmma.mma_async"),)),
    "descriptors that differ in a group": Fault("warp", "groups", (("or.b64 \t%rd8, %rd7,", "add.s64 %rd7, %rd7, %rd4; "
        "or.b64 \t%rd8, %rd7,"),)),
    # what may only be read, and what there is
    "a result in memory that is only read": Fault("read-only", "waves", arguments={1: np.zeros(200,
        "f4").view(Constant)}),
    "an atom on memory that is only read": Fault("read-only", "votes", arguments={2: np.zeros(16,
        "i4").view(Constant)}),
    "more threads than it was compiled for": Fault("limits", "waves", launch={"block": (512,)}),
    "more threads than a block has": Fault("limits", "waves", ((".maxntid 256, 1, 1", ""),), launch={"block": (2048,)}),
    "a block of another shape": Fault("limits", "waves", ((".maxntid 256, 1, 1", ".reqntid 256"),)),
    "an empty grid": Fault("limits", "waves", launch={"grid": (0,)}),
    "more shared memory than there is": Fault("limits", "dynamic", launch={"dynamic_bytes": 240_000}),
    # the rest
    "a loop without an end": Fault("endless", "branches", (pattern(r"ret;", "$AGAIN: bra.uni $AGAIN;"),),
        launch={"limits": Limits(max_blocks_run=500)}),
    "a trap": Fault("trap", "calls", (pattern(r"ret;", "trap;"),)),
}  # fmt: skip


def plant(fault: Fault) -> None:
    use = uses()[fault.kernel]
    arguments = [fault.arguments.get(k, a) for k, a in enumerate(use.arguments)]
    options = {"grid": use.grid, "block": use.block, "dynamic_bytes": use.dynamic_bytes, **fault.launch}
    run_text(edited(fault.kernel, *fault.edits), options.pop("grid"), options.pop("block"), *arguments, **options)


@pytest.mark.parametrize("kernel", uses())
def test_the_kernels_have_no_faults_of_their_own(kernel):
    plant(Fault("trap", kernel))


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(name):
    fault = FAULTS[name]
    with pytest.raises(KernelFault) as found:
        plant(fault)
    message = str(found.value)
    assert found.value.kind == fault.kind, message
    assert message.startswith(f"kernel {fault.kernel}")
    if fault.kind not in ("limits", "endless"):
        assert re.search(r"PTX line \d+ `.+`, thread \(\d+, \d+, \d+\) of block \(\d+, \d+, \d+\): ", message), message


def test_every_kind_of_fault_is_planted():
    assert {fault.kind for fault in FAULTS.values()} == KINDS - {"freed"} and len(FAULTS) >= 60


@pytest.mark.parametrize(
    "fault, says",
    [
        ("a vector behind the end",
            r"thread \(60, 0, 0\) of block \(1, 0, 0\): 16 bytes at 0x\w+, 0 bytes behind the end of argument 1"),
        ("a maximum before all have one", "shared byte 4, where another warp was since the last barrier"),
        ("threads that have gone", "only 60 of the 64 threads of its block come to this barrier: 4 have ended"),
        ("a vote with a wrong mask", "its member mask is 0x0000ffff; of its warp come here 0xffffffff"),
        ("more threads than it was compiled for", "512 threads a block; allowed: its own .maxntid of 256"),
        ("an input that was not copied",
            r"reads 4 bytes at global address 0x\w+ \(argument 0 \+ 0\), where nothing was written"),
    ],
)  # fmt: skip
def test_messages_say_where_and_what(fault, says):
    with pytest.raises(KernelFault, match=says):
        plant(FAULTS[fault])


def test_without_the_search_for_races_they_pass():
    use = uses()["dynamic"]
    run_text(
        edited("dynamic", nth(BARRIER, 0)), use.grid, use.block, *use.arguments, dynamic_bytes=256, is_racing=False
    )


def counting(before: str, after: str) -> str:
    """A kernel whose threads all add to a counter of their block or of all, with lines before and after."""
    return f"""{HEAD}.visible .entry k(.param .u64 x)
{{
    .reg .b32 %t, %b, %v; .reg .b64 %x, %y; .reg .pred %first;
    mov.u32 %t, %tid.x; mov.u32 %b, %ctaid.x; setp.eq.u32 %first, %t, 0;
    ld.param.u64 %x, [x]; mad.wide.u32 %y, %b, 4, %x;
    {before}
    bar.sync 0;
    {after}
    ret;
}}
"""


@pytest.mark.parametrize(
    "before, after, is_race",
    [
        ("@%first st.global.u32 [%y], 0;", "red.global.add.u32 [%y], 1; bar.sync 0; ld.global.u32 %v, [%y];", False),
        ("red.global.add.u32 [%y], 1;", "@%first st.global.u32 [%y], 5; red.global.add.u32 [%y], 1;", False),
        ("red.global.add.u32 [%x], 1;", "ld.global.u32 %v, [%x];", True),
        ("@%first ld.global.u32 %v, [%x];", "red.global.add.u32 [%x], 1;", True),
        ("@%first st.global.u32 [%y], 0;", "red.global.add.u32 [%x], 1;", True),
        ("red.global.add.u32 [%x], 1;", "@%first st.global.u32 [%y], 0;", True),
    ],
)
def test_atoms_race_with_plain_accesses_of_other_blocks_alone(before, after, is_race):
    if not is_race:
        (counters,) = run_text(counting(before, after), (2,), (64,), np.zeros(2, "u4"))
        assert counters.tolist() in ([64, 64], [69, 69])
        return
    with pytest.raises(KernelFault) as found:
        run_text(counting(before, after), (2,), (64,), np.zeros(2, "u4"))
    assert found.value.kind == "race"
