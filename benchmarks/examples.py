"""Steps per second of the scripts in examples/ that train, in symc and in the real MXNet.

    python benchmarks/examples.py --mxnet PYTHON [--scripts dcgan,word_lm] [--threads 1] [--rounds 3]

Each script runs unchanged, in turns, in a process of its own. A step is what lies between two updates of a trainer or
a module: data, forward, backward, update; of all steps the median counts, so compiling and evaluation do not.
See benchmarks/README.md
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import runpy
import statistics
import subprocess
import sys
import tempfile
import time

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
TRAINING = (
    "module_fit", "image_classification", "gluon_training", "word_lm", "matrix_factorisation", "autoencoder",
    "multi_task", "adversarial", "dcgan", "ssd",
)  # fmt: skip


def work(package, script):
    """Runs a script, `import symc` giving the package; the last line printed is the median of its steps in seconds."""
    mx = importlib.import_module(package)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        sys.modules[f"symc{name[len(package) :]}"] = sys.modules[name]
    ends = []

    def counted(update):
        def call(*args, **kwargs):
            result = update(*args, **kwargs)
            mx.nd.waitall()  # else MXNet's step is over before it is computed
            ends.append(time.perf_counter())
            return result

        return call

    mx.gluon.Trainer.step = counted(mx.gluon.Trainer.step)
    mx.mod.Module.update = counted(mx.mod.Module.update)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        runpy.run_path(script, run_name="__main__")
    print(json.dumps([statistics.median(ends[k + 1] - ends[k] for k in range(len(ends) - 1)), len(ends)]))


def seconds(python, package, script, n_threads):
    """The median step of one run, and how many steps it had; raises RuntimeError with the reason where it fails."""
    environment = os.environ | {"SYMC_NUM_THREADS": str(n_threads), "OMP_NUM_THREADS": str(n_threads)}
    command = [python, __file__, "--work", package, str(script)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(f"{package} ended with {found.stderr.strip().splitlines()[-1]}")
    return json.loads(found.stdout.splitlines()[-1])


def main():
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description="Steps per second of the examples; see benchmarks/README.md")
    parser.add_argument("--mxnet", required=True, metavar="PYTHON", help="interpreter of an environment with MXNet")
    parser.add_argument("--scripts", default=",".join(TRAINING))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("| script | steps | symc, steps/s | MXNet, steps/s | ratio |\n|---|---|---|---|---|")
    failed = False
    for name in arguments.scripts.split(","):
        pairs = []
        try:
            for _ in range(arguments.rounds):
                script = EXAMPLES / f"{name}.py"
                own, n_steps = seconds(sys.executable, "symc", script, arguments.threads)
                other, _ = seconds(arguments.mxnet, "mxnet", script, arguments.threads)
                pairs.append((1 / own, 1 / other, other / own))
        except RuntimeError as error:
            failed = True
            print(f"| `{name}.py` | | | | {error} |", flush=True)
            continue
        symc, mxnet, ratio = (statistics.median(column) for column in zip(*pairs))
        print(f"| `{name}.py` | {n_steps} | {symc:.0f} | {mxnet:.0f} | {ratio:.2f} |", flush=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
