"""Claim: no path through the engine is slow: balls, poolings, deep convolutions and elementwise outputs cost what they cost the peer.

Processor time of one thread, the engines in turn in one process, medians. pytest bench/bench_paths.py --benchmark-only -k l2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import certify
from bench.measure import Prepare, median_cpu_times, peak_memory
from bench.networks import drawn, uniform
from bench.peers.auto_lirpa import Peer, alpha_peer
from models.architectures import mnist_conv


@dataclass(frozen=True)
class Path:
    """A network, an l_p ball around each of `batch` points, and how its outputs are bounded; `most` is the ratio of times to keep."""

    name: str
    about: str
    module: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    batch: int
    eps: float
    p: float
    method: str
    most: float
    readable: bool = True
    """auto_LiRPA 0.3 fails on some: they are measured alone."""

    def __str__(self) -> str:
        return self.name


def _conv(*channels: int, kernel: int = 3, stride: int = 1, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(*channels, kernel, stride, padding)


def cifar_seven(width: int = 8) -> nn.Sequential:
    """Five convolutions, the third of stride 2, and two dense layers: the size that certified training uses, `width` channels."""
    sizes = ((3, width, 1), (width, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 2 * width, 1))
    layers = [layer for i, o, stride in sizes for layer in (_conv(i, o, stride=stride), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512 * width, 512), nn.ReLU(), nn.Linear(512, 10))


class Residual(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x)))), halving the image."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.first, self.second = _conv(i, o, stride=2), _conv(o, o)
        self.shortcut = _conv(i, o, kernel=2, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shortcut(x) + self.second(torch.relu(self.first(x))))


def cifar_resnet() -> nn.Sequential:
    """Two residual blocks on 8 channels of a CIFAR image, then 1024-100-10."""
    blocks = (_conv(3, 8), nn.ReLU(), Residual(8, 16), Residual(16, 16))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(1024, 100), nn.ReLU(), nn.Linear(100, 10))


def averaging() -> nn.Sequential:
    """Four convolutions with average pooling behind every second one, then 1024-128-10."""
    sizes = ((3, 8), (8, 8), (8, 16), (16, 16))
    layers: list[nn.Module] = []
    for number, (i, o) in enumerate(sizes):
        layers += [_conv(i, o), nn.ReLU()] + [nn.AvgPool2d(2)] * (number % 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10))


def pooling() -> nn.Sequential:
    """52,138 parameters: two convolutions with MaxPool behind each, then 784-60-10."""
    layers = (_conv(1, 16), nn.ReLU(), nn.MaxPool2d(2), _conv(16, 16), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(784, 60), nn.ReLU(), nn.Linear(60, 10))


MNIST, CIFAR = uniform(1, 28, 28), uniform(3, 32, 32)
BALLS = tuple(
    Path(f"{method}-l{p}", f"conv net 16/32 + 100, l_{p} ball", drawn(mnist_conv), MNIST, 8, eps, float(p), method, most)
    for method, most in (("ibp", 2.0), ("crown-ibp", 2.0), ("crown", 1.0))
    for p, eps in ((2, 0.5), (1, 1.0))
)
LAYERS = (
    Path("crown-seven", "7-layer CIFAR conv net", drawn(cifar_seven), CIFAR, 1, 1 / 255, inf, "crown", 1.0),
    Path("crown-resnet", "CIFAR ResNet, 2 blocks", drawn(cifar_resnet), CIFAR, 1, 0.03, inf, "crown", 1.0, False),
    Path("crown-average", "4 convolutions, average pooling", drawn(averaging), CIFAR, 8, 0.03, inf, "crown", 1.0, False),
    Path("crown-maximum", "2 convolutions, MaxPool", drawn(pooling), MNIST, 4, 0.01, inf, "crown", 2.0),
)
ELEMENTWISE = tuple(
    Path(
        f"alpha-{name}", f"{name} of 500 inputs", module, lambda batch: 4 * uniform(500)(batch) - 2, 1, 1.0, inf, "alpha-crown", 1.0
    )
    for name, module in (("relu", nn.ReLU), ("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh))
)
PATHS = (*BALLS, *LAYERS, *ELEMENTWISE)

THEIR_NAMES = {"ibp": "IBP", "crown-ibp": "IBP+backward", "crown": "backward", "alpha-crown": "CROWN-Optimized"}


def ours(path: Path) -> Prepare:
    """Lower and upper bounds by `certify.bounds`, of a module captured beforehand."""
    x = path.inputs(path.batch)
    model = certify.compile(path.module(), x)
    return lambda: lambda: certify.bounds(model, certify.LpBall(x, path.eps, path.p), path.method)


def theirs(path: Path) -> Prepare:
    """The same by auto_LiRPA; a fresh module for every optimisation, which changes it."""
    x = path.inputs(path.batch)
    known = None if path.method == "alpha-crown" else Peer(path.module(), x)

    def prepare() -> Callable[[], tuple[Tensor, Tensor]]:
        peer = known or alpha_peer(path.module(), x)

        @torch.enable_grad() if known is None else torch.no_grad()  # type: ignore[misc]
        def call() -> tuple[Tensor, Tensor]:
            return peer.ball_bounds(x, path.eps, path.p, THEIR_NAMES[path.method])

        return call

    return prepare


ENGINES: Mapping[str, Callable[[Path], Prepare]] = {"certify": ours, "auto_LiRPA": theirs}


def engines(path: Path) -> Mapping[str, Callable[[Path], Prepare]]:
    """Who can be measured here."""
    return ENGINES if path.readable and find_spec("auto_LiRPA") else {"certify": ours}


def times(path: Path, rounds: int = 5, seconds: float = 20.0) -> dict[str, float]:
    """Seconds of processor time of each engine."""
    return median_cpu_times({name: engine(path) for name, engine in engines(path).items()}, rounds, seconds)


@cache
def widths(path: Path) -> dict[str, float]:
    """The mean width of the bounds of each engine."""
    found = {name: engine(path)()() for name, engine in engines(path).items()}
    return {name: float((upper - lower).mean().detach()) for name, (lower, upper) in found.items()}


_VERIFY = """
import numpy as np
import certify
from bench.networks import ROOT, Mirror, frozen
model = certify.load(ROOT / "models" / "mnist_conv.onnx")
spec = certify.robust(np.full((1, 28, 28), 0.5), 0, eps="1/255", domain=(0, 1))
certify.verify({model}, spec, timeout=20)
"""


def memory_of_verifying() -> dict[str, int]:
    """Bytes that a process holds at most which verifies a network from its file, and as a module."""
    return {
        name: peak_memory(_VERIFY.format(model=model))
        for name, model in (("file", "model"), ("module", "frozen(Mirror(model.graph))"))
    }


def test_a_module_takes_the_memory_of_its_file(benchmark: Any) -> None:
    found = benchmark.pedantic(memory_of_verifying, rounds=1)
    assert found["module"] <= 1.2 * found["file"]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_the_path_is_no_slower_and_no_looser(benchmark: Any, path: Path) -> None:
    if len(engines(path)) == 1:
        pytest.skip("auto_LiRPA 0.3 is not installed or fails on it: pip install --no-deps auto_LiRPA==0.3 appdirs")
    found = benchmark.pedantic(times, (path,), rounds=1)
    width = widths(path)
    benchmark.extra_info["ratio of times"] = ratio = found["certify"] / found["auto_LiRPA"]
    benchmark.extra_info["ratio of widths"] = width["certify"] / width["auto_LiRPA"]
    assert width["certify"] <= width["auto_LiRPA"] * 1.02, "a faster but looser bound is not a faster bound"
    assert ratio <= path.most
