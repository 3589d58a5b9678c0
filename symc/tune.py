"""Finds the fastest plans of a model's contractions by measuring them where they are used, one beside the other.

Each trial is the whole model with other plans: the k-th rival of every problem at once. Its steps are timed in turns
with those of the plans that the estimate takes, and the least time of each counts, which other processes disturb least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symc.codegen.contraction.plan import ContractionPlan, problem_text
from symc.codegen.tuned import Choices, choosing, keep
from symc.executor import Executor
from symc.loopir.kernel import Contraction
from symc.models import Model

from .context import current_context

NEAR = 1.25  # a rival's estimate is at most so many times that of the plan taken; one of each algorithm is tried anyway
LEAST_GAIN = 1.03  # for less an estimate is not overruled: it would be noise
N_ROUNDS, TURN_S = 6, 0.15

Times = Mapping[str, float]  # seconds by problem
Measure = Callable[[Executor], Times]


@dataclass(frozen=True)
class Finding:
    """A problem: the plan that the estimate takes and the one to take, by the times measured.

    times  of plans, relative to that of the estimate's
    share  of all contractions' time, by the estimate's plans
    """

    problem: str
    estimated: str
    best: str
    times: Mapping[str, float]
    share: float

    @property
    def gain(self) -> float:
        """How many times as fast the best plan is."""
        return 1 / self.times[self.best]


@dataclass(frozen=True)
class Tuning:
    """What was found."""

    findings: tuple[Finding, ...]

    @property
    def gain(self) -> float:
        """How many times as fast all contractions together are."""
        return 1 / (1 - sum(finding.share * (1 - 1 / finding.gain) for finding in self.findings))

    @property
    def choices(self) -> Choices:
        return {finding.problem: finding.best for finding in self.findings}

    def keep(self) -> Path:
        """Stores the plans for this CPU; raises SymcError where that cannot be done."""
        return keep(current_context().device.backend.facts()["target"], self.choices)


def tune(
    model: Model,
    n_rivals: int = 6,
    measure: Measure | None = None,
    show: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Tuning:
    """Measures the plans of a model's predictions with one thread: plans are chosen for a core.

    n_rivals  plans of a problem that are tried beside the estimate's
    show      is given the trials and gives them back one by one, to tell how far it is
    """
    measure = measure or step_times
    estimated = _with_plans(model, {})
    rivals = _rivals(estimated, n_rivals)
    own = estimated.compiled().lowered.plans
    found: dict[str, dict[str, float]] = {problem: {own[problem]: 1.0} for problem in rivals}
    shares = measure(estimated)
    for k in show(range(max(map(len, rivals.values()), default=0))):
        choices = {problem: names[k] for problem, names in rivals.items() if k < len(names)}
        ratios = _compared(estimated, _with_plans(model, choices), measure)
        for problem, name in choices.items():
            found[problem][name] = ratios[problem]
    best = {problem: min(times, key=lambda name: times[name]) for problem, times in found.items()}
    faster = {problem: name for problem, name in best.items() if found[problem][name] * LEAST_GAIN < 1}
    ratios = _compared(estimated, _with_plans(model, faster), measure) if faster else {}
    for problem, name in faster.items():  # of many that are equally fast one seems faster by chance, but not twice
        found[problem][name] = max(found[problem][name], ratios[problem])
    taken = {problem: name for problem, name in faster.items() if found[problem][name] * LEAST_GAIN < 1}
    total_s = sum(shares.values())
    return Tuning(tuple(Finding(p, own[p], taken.get(p, own[p]), t, shares[p] / total_s) for p, t in found.items()))


def _with_plans(model: Model, choices: Choices) -> Executor:
    with choosing(choices):
        executor = model.executor()
        executor.set_num_threads(1)
        executor(**model.sample_inputs())
        executor.compiled().lowered  # noqa: B018  (made now, with these plans)
    return executor


def _rivals(executor: Executor, n: int) -> dict[str, list[str]]:
    """By problem the plans to try: the best of each other algorithm, then those expected to be nearly as fast."""
    compiled = executor.compiled()
    found: dict[str, list[str]] = {}
    for node in compiled.lowered.kernels.kernels:
        kernel, plan = node.kernel, getattr(node.kernel, "plan", None)
        if not isinstance(kernel, Contraction) or not isinstance(plan, ContractionPlan):
            continue
        others = sorted((c for c in compiled.backend.candidates(kernel) if c.name != plan.name), key=lambda c: c.cycles)
        first = {c.algorithm: c.name for c in reversed(others) if c.algorithm != plan.algorithm}
        near = [c.name for c in others if c.cycles < NEAR * plan.cycles]
        found[problem_text(kernel, plan.is_reused)] = list(dict.fromkeys([*first.values(), *near]))[:n]
    return {problem: names for problem, names in found.items() if names}


def _compared(estimated: Executor, trial: Executor, measure: Measure) -> Times:
    """Of each problem the trial's time relative to the estimate's."""
    rounds = [(measure(estimated), measure(trial)) for _ in range(N_ROUNDS)]
    old, new = ({p: min(times[p] for times in turns) for p in turns[0]} for turns in zip(*rounds))
    return {p: new[p] / old[p] for p in old}


def step_times(executor: Executor) -> Times:
    """The least seconds that each problem takes in some runs, with the steps that arrange its right operand."""
    lowered = executor.compiled().lowered
    n_runs = max(3, int(TURN_S / max(executor.profile(n_runs=1).total_s, 1e-6)))
    profile = executor.profile(n_runs=min(n_runs, 1000))
    least_s = (profile.times_ns[..., 1] - profile.times_ns[..., 0]).min(axis=0) * 1e-9
    times = {row.step: float(time_s) for row, time_s in zip(profile.rows, least_s)}
    arranged: dict[str, str] = {}
    problems = []
    for _, node, _ in lowered.steps():
        plan = getattr(node.kernel, "plan", None)
        problem = None
        if isinstance(node.kernel, Contraction) and isinstance(plan, ContractionPlan):
            problem = arranged[node.kernel.rhs] = problem_text(node.kernel, plan.is_reused)
        problems.append((problem, node))
    found: dict[str, float] = {}
    for number, (problem, node) in enumerate(problems):
        problem = problem or next((arranged[name] for name in node.writes if name in arranged), None)
        if problem is not None and number in times:
            found[problem] = found.get(problem, 0.0) + times[number]
    return found
