"""Lower bounds alone: the first half of `bounds`, without the work for the second."""

import pytest
import torch

import certify
from certify.bounds.compute import METHODS, relax
from certify.sets import Box
from tests.networks import mlp, program


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [2.0, float("inf")])
def test_they_are_the_lower_half_of_the_bounds_of_an_objective(method, p):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3))
    ball = certify.LpBall(torch.rand(5, 4), 0.1, p, domain=(0, 1))
    rows = torch.randn(5, 2, 3)
    model = certify.compile(module, ball.center)
    lower = certify.lower_bounds(model, ball, method, rows)
    torch.testing.assert_close(lower, certify.bounds(model, ball, method, rows)[0])


def test_arrays_give_arrays():
    module = torch.nn.Linear(4, 3)
    x = torch.rand(2, 4).numpy()
    lower = certify.lower_bounds(module, certify.Box(x, x), "ibp", torch.eye(3).numpy())
    assert type(lower) is type(x)


def test_interval_bounds_draw_no_lines():
    net = program(mlp(0, [3, 8, 2]))
    x = torch.zeros(1, 1, 3, dtype=torch.float64)
    relaxed = relax(net, Box(x - 0.3, x + 0.3), "ibp")
    nonlinear = [node.name for node in net.graph.nodes if node.op == "relu"]
    assert all(name in relaxed.steps for name in nonlinear)
    assert not relaxed.steps._made
