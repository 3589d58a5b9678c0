"""`import symc` stays light: compilers are loaded when something is compiled.

`python tests/test_import.py` prints how long the import takes; a time never decides a test.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

import symc
from symc.core.errors import MissingModuleError

HEAVY = {"numba", "llvmlite", "networkx", "pytest", "graphviz"}


def run_fresh(code: str) -> str:
    """What a fresh interpreter prints for `code`."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def loaded_by(module: str) -> set[str]:
    """Which heavy packages a fresh process has loaded after importing a module."""
    return set(run_fresh(f"import sys, {module}; print(*({HEAVY!r} & sys.modules.keys()))").split())


@pytest.mark.parametrize("module", ["symc", "symc.ops", "symc.symbol", "symc.cli.main"])
def test_import_is_light(module):
    assert loaded_by(module) == set()


def test_the_compiler_loads_without_numba():
    # A start from a filled cache needs it for nothing; llvmlite tells the target.
    assert loaded_by("symc.runtime.compiler") <= {"llvmlite"}


def test_a_warm_compile_loads_no_scheduler(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMC_CACHE_DIR", str(tmp_path))
    code = f"""
import sys, numpy, symc as mx
y = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
shapes = {{"fc_weight": (2, 3), "fc_bias": (2,)}}
net = mx.compile(y, {{name: mx.nd.ones(shape) for name, shape in shapes.items()}}, data=(1, 3))
print(*net(data=numpy.ones((1, 3), "float32"))[0].asnumpy().flat, *({HEAVY!r} - {{"llvmlite"}}) & sys.modules.keys())
"""
    cold, warm = run_fresh(code).split(), run_fresh(code).split()
    assert set(cold) == {"4.0", "numba", "networkx"}
    assert set(warm) == {"4.0"}


@pytest.mark.parametrize(
    ("package", "problem"),
    [("numba", "Numba needs NumPy 1 or less"), ("llvmlite", "no libLLVM"), ("networkx", "half installed")],
)
def test_a_package_that_refuses_is_told_by_one_error(tmp_path, monkeypatch, package, problem):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(f"raise ImportError({problem!r})")
    (tmp_path / package / "_version.py").write_text("")
    monkeypatch.setenv("SYMC_CACHE", "0")
    code = f"""
import sys, symc as mx
sys.path.insert(0, {str(tmp_path)!r})
try:
    mx.sym.relu(mx.sym.Variable("x")).simple_bind(mx.cpu(), x=(3,)).forward()
except mx.MXNetError as error:
    print(type(error).__name__, error)
"""
    assert run_fresh(code).startswith(
        f"MissingPackageError symc cannot use the package {package}, which it needs ({problem}); `pip check` tells"
    )


def test_submodules_load_on_first_use():
    assert run_fresh("import symc; print(symc.artifact.__name__, symc.models.__name__, symc.nd.__name__)").split() == [
        "symc.artifact",
        "symc.models",
        "symc.ndarray",
    ]


def test_what_is_listed_is_there():
    names = dir(symc)
    assert {"nd", "sym", "cpu", "Executor", "__version__"} <= {*names}
    assert all(hasattr(symc, name) for name in names)


@pytest.mark.parametrize("package", ["nd", "sym"])
@pytest.mark.parametrize("namespace", ["", "op", "_internal", "linalg", "sparse", "image", "contrib", "random"])
def test_the_functions_listed_are_there(package, namespace):
    module = getattr(symc, package)
    module = getattr(module, namespace) if namespace else module
    assert dir(module) and [name for name in dir(module) if not hasattr(module, name)] == []


def test_contributed_operators_are_also_under_contrib():
    for package, names in (("nd", ("nd", "ndarray")), ("sym", ("sym", "symbol"))):
        assert {getattr(symc.contrib, name) for name in names} == {getattr(symc, package).contrib}


def test_modules_that_are_not_there_say_so(monkeypatch):
    monkeypatch.setitem(symc._MODULES, "later", "later")
    with pytest.raises(AttributeError, match="module 'symc' has no attribute 'later': MXNet's module is not there yet"):
        _ = symc.later
    assert "later" not in dir(symc) and not hasattr(symc, "later")
    for statement in ("from symc import later", "import symc.later", "from symc.later import nn"):
        with pytest.raises(MissingModuleError, match=r"'symc\.later': MXNet's module is not there yet"):
            exec(statement)
    for statement in ("from symc import never", "import symc.nd", "import symc.nd.later"):
        with pytest.raises(ImportError) as caught:
            exec(statement)
        assert type(caught.value) in (ImportError, ModuleNotFoundError)


def test_what_is_left_out_says_why():
    for name, reason in (("npx", "use the arrays of mx.nd"), ("rtc", "mx.operator"), ("error", "mx.MXNetError")):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}' \(MXNet has it, symc does not: .*{reason}"):
            getattr(symc, name)
    for package in (symc.nd, symc.sym):
        with pytest.raises(
            AttributeError, match=r"'csr_matrix' \(MXNet has it, symc does not: it stores every array dense"
        ):
            package.sparse.csr_matrix  # noqa: B018


def test_names_of_the_library_in_c_can_be_imported_and_no_call_be_made():
    import ctypes
    from array import array

    from symc.base import _LIB, SymbolHandle, c_array, c_array_buf, c_str, c_str_array, check_call, mx_float, mx_uint

    assert SymbolHandle is ctypes.c_void_p and mx_uint(3).value == 3
    assert c_str("Hello, World").value == b"Hello, World" and c_str_array(["a", "b"])[1] == b"b"
    assert c_array(mx_float, [1, 2, 3])[1] == 2 and list(c_array_buf(mx_float, array("f", [1, 2]))) == [1, 2]
    check_call(0)
    with pytest.raises(symc.MXNetError, match="gave -1"):
        check_call(-1)
    with pytest.raises(AttributeError, match="_LIB has no MXSymbolFree: MXNet's library in C is no part of symc"):
        check_call(_LIB.MXSymbolFree(SymbolHandle()))
    with pytest.raises(AttributeError, match="no attribute 'c_strange'"):
        symc.base.c_strange  # noqa: B018


def test_the_check_sees_what_is_loaded():
    assert loaded_by("networkx") >= {"networkx"}


def import_time_s(n_runs: int = 7) -> float:
    """Seconds of `import symc`, the best of several fresh processes; the interpreter's own start is not counted."""
    code = "import time; t = time.perf_counter(); import symc; print(time.perf_counter() - t)"
    return min(float(run_fresh(code)) for _ in range(n_runs))


if __name__ == "__main__":
    print(f"import symc: {import_time_s():.3f} s (best of 7 fresh processes)")
