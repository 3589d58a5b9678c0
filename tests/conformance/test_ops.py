"""The recorded cases of every operator; `python -m tests.conformance ops --list` shows the same as a table."""

from __future__ import annotations

import pytest

import symc as mx

from . import golden, replay

# Where symc differs from MXNet, and why. A case that passes must be taken out.
KNOWN = {
    "SliceChannel.02": "output names of num_outputs=1",
    "elemwise_add.02": "grad_req add for two inputs: MXNet adds the first one's buffer to the second as well",
}


@pytest.fixture(scope="module")
def families():
    found: dict[str, list[golden.Case]] = {}
    for case in golden.op_cases():
        found.setdefault(case.family, []).append(case)
    return found
