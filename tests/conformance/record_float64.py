"""Records the training step of the models in float64, with MXNet itself (Python 3.8 of the oracle's environment).

    PYTHON_OF_MXNET -m tests.conformance.record_float64 --root ../shared/conformance

In float32 one pre-activation next to zero may fall on the other side of a ReLU's kink, by rounding alone: MXNet's own
gradients of mobilenet0.25 are 1 % from the exact ones for that reason. In float64 nothing falls: symc's gradients
agree with MXNet's to 1e-7.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
from typing import Any

import numpy as np

from . import golden, replay


def fingerprint(array: np.ndarray) -> dict[str, Any]:
    """What `expect_fingerprint` compares."""
    flat = array.astype("f8").reshape(-1)
    moments = {"mean": float(flat.mean()), "std": float(flat.std()), "l2": float(np.linalg.norm(flat))}
    return {"shape": list(array.shape), **moments, "first": flat[:8].tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=golden.ROOT)
    mx = importlib.import_module("mxnet")
    for model in golden.models(parser.parse_args().root):
        if model.train:
            step = replay.training_step(mx, model, "float64")
            path = golden.ROOT / "float64" / f"{model.name}.json"
            path.parent.mkdir(exist_ok=True)
            recorded = {part: {n: fingerprint(a) for n, a in arrays.items()} for part, arrays in step.items()}
            path.write_text(json.dumps(recorded, indent=0) + "\n")


if __name__ == "__main__":
    main()
