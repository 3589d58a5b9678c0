"""What only a GPU does, as LLVM IR: thread numbers, barriers, shuffles, shared memory."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.lanes import I8, I32, I64, declare

WHOLE_WARP = 0xFFFFFFFF
SHARED = 3  # the address space


def thread(b: ir.IRBuilder) -> ir.Value:
    """The number of this thread in its block, int32."""
    return b.call(declare(b.module, "llvm.nvvm.read.ptx.sreg.tid.x", I32, []), [])


def member(b: ir.IRBuilder, team: int) -> ir.Value:
    """The number of this thread in its team, of which a block has as many as fit, int32."""
    return b.and_(thread(b), I32(team - 1))


def barrier(b: ir.IRBuilder) -> None:
    """Waits for all threads of the block."""
    b.call(declare(b.module, "llvm.nvvm.barrier0", ir.VoidType(), []), [])


def arrived_last(b: ir.IRBuilder, counter: ir.Value, n_blocks: int, word: ir.Value) -> ir.Value:
    """Whether this block comes here as the last of some, int1: it then sees what the others have written before.

    counter   int64, the address of a uint32 that is 0 before the first one comes, and again after the last
    word      in shared memory, of the block; what was there is lost
    """
    barrier(b)
    place = b.bitcast(word, I32.as_pointer(SHARED))
    with b.if_then(b.icmp_unsigned("==", thread(b), I32(0))):
        fence = "fence.acq_rel.gpu;"  # of what all threads of a block have written: the barrier came before
        text = f"{fence} atom.global.inc.u32 $0, [$1], {n_blocks - 1}; {fence}"
        type_ = ir.FunctionType(I32, [I64])
        b.store(b.call(ir.InlineAsm(type_, text, "=r,l,~{memory}", side_effect=True), [counter]), place)
    barrier(b)
    return b.icmp_unsigned("==", b.load(place), I32(n_blocks - 1))


def exchanged(b: ir.IRBuilder, x: ir.Value, distance: int) -> ir.Value:
    """The value of x in the thread of the warp whose number differs in one bit; all threads of the warp call it."""
    if x.type == ir.FloatType():
        return b.bitcast(_exchanged_word(b, b.bitcast(x, I32), distance), x.type)
    if x.type == ir.DoubleType():
        return b.bitcast(exchanged(b, b.bitcast(x, I64), distance), x.type)
    if x.type.width < 32:
        return b.trunc(_exchanged_word(b, b.zext(x, I32), distance), x.type)
    if x.type.width == 32:
        return _exchanged_word(b, x, distance)
    low = _exchanged_word(b, b.trunc(x, I32), distance)
    high = _exchanged_word(b, b.trunc(b.lshr(x, I64(32)), I32), distance)
    return b.or_(b.zext(low, I64), b.shl(b.zext(high, I64), I64(32)))


def _exchanged_word(b: ir.IRBuilder, x: ir.Value, distance: int) -> ir.Value:
    text = f"shfl.sync.bfly.b32 $0, $1, $2, 31, {WHOLE_WARP};"
    shuffle = ir.InlineAsm(ir.FunctionType(I32, [I32, I32]), text, "=r,r,r", side_effect=True)
    return b.call(shuffle, [x, I32(distance)])


def shared_memory(b: ir.IRBuilder, size_bytes: int) -> ir.Value:
    """A pointer to bytes of shared memory, one place for each call."""
    type_ = ir.ArrayType(I8, size_bytes)
    memory = ir.GlobalVariable(b.module, type_, b.module.get_unique_name("shared"), addrspace=SHARED)
    memory.linkage, memory.align = "internal", 16
    memory.initializer = ir.Constant(type_, ir.Undefined)
    return b.bitcast(memory, I8.as_pointer(addrspace=SHARED))


def launched_memory(b: ir.IRBuilder) -> ir.Value:
    """A pointer to the bytes of shared memory that a launch asks for, beside those of `shared_memory`."""
    memory = b.module.globals.get("launched")
    if memory is None:
        memory = ir.GlobalVariable(b.module, ir.ArrayType(I8, 0), "launched", addrspace=SHARED)
        memory.align = 16
    return b.bitcast(memory, I8.as_pointer(addrspace=SHARED))


def copy_to_shared(b: ir.IRBuilder, to: ir.Value, address: ir.Value, size_bytes: int, taken: ir.Value) -> None:
    """Starts copying 4 or 16 bytes of device memory, of which the first `taken` (int32) are read, others become 0."""
    cached = "cg" if size_bytes == 16 else "ca"  # what comes in sixteens is kept in L2 alone
    text = f"cp.async.{cached}.shared.global [$0], [$1], {size_bytes}, $2;"
    _asynchronous(b, text, "r,l,r", [b.ptrtoint(to, I32), address, taken])


def commit_copies(b: ir.IRBuilder) -> None:
    """What was started since the last call is one group."""
    _asynchronous(b, "cp.async.commit_group;")


def wait_for_copies(b: ir.IRBuilder, n_pending: int) -> None:
    """Waits until all but the last groups of this thread have come."""
    _asynchronous(b, f"cp.async.wait_group {n_pending};")


def show_to_tensor_cores(b: ir.IRBuilder) -> None:
    """What this thread has brought to shared memory is seen by those who read it by a descriptor, after a barrier.

    They are another proxy (PTX ISA, "Async proxy"), for which threads, cp.async included, are the generic one.
    """
    _asynchronous(b, "fence.proxy.async.shared::cta;")


def _asynchronous(b: ir.IRBuilder, text: str, operands: str = "", values: Sequence[ir.Value] = ()) -> None:
    type_ = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    constraints = ",".join(filter(None, [operands, "~{memory}"]))
    b.call(ir.InlineAsm(type_, text, constraints, side_effect=True), values)
