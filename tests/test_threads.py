"""One process, many threads: eager operators, recordings, names, and an executor that is called while it is rebound."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

import symc as mx

SECONDS = 2.0


@pytest.fixture(autouse=True)
def _switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def run_together(*works: Callable[[np.random.RandomState], None]) -> None:
    """Each work in a thread of its own, again and again for SECONDS; raises the first error of any."""
    errors: list[BaseException] = []
    start, end = threading.Barrier(len(works)), time.monotonic() + SECONDS

    def work_on(number: int, work: Callable[[np.random.RandomState], None]) -> None:
        random = np.random.RandomState(number)
        start.wait()
        try:
            while time.monotonic() < end and not errors:
                work(random)
        except BaseException as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=work_on, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def eager(random: np.random.RandomState) -> None:
    """NumPy runs and compiled ones, of shapes and parameters that other threads prepare at the same time."""
    x = random.uniform(-1, 1, (random.choice([3, 300]), random.choice([4, 300]))).astype("f4")
    factor = float(random.randint(1, 9))
    found = mx.nd.exp(mx.nd.array(x)) * factor
    np.testing.assert_allclose(found.asnumpy(), np.exp(x.astype("f8")) * factor, rtol=1e-5)


def recorded(random: np.random.RandomState) -> None:
    x = mx.nd.array(random.uniform(-1, 1, (5, random.choice([3, 70]))))
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd.sum(mx.nd.tanh(x) * x)
    assert not mx.autograd.is_recording()
    y.backward()
    n = x.asnumpy().astype("f8")
    np.testing.assert_allclose(x.grad.asnumpy(), np.tanh(n) + n * (1 - np.tanh(n) ** 2), rtol=1e-4, atol=1e-5)


def named(_: np.random.RandomState) -> None:
    with mx.name.NameManager(), mx.AttrScope(ctx_group="dev"), mx.gpu(1):
        made = mx.sym.exp(mx.sym.sin(mx.sym.var("x")))
        assert (made.name, made.attr("ctx_group"), mx.current_context()) == ("exp0", "dev", mx.gpu(1))


def test_eager_operators_recordings_and_scopes():
    run_together(eager, eager, recorded, recorded, named, named)


def test_an_executor_is_called_while_its_arrays_are_bound_anew():
    """The weights are equal throughout, so every call gives the same, unless its session was never prepared."""
    data = mx.sym.FullyConnected(mx.sym.BatchNorm(mx.sym.var("data"), fix_gamma=False, name="bn"), num_hidden=10)
    ex = data.simple_bind(mx.cpu(), grad_req="null", data=(4, 32))
    values = np.random.RandomState(1)
    for array in (*ex.arg_arrays, *ex.aux_arrays):
        array[:] = values.uniform(0.1, 1.0, array.shape)
    inputs = values.randn(8, 4, 32).astype("f4")
    wanted = [ex(data=x)[0].asnumpy() for x in inputs]

    def call(random: np.random.RandomState) -> None:
        k = random.randint(len(inputs))
        np.testing.assert_array_equal(ex(data=inputs[k])[0].asnumpy(), wanted[k])

    def bind_anew(_: np.random.RandomState) -> None:
        ex.arg_dict["bn_gamma"] = ex.arg_dict["bn_gamma"].copy()
        time.sleep(0.001)

    run_together(call, call, call, bind_anew)


COLD_START = """
import sys, threading
sys.setswitchinterval(1e-5)
import symc as mx
start, wrong = threading.Barrier(4), []

def work(operator):
    start.wait()
    try:
        assert getattr(mx.nd, operator)(mx.nd.zeros((300, 300))).asnumpy().max() == 0
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=work, args=(name,)) for name in ("sin", "tanh", "sqrt", "erf")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(wrong) or 0)
"""


def test_the_first_compilations_of_a_process_may_come_at_once(tmp_path, monkeypatch):
    """Each thread would import the passes and numba; numba cannot be imported by two threads at once."""
    monkeypatch.setenv("SYMC_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", COLD_START], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


FORKING = """
import os, signal, sys, threading, time
import numpy as np
import symc as mx

