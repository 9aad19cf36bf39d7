"""Models as torch's exporter writes them: the graphs that come of them are as small as the modules."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from certify.io.onnx import load_onnx

pytestmark = pytest.mark.filterwarnings("ignore")


class Residual(nn.Module):
    """Convolution and BatchNorm twice, beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.renorm = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.renorm(self.second(torch.relu(self.norm(self.first(x))))) + x)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def activated(activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5), activation, nn.Linear(5, 2))


MODULES: dict[str, tuple[nn.Module, list[str]]] = {
    "residual": (
        nn.Sequential(Residual(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)),
        ["conv", "relu", "conv", "add", "relu", "reduce_sum", "reshape", "linear"],
    ),
    "gelu": (activated(nn.GELU()), ["reshape", "linear", "gelu", "linear"]),
    "gelu tanh": (activated(nn.GELU(approximate="tanh")), ["reshape", "linear", "gelu_tanh", "linear"]),
    "silu": (activated(nn.SiLU()), ["reshape", "linear", "silu", "linear"]),
    "hard swish": (activated(nn.Hardswish()), ["reshape", "linear", "hard_swish", "linear"]),
    "mish": (activated(nn.Mish()), ["reshape", "linear", "mish", "linear"]),
    "pools": (nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)), ["take", "reduce_max", "conv"]),
    "upsampling": (nn.Upsample(scale_factor=2), ["take"]),
    "bilinear": (nn.Upsample(size=(5, 11), mode="bilinear"), ["transpose", "linear", "transpose", "linear"]),
    "padding": (nn.Sequential(nn.ReflectionPad2d(2), nn.ReplicationPad2d(1), nn.Conv2d(3, 2, 3)), ["take", "conv"]),
    "shuffle": (nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), ["reshape"]),
    "view": (Function(lambda x: x.view(x.size(0), -1)[:, ::3]), ["take"]),
    "variance": (
        Function(lambda x: (x - x.mean((2, 3), keepdim=True)).pow(2).sum((2, 3))),
        ["reduce_sum", "scale", "take", "sub", "square", "reduce_sum"],
    ),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(("opset", "symbolic"), [(11, False), (17, True)])
def test_an_exported_module_loads_as_a_small_graph(name: str, opset: int, symbolic: bool) -> None:
    module, expected = MODULES[name]
    file = io.BytesIO()
    axes = {"x": {0: "batch"}} if symbolic else None
    sample = (torch.rand(1, 3, 8, 8),)
    torch.onnx.export(module.eval(), sample, file, opset_version=opset, dynamo=False, input_names=["x"], dynamic_axes=axes)
    graph = load_onnx(file.getvalue()).graph
    assert [node.op for node in graph.nodes][1:] == expected
