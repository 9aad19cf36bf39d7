"""The networks shipped here, by name: plain stacks of linear maps, convolutions and ReLU."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def dense(*widths: int) -> nn.Sequential:
    """A multilayer perceptron with these layer widths, inputs first, on flattened images."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def digits_mlp() -> nn.Sequential:
    """64-100-100-10."""
    return dense(64, 100, 100, 10)


def digits_conv() -> nn.Sequential:
    """Two 3x3 convolutions (16 and 32 channels, the second of stride 2), then 512-64-10."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        *dense(512, 64, 10),
    )


def mnist_mlp() -> nn.Sequential:
    """784-256-256-256-256-10."""
    return dense(784, 256, 256, 256, 256, 10)


def mnist_conv() -> nn.Sequential:
    """Two 4x4 convolutions of stride 2 (16 and 32 channels), then 1568-100-10."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        *dense(1568, 100, 10),
    )
