"""The tuner takes what measures faster, twice; what it keeps decides plans from then on, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import artifact
from symc.cli.main import main
from symc.codegen import tuned as tuned_module
from symc.codegen.cache import KernelCache
from symc.codegen.tuned import choosing
from symc.models import Model
from symc.runtime.device import Device
from symc.tune import _rivals, step_times, tune
from tests.runtime.toy_device import toy_device


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """A store of the test's own, and no plan from a file."""
    found = KernelCache(tmp_path / "cache")
    monkeypatch.setattr(tuned_module, "kernel_cache", lambda: found)
    monkeypatch.setattr(tuned_module, "_preloaded", {})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def model() -> Model:
    """A convolution, the same once more, and a product."""
    net = mx.sym.Variable("data")
    for k in range(2):
        net = mx.sym.Convolution(net, num_filter=16, kernel=(3, 3), pad=(1, 1), name=f"conv{k}")
    net = mx.sym.FullyConnected(net, num_hidden=5, name="fc")
    made = Model("net", net, {"data": (1, 16, 6, 6)})
    return made.with_seed(0)


def plans(made: Model) -> dict[str, str]:
    return dict(made.executor().compiled(False).lowered.plans)


class Clock:
    """Takes 1 s for every problem, or what is said of a plan, one time after the other."""

    def __init__(self, **faster: list[float]) -> None:
        self.faster, self.seen = faster, []

    def __call__(self, executor):
        found = executor.compiled(False).lowered.plans
        self.seen.append(found)
        return {problem: self._time(name) for problem, name in found.items()}

    def _time(self, name):
        times = self.faster.get(name.split(" (")[0], [1.0])
        return times.pop(0) if len(times) > 1 else times[0]


@pytest.fixture(scope="module")
def estimated():
    with choosing({}):
        return plans(model())


def rival(estimated) -> tuple[str, str]:
    """The convolution, and the plan tried first beside its own."""
    with choosing({}):
        executor = model().executor()
        convolution = next(problem for problem in estimated if "kernel=(3, 3)" in problem)
        return convolution, _rivals(executor, 3)[convolution][0]


def short(name: str) -> str:
    return name.split(" (")[0]


def test_what_measures_faster_is_kept_and_taken(estimated):
    convolution, name = rival(estimated)
    tuning = tune(model(), n_rivals=1, measure=Clock(**{short(name): [0.5]}))
    assert len(estimated) == len(tuning.findings) == 2
    assert tuning.choices == {**estimated, convolution: name}
    (found,) = [f for f in tuning.findings if f.best != f.estimated]
    assert (found.gain, found.share, found.times[name]) == (2, 0.5, 0.5)
    assert tuning.gain == pytest.approx(2 / 1.5)
    assert plans(model()) == estimated  # not kept yet
    tuning.keep()
    assert plans(model()) == tuning.choices
    assert "as measured by symc tune" in model().executor().explain()


@pytest.mark.parametrize("times", [[0.98], [0.5] * 6 + [1.0]])
def test_a_gain_that_may_be_chance_is_not_taken(estimated, times):
    _, name = rival(estimated)
    assert tune(model(), n_rivals=1, measure=Clock(**{short(name): times})).choices == estimated


def test_trials_measure_the_plans_they_name(estimated):
    clock = Clock()
    tuning = tune(model(), n_rivals=2, measure=clock)
    tried = {(problem, name) for found in clock.seen for problem, name in found.items()}
    assert tried == {(f.problem, name) for f in tuning.findings for name in f.times}


def test_times_are_of_every_problem(estimated):
    executor = model().executor()
    found = step_times(executor)
    assert found.keys() == estimated.keys() and all(time_s > 0 for time_s in found.values())


def test_a_plan_that_is_no_candidate_is_ignored_and_told(estimated):
    with choosing(dict.fromkeys(estimated, "magic, 99x99")):
        executor = model().executor()
        assert dict(executor.compiled(False).lowered.plans) == estimated
        assert "the tuned plan is ignored: 'magic, 99x99' is none of the candidates" in executor.explain()
    with choosing(dict.fromkeys(estimated, 7)):  # whatever a file says
        assert plans(model()) == estimated


def test_every_rival_gives_the_same_numbers(estimated):
    made = model()
    inputs = made.sample_inputs()
    with choosing({}):
        executor = made.executor()
        (expected,) = executor(**inputs)
        rivals = _rivals(executor, 100)
    assert max(map(len, rivals.values())) >= 3
    for k in range(3):
        with choosing({problem: names[k] for problem, names in rivals.items() if k < len(names)}):
            (seen,) = made.executor()(**inputs)
        np.testing.assert_allclose(seen.asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-4)


def test_programs_in_the_cache_are_those_of_the_plans(estimated):
    convolution, name = rival(estimated)
    keys = []
    for choices in ({}, {convolution: name}, {}):
        with choosing(choices):
            keys.append(model().executor().compiled(False)._request.key)
    assert keys[0] == keys[2] != keys[1]


def test_a_file_takes_its_plans_along(estimated, tmp_path, monkeypatch):
    convolution, name = rival(estimated)
    made = model()
    with choosing({convolution: name}):
        artifact.save(tmp_path / "net.symc", made.symbol, made.arg_params, made.aux_params, made.shapes)
    opened = artifact.load(tmp_path / "net.symc")
    assert opened.objects
    monkeypatch.setattr("symc.codegen.cpu.backend.CpuBackend.build", lambda *_: pytest.fail("compiled"))
    assert dict(opened.executor().compiled(False).lowered.plans) == {**estimated, convolution: name}


def test_a_device_without_a_choice_has_nothing_to_tune():
    with toy_device() as device, mx.Context("toy"):
        assert isinstance(device, Device)
        tuning = tune(model(), measure=lambda executor: {})
    assert tuning.findings == () and tuning.gain == 1


def test_the_command(estimated, monkeypatch, capsys, tmp_path):
    convolution, name = rival(estimated)
    monkeypatch.setattr("symc.tune.step_times", Clock(**{short(name): [0.5]}))
    made = model()
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, made.symbol, made.arg_params, made.aux_params)
    command = ["tune", str(tmp_path / "net"), "--shape", "data=1,16,6,6", "--rivals", "1"]
    assert main([*command, "--dry"]) == 0
    shown = capsys.readouterr().out
    assert "2 problems measured, 1 have a faster plan" in shown and "nothing is kept" in shown and name in shown
    assert plans(model()) == estimated
    assert main(command) == 0
    assert ".plans; without that file the estimate decides again" in capsys.readouterr().out
    assert plans(model())[convolution] == name
    assert main(["compile", *command[1:4], "-o", str(tmp_path / "net.symc")]) == 0
    capsys.readouterr()
    assert main(["tune", str(tmp_path / "net.symc")]) == 2
    assert "has its plans and kernels inside" in capsys.readouterr().err
