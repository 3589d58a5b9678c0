"""Compiles small kernels with numba-cuda and keeps their PTX, which the tests of symc.testing.ptx run.

Needs no device, and an environment of its own:

    pip install "numba-cuda==0.30.4" "numba==0.68.1" "cuda-bindings==13.0.*"
    pip install "cuda-toolkit[cccl,cudart,nvrtc,nvvm]==13.0.*"
    python tests/data/ptx/record.py
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic
from numba.cuda.typing import signature

f32, f64, i32, u32, i64, u64 = types.float32, types.float64, types.int32, types.uint32, types.int64, types.uint64
u8, i8, u16 = types.uint8, types.int8, types.uint16
P = types.CPointer
KERNELS: dict[str, tuple] = {}


def record(*arguments, threads=256, cc=(8, 0)):
    """Marks a kernel to be recorded."""

    def mark(function):
        KERNELS[function.__name__] = function, arguments, threads, cc
        return function

    return mark


def asm(name, text, rets, args, is_memory=False):
    """An intrinsic made of inline PTX: `$0` and on are results, then arguments; None takes any pointer."""
    letter = {f32: "f", f64: "d", i32: "r", u32: "r", i64: "l", u64: "l", u16: "h"}
    llvm = {f32: ir.FloatType(), f64: ir.DoubleType(), i32: ir.IntType(32), u32: ir.IntType(32)}
    llvm |= {i64: ir.IntType(64), u64: ir.IntType(64), u16: ir.IntType(16)}

    def typer(given):
        taken = [g if w is None else w for g, w in zip(given, args)]
        result = types.void if not rets else rets[0] if len(rets) == 1 else types.UniTuple(rets[0], len(rets))
        return signature(result, *taken)

    def codegen(context, builder, sig, values):
        constraint = ["=" + letter[t] for t in rets] + ["l" if isinstance(t, P) else letter[t] for t in sig.args]
        kinds = [llvm[t] for t in rets]
        result = ir.VoidType() if not kinds else kinds[0] if len(kinds) == 1 else ir.LiteralStructType(kinds)
        code = ir.InlineAsm(
            ir.FunctionType(result, [v.type for v in values]),
            text,
            ",".join(constraint + ["~{memory}"] * is_memory),
            side_effect=True,
        )
        found = builder.call(code, values)
        if not rets:
            return context.get_dummy_value()
        if len(rets) == 1:
            return found
        parts = [builder.extract_value(found, k) for k in range(len(rets))]
        return context.make_tuple(builder, sig.return_type, parts)

    names = ", ".join(f"a{k}" for k in range(len(args)))
    scope = {"typer": typer, "codegen": codegen}
    body = f"return typer(({names}{',' if args else ''})), codegen"
    exec(f"def {name}({', '.join(filter(None, ['context', names]))}): {body}", scope)
    return intrinsic(scope[name])


ldg4 = asm("ldg4", "ld.global.nc.v4.f32 {$0,$1,$2,$3}, [$4];", [f32] * 4, [i64])
stg4 = asm("stg4", "st.global.v4.f32 [$0], {$1,$2,$3,$4};", [], [i64] + [f32] * 4, True)
where = asm("where", "mov.u64 $0, $1;", [i64], [None])
h2f = asm("h2f", "cvt.f32.f16 $0, $1;", [f32], [u16])
f2h = asm("f2h", "cvt.rn.f16.f32 $0, $1;", [u16], [f32])
b2f = asm("b2f", "{ .reg .b32 w; mov.b32 w, {0, $1}; mov.b32 $0, w; }", [f32], [u16])
f2b = asm("f2b", "cvt.rn.bf16.f32 $0, $1;", [u16], [f32])
tf32 = asm("tf32", "cvt.rna.tf32.f32 $0, $1;", [u32], [u32])
copy16 = asm("copy16", "cp.async.cg.shared.global [$0], [$1], 16, $2;", [], [u32, i64, u32], True)
commit = asm("commit", "cp.async.commit_group;", [], [], True)
wait0 = asm("wait0", "cp.async.wait_group 0;", [], [], True)
wait1 = asm("wait1", "cp.async.wait_group 1;", [], [], True)
ldsm4 = asm("ldsm4", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];", [u32] * 4, [u32])
ldsm2t = asm("ldsm2t", "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0,$1}, [$2];", [u32] * 2, [u32])
lds = asm("lds", "ld.shared.u32 $0, [$1];", [u32], [u32])
sts4 = asm("sts4", "st.shared.v4.b32 [$0], {$1,$2,$3,$4};", [], [u32] * 5, True)
dp4a = asm("dp4a", "dp4a.s32.s32 $0, $1, $2, $3;", [i32], [u32, u32, i32])
prmt = asm("prmt", "prmt.b32 $0, $1, $2, $3;", [u32], [u32, u32, u32])
bfe = asm("bfe", "bfe.s32 $0, $1, $2, $3;", [i32], [i32, u32, u32])
red_add = asm("red_add", "red.global.add.s32 [$0], $1;", [], [i64, i32], True)
tanh_fast = asm("tanh_fast", "tanh.approx.f32 $0, $1;", [f32], [f32])


def _mma(name, shape, kind, n_a, result, accumulator):
    d, a = ",".join(f"${k}" for k in range(4)), ",".join(f"${4 + k}" for k in range(n_a))
    b = ",".join(f"${4 + n_a + k}" for k in range(2))
    c = ",".join(f"${6 + n_a + k}" for k in range(4))
    types_ = f"{accumulator}.{kind}.{kind}.{accumulator}"
    text = f"mma.sync.aligned.{shape}.row.col.{types_} {{{d}}}, {{{a}}}, {{{b}}}, {{{c}}};"
    return asm(name, text, [result] * 4, [u32] * (n_a + 2) + [result] * 4)


mma_tf32 = _mma("mma_tf32", "m16n8k8", "tf32", 4, f32, "f32")
mma_bf16 = _mma("mma_bf16", "m16n8k16", "bf16", 4, f32, "f32")
mma_s8 = _mma("mma_s8", "m16n8k32", "s8", 4, i32, "s32")


@intrinsic
def shared_start(context):
    """The address of 4 KiB of static shared memory."""

    def codegen(context, builder, sig, values):
        kind = ir.ArrayType(ir.IntType(8), 4096)
        memory = ir.GlobalVariable(builder.module, kind, builder.module.get_unique_name("tile"), addrspace=3)
        memory.linkage, memory.align, memory.initializer = "internal", 128, ir.Constant(kind, ir.Undefined)
        return builder.ptrtoint(memory, ir.IntType(32))

    return signature(u32), codegen


@record(P(f32), P(f32), i32)
def relu4(x, y, n):
    i = cuda.grid(1)
    while i < n // 4:
        a, b, c, d = ldg4(where(x) + 16 * i)
        zero = f32(0)
        stg4(where(y) + 16 * i, max(a, zero), max(b, zero), max(c, zero), max(d, zero))
        i += cuda.gridsize(1)


@record(P(f32), P(f32), i32)
def waves(x, y, n):
    i = cuda.grid(1)
    while i < n:
        y[i] = math.exp(x[i]) + math.sin(x[i]) * math.cos(x[i])
        i += cuda.gridsize(1)


@record(P(f32), P(f32), i32)
def curves(x, y, n):
    i = cuda.grid(1)
    if i < n:
        v = x[i]
        y[5 * i] = math.tanh(v)
        y[5 * i + 1] = math.erf(v)
        y[5 * i + 2] = math.log(abs(v) + f32(0.5))
        y[5 * i + 3] = (abs(v) + f32(0.5)) ** f32(1.7)
        y[5 * i + 4] = tanh_fast(v) / (math.sqrt(abs(v)) + f32(1))


@record(P(u16), P(u16), i32, threads=128)
def halves(x, y, n):
    i = cuda.grid(1)
    if i < n:
        y[2 * i] = f2h(max(h2f(x[i]) * f32(1.5) + f32(1), f32(0)))
        y[2 * i + 1] = f2b(b2f(x[i]) * f32(0.75) - f32(2))


@record(P(f64), P(f64), P(f64), i32)
def doubles(x, y, z, n):
    i = cuda.grid(1)
    if i < n:
        z[i] = math.exp(x[i]) / (y[i] * y[i] + 1.0) + math.fmod(x[i], y[i])


@record(P(f32), P(f32), i32, threads=128)
def softmax(x, y, n):
    row, tid = cuda.blockIdx.x, cuda.threadIdx.x
    part = cuda.shared.array(4, types.float32)
    top = f32(-math.inf)
    for k in range(tid, n, 128):
        top = max(top, x[row * n + k])
    for step in (16, 8, 4, 2, 1):
        top = max(top, cuda.shfl_xor_sync(0xFFFFFFFF, top, step))
    if tid % 32 == 0:
        part[tid // 32] = top
    cuda.syncthreads()
    top = max(max(part[0], part[1]), max(part[2], part[3]))
    cuda.syncthreads()
    total = f32(0)
    for k in range(tid, n, 128):
        e = math.exp(x[row * n + k] - top)
        y[row * n + k] = e
        total += e
    for step in (16, 8, 4, 2, 1):
        total += cuda.shfl_xor_sync(0xFFFFFFFF, total, step)
    if tid % 32 == 0:
        part[tid // 32] = total
    cuda.syncthreads()
    total = part[0] + part[1] + part[2] + part[3]
    for k in range(tid, n, 128):
        y[row * n + k] /= total


@record(P(f32), P(f32), P(f32), i32, i32, i32)
def matmul(a, b, c, m, n, k):
    left = cuda.shared.array((16, 17), types.float32)
    right = cuda.shared.array((16, 17), types.float32)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    row, column = cuda.blockIdx.y * 16 + ty, cuda.blockIdx.x * 16 + tx
    total = f32(0)
    for start in range(0, k, 16):
        left[ty, tx] = a[row * k + start + tx] if row < m and start + tx < k else f32(0)
        right[ty, tx] = b[(start + ty) * n + column] if column < n and start + ty < k else f32(0)
        cuda.syncthreads()
        for q in range(16):
            total += left[ty, q] * right[q, tx]
        cuda.syncthreads()
    if row < m and column < n:
        c[row * n + column] = total


@record(P(f32), P(f32), P(f32), i32, threads=32)
def tensor_tf32(a, b, c, k):
    """C (16, 8) = A (16, k) B (8, k) of one warp; two stages of 16 x 16 and 8 x 16 tiles by cp.async."""
    tile, lane = shared_start(), u32(cuda.threadIdx.x)
    acc = (f32(0), f32(0), f32(0), f32(0))
    for stage in range(k // 16 + 1):
        if stage < k // 16:
            base = tile + u32(2048) * u32(stage % 2)
            for part in range(2):
                row, column = lane // 4 + 8 * part, lane % 4
                copy16(u32(base + row * 80 + column * 16), where(a) + 4 * (row * k + stage * 16 + column * 4), u32(16))
            copy16(
                u32(base + 1280 + (lane // 4) * 80 + (lane % 4) * 16),
                where(b) + 4 * ((lane // 4) * k + stage * 16 + (lane % 4) * 4),
                u32(16),
            )
        commit()
        if stage > 0:
            wait1()
            cuda.syncwarp()
            base = tile + u32(2048) * u32((stage - 1) % 2)
            b0, b1, b2, b3 = ldsm4(u32(base + 1280 + (lane % 8) * 80 + (lane // 8) * 16))
            for half in range(2):
                a0, a1, a2, a3 = ldsm4(u32(base + (lane % 16) * 80 + (lane // 16) * 16 + 32 * half))
                if half == 0:
                    acc = mma_tf32(
                        tf32(a0), tf32(a1), tf32(a2), tf32(a3), tf32(b0), tf32(b1), acc[0], acc[1], acc[2], acc[3]
                    )
                else:
                    acc = mma_tf32(
                        tf32(a0), tf32(a1), tf32(a2), tf32(a3), tf32(b2), tf32(b3), acc[0], acc[1], acc[2], acc[3]
                    )
            cuda.syncwarp()
    wait0()
    for e in range(4):
        value = acc[0] if e == 0 else acc[1] if e == 1 else acc[2] if e == 2 else acc[3]
        c[(lane // 4 + 8 * (e // 2)) * 8 + 2 * (lane % 4) + e % 2] = value


@record(P(u32), P(u32), P(f32), P(u32), P(u32), P(i32), threads=32)
def tensor_halves(a, b, c, p, q, r):
    """C = A B of bfloat16 (16, 16) (16, 8), B transposed by ldmatrix; R (16, 8) = P (16, 32) Q (8, 32) of int8."""
    tile, lane = shared_start(), u32(cuda.threadIdx.x)
    sts4(u32(tile + lane * 16), a[lane * 4], a[lane * 4 + 1], a[lane * 4 + 2], a[lane * 4 + 3])
    if lane < 16:
        sts4(u32(tile + 512 + lane * 16), b[lane * 4], b[lane * 4 + 1], b[lane * 4 + 2], b[lane * 4 + 3])
    cuda.syncwarp()
    a0, a1, a2, a3 = ldsm4(u32(tile + (lane % 16) * 32 + (lane // 16) * 16))
    b0, b1 = ldsm2t(u32(tile + 512 + (lane % 16) * 16))
    zero = f32(0)
    d = mma_bf16(a0, a1, a2, a3, b0, b1, zero, zero, zero, zero)
    row, column = lane // 4, lane % 4
    p0, p1 = p[row * 8 + column], p[(row + 8) * 8 + column]
    p2, p3 = p[row * 8 + column + 4], p[(row + 8) * 8 + column + 4]
    e = mma_s8(p0, p1, p2, p3, q[row * 8 + column], q[row * 8 + column + 4], i32(0), i32(0), i32(0), i32(0))
    for k in range(4):
        at = (row + 8 * (k // 2)) * 8 + 2 * column + k % 2
        c[at] = d[0] if k == 0 else d[1] if k == 1 else d[2] if k == 2 else d[3]
        r[at] = e[0] if k == 0 else e[1] if k == 1 else e[2] if k == 2 else e[3]


@record(P(u64), P(i64), P(i64), i32)
def integers(x, d, y, n):
    i = cuda.grid(1)
    if i < n:
        z = x[i] + u64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> u64(30))) * u64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> u64(27))) * u64(0x94D049BB133111EB)
        z = z ^ (z >> u64(31))
        low = i32(z)
        y[9 * i] = i64(z)
        y[9 * i + 1] = i64(x[i]) // d[i]
        y[9 * i + 2] = i64(x[i]) % d[i]
        y[9 * i + 3] = cuda.popc(z)
        y[9 * i + 4] = cuda.clz(z)
        y[9 * i + 5] = i64(cuda.brev(u32(z)))
        y[9 * i + 6] = dp4a(u32(z), u32(z >> u64(32)), low)
        y[9 * i + 7] = i64(prmt(u32(z), u32(z >> u64(32)), u32(0x70B4)))
        y[9 * i + 8] = bfe(low, u32(5), u32(11))


@record(P(i32), P(i32), i32)
def branches(x, y, n):
    i = cuda.grid(1)
    if i < n:
        kind, v = x[i] % 7, x[i]
        if kind == 0:
            v = v * 3 + 1
        elif kind == 1:
            v = v ^ 0x55
        elif kind == 2:
            v = v - 1000
        elif kind == 3:
            v = v << 3
        elif kind == 4:
            v = -v
        elif kind == 5:
            v = v // 3
        else:
            n_steps = 0
            while v > 1 and n_steps < 50:
                v = v // 2 if v % 2 == 0 else 3 * v + 1
                n_steps += 1
            v = n_steps
        y[i] = v


@intrinsic
def horner(context, x, a, b):
    """(a x + b) x + 1 by a function that stays one: numba.cuda compiles those of its own only where a device is."""

    def codegen(context, builder, sig, values):
        kind = ir.FloatType()
        function = builder.module.globals.get("horner")
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * 3), "horner")
            function.linkage = "internal"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block())
            v, p, q = function.args
            inner.ret(inner.fadd(inner.fmul(inner.fadd(inner.fmul(p, v), q), v), ir.Constant(kind, 1.0)))
        return builder.call(function, values)

    return signature(f32, f32, f32, f32), codegen


@record(P(f32), P(f32), i32)
def calls(x, y, n):
    i = cuda.grid(1)
    if i < n:
        v = x[i]
        y[i] = horner(v, f32(2), f32(3)) if v > f32(0) else horner(-v, f32(-1), f32(0.5))


@record(P(i32), P(i32), i32, threads=64)
def medians(x, y, n):
    """Sorts windows of 9 in local memory."""
    i = cuda.grid(1)
    if i < n:
        window = cuda.local.array(9, types.int32)
        for k in range(9):
            window[k] = x[min(max(i + k - 4, 0), n - 1)]
        for k in range(1, 9):
            v, at = window[k], k - 1
            while at >= 0 and window[at] > v:
                window[at + 1] = window[at]
                at -= 1
            window[at + 1] = v
        y[i] = window[4]


@record(P(i32), P(i32), P(i32), i32)
def votes(x, y, counts, n):
    """What is left of x when zeros are taken out, in order within a warp; a histogram in shared memory."""
    bins = cuda.shared.array(16, types.int32)
    tid, i = cuda.threadIdx.x, cuda.grid(1)
    if tid < 16:
        bins[tid] = 0
    cuda.syncthreads()
    v = x[i] if i < n else 0
    mask = cuda.ballot_sync(0xFFFFFFFF, v != 0)
    before = cuda.popc(mask & ((1 << cuda.laneid) - 1))
    if v != 0:
        y[i - cuda.laneid + before] = v
        cuda.atomic.add(bins, v & 15, 1)
    cuda.syncthreads()
    if tid < 16:
        red_add(where(counts) + 4 * tid, bins[tid])


@record(P(f32), P(f32), P(u32), P(f32), i32, threads=128)
def last_block(x, partial, counter, out, n):
    """A sum over all blocks: the block that comes last adds up what the others have written."""
    part = cuda.shared.array(128, types.float32)
    flag = cuda.shared.array(1, types.int32)
    tid = cuda.threadIdx.x
    total = f32(0)
    i = cuda.grid(1)
    while i < n:
        total += x[i]
        i += cuda.gridsize(1)
    part[tid] = total
    cuda.syncthreads()
    step = 64
    while step > 0:
        if tid < step:
            part[tid] += part[tid + step]
        cuda.syncthreads()
        step //= 2
    if tid == 0:
        partial[cuda.blockIdx.x] = part[0]
        cuda.threadfence()
        flag[0] = count(counter)
        cuda.threadfence()
    cuda.syncthreads()
    if flag[0] == cuda.gridDim.x - 1 and tid == 0:
        total = f32(0)
        for k in range(cuda.gridDim.x):
            total += partial[k]
        out[0] = total


@intrinsic
def count(context, pointer):
    """Adds one to a counter and gives what it was."""

    def codegen(context, builder, sig, values):
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)])
        code = ir.InlineAsm(kind, "atom.global.add.u32 $0, [$1], 1;", "=r,l,~{memory}", side_effect=True)
        return builder.call(code, [builder.ptrtoint(values[0], ir.IntType(64))])

    return signature(u32, pointer), codegen


@record(P(f32), P(f32), i32)
def dynamic(x, y, n):
    """Turns each block's part around, through dynamic shared memory."""
    part = cuda.shared.array(0, types.float32)
    tid, i = cuda.threadIdx.x, cuda.grid(1)
    part[tid] = x[i] if i < n else f32(0)
    cuda.syncthreads()
    y[i] = part[cuda.blockDim.x - 1 - tid]


def main() -> None:
    """Compiles and writes all."""
    folder = Path(__file__).parent
    for name, (function, arguments, threads, cc) in KERNELS.items():
        sig = types.void(*arguments)
        text, _ = cuda.compile(
            function, sig, cc=cc, device=False, abi="numba", launch_bounds=(threads, 1), output="ptx"
        )
        mangled = re.search(r"\.visible \.entry (\w+)", text)[1]
        text = text.replace(mangled, name).replace(f"NumbaEnv{mangled[2:]}", "env")
        text = re.sub(r"^\.common \.global .*NumbaEnv.*\n|^//.*\n|\s+//.*$", "", text, flags=re.M)
        text = re.sub(r"_ZN\d+__main__(\w{0,40})\w*", r"\1", text)
        (folder / f"{name}.ptx").write_text(text)
        print(f"{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