def run_another_network(k):
    y = x = mx.sym.Variable("x")
    for bit in range(6):
        y = mx.sym.tanh(y) if k >> bit & 1 else mx.sym.square(y)
    (y * x).simple_bind(mx.cpu(), x=(3,)).forward(is_train=True)
    mx.nd.random.uniform(shape=(3,))

def compile_for_ever(k):
    while True:
        run_another_network(k := k + 2)

for k in range(2):
    threading.Thread(target=compile_for_ever, args=(k,), daemon=True).start()

def child():
    signal.alarm(100)
    found = mx.nd.sin(mx.nd.ones((300, 300))).asnumpy()
    np.testing.assert_allclose(found, np.sin(1), rtol=1e-6)
    run_another_network(os.getpid())

for attempt in range(4):
    time.sleep(0.3 * attempt)
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        os.write(2, f"attempt {attempt}: child ended with {code}".encode())
        os._exit(1)
os._exit(0)
"""


def test_a_process_may_fork_while_its_threads_compile(monkeypatch):
    """From the first import on; the children compile, run and draw numbers."""
    monkeypatch.setenv("SYMC_CACHE", "0")
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


INTERRUPTED = """
import signal, sys, time
import importlib.abc

class Interrupted(KeyboardInterrupt):
    pass

pauses, n_interrupted = iter([0.05 * 1.3**k for k in range(30)]), 0

def interrupt(*_):
    raise Interrupted

def program():
    import symc as mx
    mx.nd  # imports NumPy where Ctrl-C does not reach: half an import of it cannot be repeated
    import numpy as np

    x = mx.nd.array(np.linspace(0, 1, 300 * 300).reshape(300, 300))
    got = (mx.nd.tanh(x) * 2).asnumpy()
    assert np.allclose(got, np.tanh(x.asnumpy().astype("f8")) * 2, rtol=1e-5)  # np.testing is one more import
    net = mx.sym.Convolution(mx.sym.Variable("x"), kernel=(3, 3), num_filter=4, name="c", weight=None)
    ex = net.simple_bind(mx.cpu(), x=(1, 3, 8, 8))
    for array in ex.arg_arrays:
        array[:] = 1
    return float(ex.forward()[0].asnumpy()[0, 0, 0, 0])

signal.signal(signal.SIGALRM, interrupt)
# what is raised in a callback of Python's own, as when a weak reference dies, goes nowhere
sys.unraisablehook = lambda told: isinstance(told.exc_value, Interrupted) or sys.__unraisablehook__(told)
while True:
    try:
        signal.setitimer(signal.ITIMER_REAL, next(pauses))
        result = program()
        signal.setitimer(signal.ITIMER_REAL, 0)
        break
    except (Interrupted, RuntimeError) as e:  # Python 3.11 wraps what is raised in __set_name__
        if not isinstance(e, Interrupted) and not isinstance(e.__cause__, Interrupted):
            raise
        n_interrupted += 1
print(result, n_interrupted > 3)
"""


def test_ctrl_c_during_the_first_run_leaves_the_process_usable(monkeypatch):
    """Again and again, at later and later times, whatever is being imported or compiled."""
    monkeypatch.setenv("SYMC_CACHE", "0")
    # a file that is being opened at that time Python itself closes, and tells that it did
    warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]
    done = subprocess.run([sys.executable, *warnings, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("28.0 True\n", "")


HELD = """
import _imp
import symc as mx

_imp.acquire_lock()
_imp.acquire_lock()  # and again
print(mx.nd.tanh(mx.nd.ones((2,))).asnumpy().shape, _imp.lock_held())
"""


def test_what_an_interrupt_leaves_of_an_import_is_given_back(monkeypatch):
    """A signal between the call that takes Python's lock of imports and the `try` that releases it leaves it taken."""
    monkeypatch.setenv("SYMC_CACHE", "0")
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("(2,) False\n", "")


def test_the_error_of_a_thread_is_raised():
    def fail(_: np.random.RandomState) -> None:
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        run_together(eager, fail)
