"""Operators are values, in other processes too."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import symc.ops  # noqa: F401  (registers the operators)
from symc.ir.op import lookup

READER = """
import pickle, sys
first, second = pickle.load(sys.stdin.buffer), pickle.load(sys.stdin.buffer)
made_here = type(first)(act_type="tanh")
print(first == second == made_here, len({first, second, made_here}), first)
"""


def test_another_process_reads_an_operator_as_one_of_its_own():
    """A text, and so an operator, has another hash in every process; the class has no instance there yet."""
    operator = lookup("Activation").create({"act_type": "tanh"})
    assert len({operator, pickle.loads(pickle.dumps(operator))}) == 1
    done = subprocess.run([sys.executable, "-c", READER], input=pickle.dumps(operator) * 2, capture_output=True)
    assert done.stdout.decode() == "True 1 Activation(act_type='tanh')\n", done.stderr.decode()


def test_an_operator_without_its_parameters_cannot_be_made():
    with pytest.raises(TypeError, match="Activation: act_type is missing, act is unknown"):
        lookup("Activation")(act="tanh")
