"""Every network of the zoo: a digest of the names and shapes of its parameters, and of the graph it is traced to."""

from __future__ import annotations

import hashlib

NAMES = """alexnet densenet121 densenet161 densenet169 densenet201 inceptionv3 mobilenet0.25 mobilenet0.5 mobilenet0.75
mobilenet1.0 mobilenetv2_0.25 mobilenetv2_0.5 mobilenetv2_0.75 mobilenetv2_1.0 resnet18_v1 resnet34_v1 resnet50_v1
resnet101_v1 resnet152_v1 resnet18_v2 resnet34_v2 resnet50_v2 resnet101_v2 resnet152_v2 squeezenet1.0 squeezenet1.1
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn""".split()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def network(name):
    def run(mx, folder):
        net = mx.gluon.model_zoo.vision.get_model(name, classes=7)
        structure = [f"{n} {p.shape} {p.grad_req} {p.init}" for n, p in net.collect_params().items() if "conv" not in n]
        shapes = [f"{n} {p.shape} {p.grad_req}" for n, p in net.collect_params().items()]
        return {
            "parameters": [len(shapes), digest("\n".join(shapes)), digest("\n".join(structure))],
            "paths": digest("\n".join(net._collect_params_with_prefix())),
            "first": shapes[:3],
            "symbol": digest(net(mx.sym.var("data")).tojson()),
            "text": digest(repr(net)),
        }

    return run


def shuffles(mx, folder):
    """Contributed layers."""
    nn, x = mx.gluon.contrib.nn, mx.nd.arange(2 * 24 * 2 * 3)
    branches = nn.HybridConcurrent(axis=1, prefix="c_")
    branches.add(nn.Identity(), mx.gluon.nn.Activation("relu"))
    made = nn.PixelShuffle1D(3), nn.PixelShuffle2D((2, 3)), nn.PixelShuffle3D(2)
    shapes = (2, 24, 6), (2, 24, 2, 3), (2, 24, 2, 3, 1)
    return {
        "repr": [repr(block) for block in made],
        "out": [block(x.reshape(shape)).reshape(-1) for block, shape in zip(made, shapes)],
        "branches": [repr(branches), branches(x.reshape((2, 12, 12)) - 99).shape],
        "norm": list(nn.SyncBatchNorm(in_channels=2, num_devices=1, prefix="s_").params),
    }


CASES = {"contrib": shuffles, **{name: network(name) for name in NAMES}}
