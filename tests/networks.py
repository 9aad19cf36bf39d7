"""Random networks for tests: graphs with branches, residuals and every family of operators, and small networks with known parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import numpy as np
import torch
from hypothesis import strategies as st

from certify.graph import Graph, GraphBuilder
from certify.operators.program import Program, bind

ACTIVATIONS = ("relu", "leaky_relu", "abs", "clip", "sigmoid", "tanh", "gelu", "silu", "square", "sin", "elu", "softplus")
_ATTRS = {"leaky_relu": {"slope": 0.1}, "clip": {"min": -0.5, "max": 0.75}, "elu": {"alpha": 1.0}}


class Grower:
    """Adds random operators to a network of modest size."""

    def __init__(self, seed: int, shape: Sequence[int], activations: Sequence[str] = ACTIVATIONS) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = GraphBuilder()
        self.activations = activations
        self.nodes = [self.builder.input("x", (1, *shape))]

    def constant(self, *shape: int, scale: float | None = None) -> str:
        scale = scale if scale is not None else 1 / np.sqrt(max(1, prod(shape[1:])))
        return self.builder.constant("c", self.random.normal(0, scale, shape))

    def add(
        self, op: str, inputs: Sequence[str], params: dict[str, str] | None = None, attrs: dict[str, object] | None = None
    ) -> str:
        self.nodes.append(self.builder.add(op, inputs, params, attrs))
        return self.nodes[-1]

    def activation(self, x: str) -> str:
        op = str(self.random.choice(self.activations))
        return self.add(op, [x], attrs=dict(_ATTRS.get(op, {})))

    def affine(self, x: str) -> str:
        shape = self.builder.shape(x)
        choices: list[Callable[[str], str]] = [self._scale, self._shift, self._take, self._reshape, self._linear]
        if len(shape) == 4:
            choices += [self._conv, self._conv, self._conv_transpose, self._pad, self._transpose, self._sum]
        return choices[self.random.integers(len(choices))](x)

    def residual(self, x: str) -> str:
        y = self.activation(x)
        shape = self.builder.shape(x)
        y = self.add("scale", [y], {"factor": self.constant(*shape, scale=1.0)})
        return self.add(str(self.random.choice(["add", "sub"])), [x, y])

    def concat(self, x: str) -> str:
        y = self.activation(x)
        return self.add("concat", [x, y], attrs={"axis": len(self.builder.shape(x)) - 1})

    def maximum(self, x: str) -> str:
        shape = self.builder.shape(x)
        index = self.random.integers(prod(shape), size=(*shape[:-1], min(3, shape[-1]), 3))
        y = self.add("take", [x], {"index": self.builder.constant("i", index)})
        return self.add("reduce_max", [y], attrs={"axes": (len(shape),), "keepdims": False})

    def head(self, x: str, outputs: int) -> str:
        count = prod(self.builder.shape(x))
        y = self.add("reshape", [x], attrs={"shape": (1, count)})
        return self.add("linear", [y], {"weight": self.constant(outputs, count), "bias": self.constant(outputs)})

    def _scale(self, x: str) -> str:
        return self.add("scale", [x], {"factor": self.constant(*self.builder.shape(x), scale=1.0)})

    def _shift(self, x: str) -> str:
        return self.add("shift", [x], {"offset": self.constant(*self.builder.shape(x), scale=0.5)})

    def _take(self, x: str) -> str:
        shape = self.builder.shape(x)
        return self.add("take", [x], {"index": self.builder.constant("i", self.random.integers(prod(shape), size=shape))})

    def _reshape(self, x: str) -> str:
        shape = self.builder.shape(x)
        return self.add("reshape", [x], attrs={"shape": (*shape[:-2], shape[-1], shape[-2])})

    def _linear(self, x: str) -> str:
        features = self.builder.shape(x)[-1]
        return self.add("linear", [x], {"weight": self.constant(features, features), "bias": self.constant(features)})

    def _conv(self, x: str) -> str:
        channels = self.builder.shape(x)[1]
        weight = self.constant(channels, channels, 3, 3)
        attrs = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
        return self.add("conv", [x], {"weight": weight, "bias": self.constant(channels)}, attrs)

    def _conv_transpose(self, x: str) -> str:
        channels = self.builder.shape(x)[1]
        attrs = {"stride": (1, 1), "padding": (1, 1), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1}
        return self.add("conv_transpose", [x], {"weight": self.constant(channels, 2, 3, 3)}, attrs)

    def _pad(self, x: str) -> str:
        amounts = {"before": (0, 0, 1, 0), "after": (0, 0, 0, 1), "value": 0.25}
        return self.add("pad", [x], attrs=amounts)

    def _transpose(self, x: str) -> str:
        return self.add("transpose", [x], attrs={"perm": (0, 1, 3, 2)})

    def _sum(self, x: str) -> str:
        return self.add("reduce_sum", [x], attrs={"axes": (3,), "keepdims": True})


def random_graph(seed: int, activations: Sequence[str] = ACTIVATIONS) -> Graph:
    """A network of 3 to 8 random layers with 3 outputs, over a vector or a small image."""
    grower = Grower(seed, (2, 4, 4) if seed % 2 else (2, 4), activations)
    x = grower.nodes[0]
    steps = [grower.affine, grower.activation, grower.residual, grower.concat, grower.maximum]
    weights = np.array([4, 4, 2, 1, 1]) / 12
    for _ in range(grower.random.integers(3, 9)):
        if prod(grower.builder.shape(x)) > 200:
            break
        x = steps[grower.random.choice(len(steps), p=weights)](x)
    return grower.builder.build(grower.head(x, 3))


def mlp(seed: int, sizes: Sequence[int], activation: str = "relu") -> Graph:
    """A fully connected network."""
    random, builder = np.random.default_rng(seed), GraphBuilder()
    x = builder.input("x", (1, sizes[0]))
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight = builder.constant("w", random.normal(0, 1.5 / np.sqrt(fan_in), (fan_out, fan_in)))
        x = builder.add("linear", [x], {"weight": weight, "bias": builder.constant("b", random.normal(0, 0.3, fan_out))})
        if layer < len(sizes) - 2:
            x = builder.add(activation, [x], attrs=dict(_ATTRS.get(activation, {})))
    return builder.build(x)


def program(graph: Graph, dtype: torch.dtype = torch.float64) -> Program:
    """The graph bound on the CPU."""
    return bind(graph, dtype)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random networks."""
    return st.integers(0, 10**6)
