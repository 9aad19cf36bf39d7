"""Attacks on networks that are flat almost everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from certify.graph import GraphBuilder
from certify.model import Model
from certify.search.descent import Effort, descend
from certify.search.surrogate import leaking
from certify.sets import Box


def needle(inputs: int = 40) -> Model:
    """y = relu(sum x - inputs + 1): zero but for a corner of the cube [0, 1]^n that random points miss."""
    builder = GraphBuilder()
    x = builder.input("x", (1, inputs))
    weight = builder.constant("w", np.ones((1, inputs), dtype=np.float32))
    bias = builder.constant("b", np.array([1.0 - inputs], dtype=np.float32))
    return Model(builder.build(builder.add("relu", [builder.add("linear", [x], {"weight": weight, "bias": bias})])))


def test_the_surrogate_has_the_networks_values_and_gradients_where_it_is_flat() -> None:
    model, x = needle(), torch.rand(5, 1, 40, requires_grad=True)
    y = leaking(model, 0.02)(x)
    assert torch.equal(y, model(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(gradient, torch.full_like(gradient, 0.02))


@pytest.mark.parametrize(("leak", "found"), [(0.0, False), (0.02, True)])
def test_only_leaking_gradients_find_the_corner(leak: float, found: bool) -> None:
    model = needle()
    region = Box(torch.zeros(1, 1, 40), torch.ones(1, 1, 40))

    def loss(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return -y[..., 0], 0.5 - y[..., 0]

    _, value = descend(model, region, loss, Effort(steps=30, restarts=2, leak=leak), seed=0)
    assert bool(value < 0) == found
