"""A few lines of PTX, run over lanes that hold arrays."""

from __future__ import annotations

import numpy as np

from .kernels import Empty, run_text

HEAD = ".version 9.0\n.target sm_90\n.address_size 64\n"
NUMPY = {"f16": "f2", "bf16": "u2", "f32": "f4", "f64": "f8", "f16x2": "u4", "bf16x2": "u4", "tf32": "u4", "pred": "u4"}
NUMPY |= {f"{p}{bits}": f"{'i' if p == 's' else 'u'}{bits // 8}" for p in "usb" for bits in (8, 16, 32, 64)}


NAMES = "abcdefghjklm"


def run(lines: str, result: str, *inputs: tuple[str, object]) -> np.ndarray:
    """Runs lines over registers %a, %b, ... (NAMES) that hold a lane's inputs, and gives its %out; in blocks of 32."""
    arrays = np.broadcast_arrays(*(np.asarray(values, NUMPY[kind]) for kind, values in inputs))
    n = arrays[0].size
    names = NAMES[: len(arrays)]
    registers, loads = [], []
    for k, (name, (kind, _)) in enumerate(zip(names, inputs)):
        bits = np.dtype(NUMPY[kind]).itemsize * 8
        registers.append(f".reg .b{bits} %{name};" if bits > 8 else f".reg .b16 %{name};")
        sign = "s" if kind[0] == "s" else "u"
        loads.append(f"ld.param.u64 %p, [in{k}]; mad.wide.u32 %p, %i, {bits // 8}, %p;")
        loads.append(f"ld.global.{sign}{bits} %{name}, [%p];")
    bits = np.dtype(NUMPY[result]).itemsize * 8
    out = ".reg .pred %out; .reg .b32 %word;" if result == "pred" else f".reg .b{max(bits, 16)} %out;"
    stored = f"st.global.b{bits} [%p], %out;"
    if result == "pred":
        stored = "selp.u32 %word, 1, 0, %out; st.global.u32 [%p], %word;"
    params = ", ".join(f".param .u64 in{k}" for k in range(len(arrays)))
    text = f"""{HEAD}.visible .entry one({params}, .param .u64 result, .param .u32 n)
{{
    .reg .b64 %p; .reg .b32 %i, %n, %t<3>; .reg .pred %end, %q<9>; .reg .b32 %x<9>; .reg .b16 %h<9>; .reg .b64 %y<9>;
    {" ".join(registers)} {out}
    mov.u32 %i, %ctaid.x; mov.u32 %t0, %tid.x; mad.lo.u32 %i, %i, 32, %t0;
    ld.param.u32 %n, [n]; setp.ge.u32 %end, %i, %n; @%end bra DONE;
    {" ".join(loads)}
    {lines}
    ld.param.u64 %p, [result]; mad.wide.u32 %p, %i, {bits // 8}, %p; {stored}
DONE:
    ret;
}}
"""
    result_array = Empty(n, NUMPY[result])
    return run_text(text, (-(-n // 32),), (32,), *arrays, result_array, np.uint32(n))[-1]
