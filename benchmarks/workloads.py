"""What is measured: one Workload per line of the result, shared by model building, workers and compare.py.

Runs on Python 3.8 and newer, without packages.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A network with fixed input shapes.

    `network` is a function of peers/networks.py or, where that has none, a name in MXNet's model zoo. `tolerance` is
    the largest error accepted, as max |output - MXNet's| / max |MXNet's|: gradients pass through more sums than that.
    A quantised one computes on 8-bit integers what MXNet's `quantize_model` made of the network.
    """

    name: str
    inputs: dict[str, tuple[int, ...]]
    network: str
    is_training: bool = False
    is_quantized: bool = False
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Recurrent:
    """Layers of 256 units, one on top of the other, each in one or two directions."""

    mode: str
    n_layers: int
    n_directions: int

    def sentences(self, n: int) -> dict[str, tuple[int, ...]]:
        """35 steps of n sentences, and the first states."""
        state = (self.n_layers * self.n_directions, n, 256)
        cells = {"state_cell": state} if self.mode == "lstm" else {}
        return {"data": (35, n, 256), "state": state, **cells}


RECURRENT = {"lstm": Recurrent("lstm", 2, 1), "gru": Recurrent("gru", 1, 2)}
LSTM, GRU = RECURRENT.values()
IMAGE: dict[str, tuple[int, ...]] = {"data": (1, 3, 224, 224)}
IMAGES: dict[str, tuple[int, ...]] = {"data": (16, 3, 224, 224)}
TOKENS: dict[str, tuple[int, ...]] = {"data": (1, 128, 768)}


def chain_of(n: int) -> dict[str, tuple[int, ...]]:
    """n numbers in each of the five inputs of an elementwise chain."""
    return dict.fromkeys(("x", "w", "b", "y", "z"), (n,))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("resnet18", IMAGE, "resnet18_v1"),
        Workload("resnet50", IMAGE, "resnet50_v1"),
        Workload("vgg16", IMAGE, "vgg16"),
        Workload("inception-bn", IMAGE, "inception_bn"),
        Workload("inceptionv3", {"data": (1, 3, 299, 299)}, "inceptionv3"),
        Workload("densenet121", IMAGE, "densenet121"),
        Workload("mobilenet1.0", IMAGE, "mobilenet1.0"),
        Workload("mobilenet1.0-16", IMAGES, "mobilenet1.0"),
        Workload("mobilenetv2", IMAGE, "mobilenetv2_1.0"),
        Workload("squeezenet1.1", IMAGE, "squeezenet1.1"),
        Workload("inception-a", {"data": (1, 192, 28, 28)}, "inception_a"),
        Workload("inception-a-16", {"data": (16, 192, 28, 28)}, "inception_a"),
        Workload("unet", {"data": (1, 3, 256, 256)}, "unet"),
        Workload("bert-layer", TOKENS, "bert_layer"),
        Workload("mlp", {"data": (1, 512)}, "mlp"),
        Workload("mlp-4", {"data": (4, 512)}, "mlp"),
        Workload("mlp-16", {"data": (16, 512)}, "mlp"),
        Workload("mlp-64", {"data": (64, 512)}, "mlp"),
        Workload("lstm", LSTM.sentences(16), "lstm"),
        Workload("lstm-single", LSTM.sentences(1), "lstm"),
        Workload("gru", GRU.sentences(16), "gru"),
        Workload("gru-single", GRU.sentences(1), "gru"),
        Workload("softmax", {"data": (1024, 1000)}, "softmax"),
        Workload("layer-norm", {"data": (1024, 768)}, "layer_norm"),
        Workload("chain-1e3", chain_of(1_000), "chain"),
        Workload("chain-1e4", chain_of(10_000), "chain"),
        Workload("chain-1e6", chain_of(1_000_000), "chain"),
        Workload("max-pool", {"data": (1, 64, 112, 112)}, "max_pool"),
        Workload("average-pool", {"data": (1, 192, 28, 28)}, "average_pool"),
        # A last bit of float32 that decides how one value rounds to an integer moves the outputs by 1 %.
        Workload("resnet18-int8", IMAGE, "resnet18_v1", is_quantized=True, tolerance=5e-2),
        Workload("train-mlp", {"data": (64, 512), "softmax_label": (64,)}, "mlp", is_training=True),
        Workload("train-lenet", {"data": (64, 1, 28, 28), "softmax_label": (64,)}, "lenet", is_training=True),
        Workload("train-lstm", LSTM.sentences(16), "lstm", is_training=True),
        Workload(
            "train-resnet18",
            {"data": (8, 3, 64, 64), "softmax_label": (8,)},
            "resnet18_v1",
            is_training=True,
            # One pre-activation that rounding puts on the other side of a ReLU's kink moves the first layer's
            # gradient by 4e-3 (float64 agrees with MXNet to 3e-6, and so does float32 for slightly other inputs).
            tolerance=1e-2,
        ),
        Workload("train-bert-layer", {**TOKENS, "softmax_label": (128,)}, "bert_layer", is_training=True),
    )
}
