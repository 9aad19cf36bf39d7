"""The networks and input sets that every benchmark measures: random weights as in the issue tracker's figures, and trained ones.

Each is a module, so that peers can read it too; its parameters are frozen, so that nobody pays for a tape that bounds do not need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import certify
from certify.graph import Graph
from models.architectures import dense, mnist_conv, mnist_mlp

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CERTIFY_DATA") or ROOT.parent / "shared" / "data")


@dataclass(frozen=True)
class Workload:
    """A network and the boxes to bound it on: `inputs(batch)` are the centres, `eps` the radius."""

    name: str
    about: str
    module: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    eps: float
    batches: tuple[int, ...]


def frozen(module: nn.Module) -> nn.Module:
    """The module for inference: no gradients of its parameters, no training behaviour."""
    return module.eval().requires_grad_(False)


def drawn(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The module with the same random weights at every call."""

    def module() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return frozen(build())

    return module


def uniform(*shape: int) -> Callable[[int], Tensor]:
    """Batches of points of the unit cube, the same at every call."""
    return lambda batch: torch.rand(batch, *shape, generator=torch.Generator().manual_seed(1))


RANDOM = (
    Workload("mlp", "MLP 784-256x4-10", drawn(mnist_mlp), uniform(1, 28, 28), 0.01, (16, 1)),
    Workload("conv", "conv net 16/32 + 100", drawn(mnist_conv), uniform(1, 28, 28), 0.01, (8, 1)),
    Workload("acas", "ACAS-size 5-50x6-5", drawn(lambda: dense(5, *(50,) * 6, 5)), uniform(5), 0.05, (512, 1)),
)


_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "conv": F.conv2d,
    "linear": F.linear,
    "relu": F.relu,
    "add": torch.add,
    "reshape": lambda x, shape: x.flatten(1),
}


class Mirror(nn.Module):
    """The module that a graph of two-dimensional convolutions, matrix products, sums and ReLU stands for."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.names = {name: f"constant{i}" for i, name in enumerate(graph.constants)}
        for name, value in graph.constants.items():
            self.register_parameter(self.names[name], nn.Parameter(torch.tensor(value, dtype=torch.float32)))

    def forward(self, x: Tensor) -> Tensor:
        values = {self.graph.input: x}
        for node in self.graph.nodes:
            if node.inputs:
                params = {role: getattr(self, self.names[name]) for role, name in node.params.items()}
                values[node.name] = _FUNCTIONS[node.op](*(values[name] for name in node.inputs), **params, **node.attrs)
        return values[self.graph.output]


def _loaded(path: Path) -> Callable[[], nn.Module]:
    return lambda: frozen(Mirror(certify.load(path).graph))


@cache
def _digits(batch: int) -> Tensor:
    return torch.as_tensor(certify.load_data(f"mnist:{DATA / 'mnist'}", batch).x, dtype=torch.float32)


def _shipped(name: str, about: str, eps: float, batch: int) -> Workload:
    return Workload(name, about, _loaded(ROOT / "models" / f"{name}.onnx"), _digits, eps, (batch, 1))


TRAINED = (
    _shipped("mnist_mlp", "MLP trained on MNIST", 0.02, 16),
    _shipped("mnist_conv", "conv net trained on MNIST", 0.02, 8),
    _shipped("mnist_conv_certified", "conv net certifiably trained", 0.1, 8),
)

RESNET_FILE = DATA / "vnncomp" / "sri_resnet_a" / "onnx" / "resnet_3b2_bn_mixup_adv_4.0_bs128_lr-1.onnx.gz"
# Its inputs are normalised: the competition's smallest radius there, 0.00198 of a grey level, is 0.01.
RESNET = Workload("resnet", "CIFAR ResNet (sri_resnet_a)", _loaded(RESNET_FILE), uniform(3, 32, 32), 0.01, (1,))


def available() -> tuple[Workload, ...]:
    """All workloads whose data is here: random weights need none, the others the folder that CERTIFY_DATA names."""
    trained = TRAINED if (DATA / "mnist").is_dir() else ()
    return (*RANDOM, *trained, *((RESNET,) if RESNET_FILE.is_file() else ()))
