"""The training steps of gluon.py in PyTorch: equal networks, weights, data and updates, eager or compiled."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def mlp():
    return nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.Tanh(), nn.MaxPool2d(2, 2), nn.Conv2d(20, 50, 5), nn.Tanh(), nn.MaxPool2d(2, 2),
        nn.Flatten(), nn.Linear(800, 500), nn.Tanh(), nn.Linear(500, 10),
    )  # fmt: skip


class Residual(nn.Module):
    """A basic block of ResNet v1."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out),
        )  # fmt: skip
        self.shortcut = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for n_in, n_out, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Residual(n_in, n_out, stride), Residual(n_out, n_out, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class LanguageModel(nn.Module):
    """Words (T, N) -> scores (T, N, 1000)."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 200)
        self.lstm = nn.LSTM(200, 200, 2)
        self.decoder = nn.Linear(200, 1000)

    def forward(self, x):
        return self.decoder(self.lstm(self.embedding(x))[0])


NETWORKS = {"MLP": mlp, "LeNet": lenet, "ResNet-18": resnet, "LSTM": LanguageModel}


def equal_weights(net):
    """What gluon.py draws for the parameters, which have the same order."""
    rng = np.random.RandomState(0)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = max(1, int(np.prod(parameter.shape[1:])))
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) / np.sqrt(fan_in)))


def steps(name, data, labels, n_threads, is_compiled):
    """The loss of a step, and a step: cross entropy, SGD with momentum in PyTorch's one call for all parameters."""
    torch.set_num_threads(n_threads)
    net = NETWORKS[name.split()[0]]()
    equal_weights(net)
    x, y = torch.from_numpy(data), torch.from_numpy(labels).long()
    if isinstance(net, LanguageModel):
        x = x.long()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)

    def loss_of(x, y):
        scores = net(x)
        return functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))

    forward = torch.compile(loss_of) if is_compiled else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return lambda: step().item(), step
