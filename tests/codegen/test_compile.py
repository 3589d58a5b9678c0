"""Python function -> object -> address: right results, no Python symbol, clear errors."""

import ctypes
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.cache import kernel_cache
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.compile import compile_function, jit, toolchain
from symc.codegen.cpu.elf import read_object
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import Target, host_target, widest_vector_bits
from symc.codegen.objects import ObjectStore
from symc.core.errors import ArgumentError, CodegenError

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
WIDTHS = [bits for bits in (128, 256, 512) if bits <= host_target().vector_bits]


def call(pyfunc, desc, bufs, chunk=0, n_chunks=1, target=None):
    """Compiles `pyfunc`, calls it on int64 arrays and returns `bufs`."""
    data = compile_function(pyfunc, "kernel", target or host_target())
    assert read_object(data).defined == ("kernel",)
    desc, bufs = np.array(desc, np.int64), np.array(bufs, np.int64)
    KERNEL(load_objects({"kernel": data})["kernel"])(chunk, n_chunks, desc.ctypes.data, bufs.ctypes.data)
    return bufs.tolist()


def scale_part(chunk, n_chunks, desc, bufs):
    n = desc[0]
    for i in range(chunk * n // n_chunks, min((chunk + 1) * n // n_chunks, n)):
        bufs[i] = bufs[i] * desc[1] + 1


def divide(chunk, n_chunks, desc, bufs):
    bufs[0] = desc[0] // desc[1]
    bufs[1] = desc[0] % desc[1]


@pytest.mark.parametrize("bits", WIDTHS)
def test_loops(bits):
    target = host_target(bits)
    assert call(scale_part, [7, 3], range(8), target=target) == [1, 4, 7, 10, 13, 16, 19, 7]
    assert call(scale_part, [7, 3], range(8), chunk=1, n_chunks=3, target=target) == [0, 1, 7, 10, 4, 5, 6, 7]
    assert call(scale_part, [0, 3], range(8), target=target) == list(range(8))


def test_python_semantics_of_division():
    assert call(divide, [-7, 2], [0, 0]) == [-4, 1]
    call(divide, [7, 0], [0, 0])  # numpy's error model: no exception, no trap


def test_numba_is_left_as_it_was():
    def raises(chunk, n_chunks, desc, bufs):
        raise ValueError

    from numba.core.types import BaseFunction

    before = BaseFunction.get_call_type
    call(jit()(scale_part), [7, 3], range(8))
    with pytest.raises(CodegenError):
        compile_function(jit()(raises), "kernel", host_target())
    assert BaseFunction.get_call_type is before


def test_constant_steps_cannot_raise():
    def stride_down(chunk, n_chunks, desc, bufs):
        for i in range(desc[0] - 1, -1, -2):
            bufs[i] = i

    assert call(stride_down, [5], [9] * 5) == [0, 9, 2, 9, 4]


def test_libm_is_reachable():
    def transcendental(chunk, n_chunks, desc, bufs):
        bufs[0] = int(1000 * math.tanh(desc[0] * 0.25) + 1000 * math.erf(desc[0] * 0.5))

    assert call(jit()(transcendental), [1], [0]) == [int(1000 * math.tanh(0.25) + 1000 * math.erf(0.5))]


def test_sums_are_not_reassociated():
    def cancel(chunk, n_chunks, desc, bufs):
        x = float(desc[0])
        bufs[0] = int((x + 1e20) - 1e20)

    assert call(jit()(cancel), [3], [7]) == [0]


def test_the_same_source_gives_the_same_bytes():
    first, second = (compile_function(scale_part, "kernel", host_target()) for _ in range(2))
    assert first == second


def test_numba_intrinsics_defined_late():
    from numba import types
    from numba.extending import intrinsic

    compile_function(jit()(divide), "kernel", host_target())

    @intrinsic
    def triple(typing, value):
        def emit(context, builder, signature, args):
            return builder.mul(args[0], args[0].type(3))

        return types.int64(types.int64), emit

    def use(chunk, n_chunks, desc, bufs):
        bufs[0] = triple(desc[0])

    assert call(jit()(use), [14], [0]) == [42]


def raises(chunk, n_chunks, desc, bufs):
    if desc[0] == 1:
        raise ValueError


def asserts(chunk, n_chunks, desc, bufs):
    assert desc[0] != 0


def variable_step(chunk, n_chunks, desc, bufs):
    for i in range(0, 10, desc[0]):
        bufs[i] = 0


def prints(chunk, n_chunks, desc, bufs):
    print(chunk)


def unknown_name(chunk, n_chunks, desc, bufs):
    bufs[0] = not_defined_anywhere  # noqa: F821


def wrong_type(chunk, n_chunks, desc, bufs):
    bufs[0] = "text"


def returns(chunk, n_chunks, desc, bufs):
    return chunk


def allocates(chunk, n_chunks, desc, bufs):
    bufs[0] = np.zeros(desc[0])[0]


def changes_type(chunk, n_chunks, desc, bufs):
    number = desc[0]
    if chunk == 1:
        number = 0.5
    bufs[0] = number


@pytest.mark.parametrize(
    "pyfunc, message",
    [
        (raises, "raise"),
        (asserts, "raise"),
        (variable_step, "step that is not a constant"),
        (prints, "numba_gil_ensure"),
        (unknown_name, "not_defined_anywhere"),
        (wrong_type, "Cannot cast"),
        (returns, "No conversion from int64 to none"),
        (allocates, "kernel"),
        (changes_type, "number is int64, and float64 here"),
    ],
)
def test_errors_of_what_numba_lowers(pyfunc, message):
    with pytest.raises(CodegenError, match=message) as caught:
        compile_function(jit()(pyfunc), "kernel", host_target())
    assert "compiling kernel" in str(caught.value)


def test_a_working_directory_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(CodegenError, match="compiling kernel: the working directory was removed"):
        compile_function(scale_part, "kernel", host_target())


def test_load_many_and_none():
    objects = {f"k{i}": compile_function(scale_part, f"k{i}", host_target()) for i in range(5)}
    assert len(set(load_objects(objects).values())) == 5
    assert load_objects({}) == {}


def test_load_reports_a_missing_name():
    with pytest.raises(CodegenError, match="other"):
        load_objects({"other": compile_function(divide, "kernel", host_target())})


def test_loading_does_not_import_numba(tmp_path):
    (tmp_path / "kernel.o").write_bytes(compile_function(scale_part, "kernel", host_target()))
    code = (
        "import sys; from pathlib import Path; from symc.codegen.cpu.compile import toolchain\n"
        "from symc.codegen.cpu.load import load_objects; from symc.codegen.cpu.target import host_target\n"
        "assert load_objects({'kernel': Path(sys.argv[1]).read_bytes()})['kernel']\n"
        "print(toolchain(), host_target().fingerprint(), 'numba' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "kernel.o")], capture_output=True, text=True)
    assert out.stdout.split() == [toolchain(), host_target().fingerprint(), "False"], out.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler driver to link")
def test_objects_link_into_a_library_without_python(tmp_path):
    def exponent(chunk, n_chunks, desc, bufs):
        bufs[0] = int(math.exp(desc[0]))

    (tmp_path / "kernel.o").write_bytes(compile_function(jit()(exponent), "kernel", host_target()))
    library = tmp_path / "kernel.so"
    command = ["cc", "-shared", "-Wl,--fatal-warnings", "-o", library, tmp_path / "kernel.o", "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    code = (
        "import ctypes, sys; words = (ctypes.c_int64 * 1)(3)\n"
        "ctypes.CDLL(sys.argv[1]).kernel(0, 1, words, words); print(words[0])"
    )
    assert subprocess.check_output([sys.executable, "-c", code, library], text=True) == "20\n"


def test_symbols_rejects_other_files():
    with pytest.raises(ValueError, match="ELF"):
        read_object(b"MZ not an object at all")


def test_target_widths():
    assert widest_vector_bits("+sse2,+avx2,-fma") == 128
    assert widest_vector_bits("+avx2,+fma,+avx512f") == 256
    assert widest_vector_bits("+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw") == 512
    assert Target("t", "c", "", 256).lanes("float32") == 8
    assert Target("t", "c", "", 128).lanes("uint8") == 16


def test_narrow_targets_are_lesser_machines():
    fingerprints = {host_target(bits).fingerprint() for bits in WIDTHS}
    assert len(fingerprints) == len(WIDTHS)
    assert host_target(None) == host_target(WIDTHS[-1])


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": "another"},
        {"features": host_target().features + ",-fma"},  # the same CPU, of which a virtual machine hides something
        {"vector_bits": 64},
    ],
)
def test_cpus_that_share_a_cache_do_not_find_code_of_others(other):
    there, here = (ObjectStore(CpuBackend(t)) for t in (replace(host_target(), **other), host_target()))
    name, code = "symc_shared", str(other).encode()
    assert there.compile({}, {name: lambda: code}).functions == {name: code}
    assert kernel_cache().get(f"{name} {there.backend.identity()}") == code
    assert there.find([name]) == {name: code} and here.find([name]) is None
    assert not here.backend.takes(there.backend.identity())


@pytest.mark.parametrize("bits", [0, 64, 1024, 2 * host_target().vector_bits])
def test_impossible_widths(bits):
    with pytest.raises(ArgumentError, match="SYMC_VECTOR_BITS"):
        host_target(bits)
