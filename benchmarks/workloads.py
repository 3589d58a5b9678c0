"""What is measured: one Workload per line of the result, shared by model building, workers and compare.py.

Runs on Python 3.8 and newer, without packages.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A network with fixed input shapes.

    `gluon_name` is its name in MXNet's model zoo, None where peers/make_models.py builds it by hand. `tolerance` is the
    largest error accepted, as max |output - MXNet's| / max |MXNet's|: gradients pass through more sums than outputs do.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    gluon_name: str | None
    is_training: bool = False
    tolerance: float = 1e-4


IMAGE: dict[str, tuple[int, ...]] = {"data": (1, 3, 224, 224)}


def sentences(n: int) -> dict[str, tuple[int, ...]]:
    """35 steps of n sentences for two layers of 256 units."""
    return {"data": (35, n, 256), "state": (2, n, 256), "state_cell": (2, n, 256)}


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("resnet18", IMAGE, "resnet18_v1"),
        Workload("resnet50", IMAGE, "resnet50_v1"),
        Workload("mobilenet1.0", IMAGE, "mobilenet1.0"),
        Workload("squeezenet1.1", IMAGE, "squeezenet1.1"),
        Workload("mlp", {"data": (1, 512)}, None),
        Workload("lstm", sentences(16), None),
        Workload("lstm-single", sentences(1), None),
        Workload(
            "train-resnet18",
            {"data": (8, 3, 64, 64), "softmax_label": (8,)},
            "resnet18_v1",
            is_training=True,
            # One pre-activation that rounding puts on the other side of a ReLU's kink moves the first layer's
            # gradient by 4e-3 (float64 agrees with MXNet to 3e-6, and so does float32 for slightly other inputs).
            tolerance=1e-2,
        ),
    )
}
