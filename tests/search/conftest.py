"""Small networks for the tests of attack and verification."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from certify.graph import GraphBuilder
from certify.model import Model


@pytest.fixture(scope="session")
def network() -> Callable[..., Model]:
    """`network(seed, sizes)`: a random ReLU network, input (1, sizes[0])."""
    return _network


def _network(seed: int = 0, sizes: tuple[int, ...] = (3, 16, 16, 3)) -> Model:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    node = builder.input("x", (1, sizes[0]))
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight = builder.constant("w", (rng.normal(size=(fan_out, fan_in)) * (2 / fan_in) ** 0.5).astype(np.float32))
        bias = builder.constant("b", (0.1 * rng.normal(size=fan_out)).astype(np.float32))
        node = builder.add("linear", [node], {"weight": weight, "bias": bias})
        node = builder.add("relu", [node]) if i < len(sizes) - 2 else node
    return Model(builder.build(node))
