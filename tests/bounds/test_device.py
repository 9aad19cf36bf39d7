"""The same bounds on a GPU; runs only where there is one."""

from __future__ import annotations

import pytest
import torch

from certify.bounds.compute import METHODS, compute_bounds
from certify.bounds.rounding import OUTWARD
from certify.operators.program import bind
from certify.sets import Box, LpBall
from tests.networks import random_graph

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(12))
def test_bounds_on_the_gpu_are_those_of_the_cpu(method: str, seed: int) -> None:
    graph = random_graph(seed)
    x = torch.rand(3, *graph.input_shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    region: Box | LpBall = LpBall(x, 0.1, 2) if seed % 3 == 0 else Box(x - 0.1, x + 0.1)
    here = compute_bounds(bind(graph, torch.float64), region, method, rounding=OUTWARD)
    there = compute_bounds(bind(graph, torch.float64, "cuda"), region.map(lambda t: t.cuda()), method, rounding=OUTWARD)
    tolerance = 1e-3 if method == "alpha-crown" else 1e-9  # where a parameter ends up depends on rounding
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=tolerance, atol=tolerance)
