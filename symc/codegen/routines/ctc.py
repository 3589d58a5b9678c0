"""Connectionist temporal classification: sequences are units; logarithms of probabilities, added up in float64."""

# mypy: disable-error-code="no-untyped-def"
# (kernels are typed by the compiler)
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from symc.loopir.ctc import CtcForward, CtcOccupation, CtcRoutine
from symc.loopir.kernel import Template, buffer_of

from .body import Body, Compiler

NOTHING = -math.inf  # the logarithm of no probability


def body(template: Template) -> Body:
    """The kernel of a direction."""
    routine, logs = template.routine, buffer_of(template, template.ins[0])
    assert isinstance(routine, CtcRoutine)
    n_steps, n_sequences, n_classes = logs.shape
    n_labels = buffer_of(template, template.ins[1]).shape[1]
    words = {
        "n_steps": n_steps, "n_sequences": n_sequences, "n_classes": n_classes, "n_labels": n_labels,
        "blank": routine.blank,
    }  # fmt: skip
    make = {CtcForward: forward_kernel, CtcOccupation: occupation_kernel}[type(routine)]
    reason = f"{n_sequences} sequences of {n_steps} steps, {n_labels} labels"
    options = logs.dtype, routine.drops_blanks
    return Body(template, "ctc", make, options, str(options), words, reason)


def path_maker(compiler: Compiler, drops_blanks: bool) -> Callable[..., Any]:
    """(path, labels, first, n_labels, n_classes, blank): fills the path, returns how many states it has."""

    @compiler.jit
    def make_path(path, labels, first, n_labels, n_classes, blank):
        path[0] = blank
        size = 1
        for k in range(first, first + n_labels):
            label = min(max(labels[k], 0), n_classes - 1)
            if drops_blanks and label == blank:
                continue
            path[size] = label
            path[size + 1] = blank
            size += 2
        return size

    return make_path


def logarithms(compiler: Compiler) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(log of the sum of three probabilities given by their logarithms, whether a state can be skipped to)."""

    @compiler.jit
    def log_sum(a, b, c):
        most = max(a, max(b, c))
        if most == NOTHING:
            return most
        return most + math.log(math.exp(a - most) + math.exp(b - most) + math.exp(c - most))

    @compiler.jit
    def is_skipped_to(path, state, size, blank):
        """Whether the step from the last but one is allowed."""
        return 1 < state < size and path[state] != blank and path[state] != path[state - 2]

    return log_sum, is_skipped_to


def forward_kernel(compiler: Compiler, dtype: str, drops_blanks: bool) -> Callable[..., None]:
    """Step by step through the states from which the end can be reached and that can be reached."""
    values, int32s, float64s = (compiler.elements(d) for d in (dtype, "int32", "float64"))
    make_path = path_maker(compiler, drops_blanks)
    log_sum, is_skipped_to = logarithms(compiler)

    def kernel(chunk, n_chunks, desc, bufs):
        logs = values(bufs[desc[0]] + desc[1])
        labels, lengths = int32s(bufs[desc[2]] + desc[3]), int32s(bufs[desc[4]] + desc[5])
        label_lengths = int32s(bufs[desc[6]] + desc[7])
        costs, alphas = values(bufs[desc[8]] + desc[9]), float64s(bufs[desc[10]] + desc[11])
        steps = int32s(bufs[desc[12]] + desc[13])
        max_steps, n_sequences, n_classes, n_labels, blank = desc[16], desc[17], desc[18], desc[19], desc[20]
        n_states = 2 * n_labels + 1
        path = int32s(bufs[desc[14]] + desc[15] + chunk * n_states * 4)
        for n in range(chunk * n_sequences // n_chunks, (chunk + 1) * n_sequences // n_chunks):
            size = make_path(path, labels, n * n_labels, label_lengths[n], n_classes, blank)
            first = n * max_steps * n_states
            for at in range(first, first + max_steps * n_states):
                alphas[at] = NOTHING
            n_needed = size // 2
            for state in range(3, size, 2):
                n_needed += path[state] == path[state - 2]
            n_steps = lengths[n]
            costs[n] = 0
            steps[n] = 0
            if n_needed > n_steps or n_steps == 0:
                continue
            steps[n] = n_steps
            for t in range(n_steps):
                here, row = (t * n_sequences + n) * n_classes, first + t * n_states
                for state in range(max(0, size - 2 * (n_steps - t)), min(size, 2 * t + 2)):
                    alpha = 0.0
                    if t > 0:
                        before = row - n_states + state
                        stay, go_on, skip = alphas[before], NOTHING, NOTHING
                        if state > 0:
                            go_on = alphas[before - 1]
                        if is_skipped_to(path, state, size, blank):
                            skip = alphas[before - 2]
                        alpha = log_sum(stay, go_on, skip)
                    alphas[row + state] = alpha + logs[here + path[state]]
            last = first + (n_steps - 1) * n_states + size - 1
            costs[n] = -log_sum(alphas[last], alphas[last - 1] if size > 1 else NOTHING, NOTHING)

    return kernel


def occupation_kernel(compiler: Compiler, dtype: str, drops_blanks: bool) -> Callable[..., None]:
    """Backwards through the steps with one row of states; `beta` leaves out what its own step emits."""
    values, int32s, float64s = (compiler.elements(d) for d in (dtype, "int32", "float64"))
    make_path = path_maker(compiler, drops_blanks)
    log_sum, is_skipped_to = logarithms(compiler)

    def kernel(chunk, n_chunks, desc, bufs):
        logs = values(bufs[desc[0]] + desc[1])
        labels, label_lengths = int32s(bufs[desc[2]] + desc[3]), int32s(bufs[desc[4]] + desc[5])
        alphas, steps = float64s(bufs[desc[6]] + desc[7]), int32s(bufs[desc[8]] + desc[9])
        found = values(bufs[desc[10]] + desc[11])
        max_steps, n_sequences, n_classes, n_labels, blank = desc[16], desc[17], desc[18], desc[19], desc[20]
        n_states = 2 * n_labels + 1
        path = int32s(bufs[desc[12]] + desc[13] + chunk * n_states * 4)
        beta = float64s(bufs[desc[14]] + desc[15] + chunk * n_states * 8)
        for n in range(chunk * n_sequences // n_chunks, (chunk + 1) * n_sequences // n_chunks):
            for t in range(max_steps):
                here = (t * n_sequences + n) * n_classes
                for at in range(here, here + n_classes):
                    found[at] = 0
            size = make_path(path, labels, n * n_labels, label_lengths[n], n_classes, blank)
            n_steps = steps[n]
            if n_steps == 0:
                continue
            row = (n * max_steps + n_steps - 1) * n_states
            total = log_sum(alphas[row + size - 1], alphas[row + size - 2] if size > 1 else NOTHING, NOTHING)
            if total == NOTHING:
                continue
            for state in range(size):
                beta[state] = 0.0 if state >= size - 2 else NOTHING
            for back in range(n_steps):
                t = n_steps - 1 - back
                here, row = (t * n_sequences + n) * n_classes, (n * max_steps + t) * n_states
                if back > 0:
                    behind = here + n_sequences * n_classes
                    for state in range(size):
                        beta[state] += logs[behind + path[state]]
                    for state in range(size):
                        go_on, skip = NOTHING, NOTHING
                        if state + 1 < size:
                            go_on = beta[state + 1]
                        if is_skipped_to(path, state + 2, size, blank):
                            skip = beta[state + 2]
                        beta[state] = log_sum(beta[state], go_on, skip)
                for state in range(size):
                    found[here + path[state]] += math.exp(alphas[row + state] + beta[state] - total)

    return kernel
