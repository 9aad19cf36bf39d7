"""Criteria of certified training through the public bounds: values, gradients, and a run that ends with a certified network."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import certify
from certify.sets import LpBall
from certify.training import (
    GrowingBall,
    Linear,
    Plan,
    certified,
    certified_cross_entropy,
    clean,
    crown_ibp,
    fit,
    fused,
    ibp_initialise,
    margin_rows,
)

NEVER = Linear(0.0, 0.0, 0, 0)
HALF = Linear(0.5, 0.5, 0, 0)
CRITERIA = {
    "certified, ibp": lambda module, x, ball: certified(module, x, ball, NEVER),
    "certified, crown-ibp": lambda module, x, ball: certified(module, x, ball, NEVER, "crown-ibp"),
    "crown_ibp": lambda module, x, ball: crown_ibp(module, x, ball, NEVER, HALF),
    "fused": lambda module, x, ball: fused(module, x, ball, NEVER),
}
every_criterion = pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA.keys())


def constant(value):
    return Linear(value, value, 0, 0)


@pytest.fixture
def problem():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 4)).double()
    return module, torch.rand(6, 1, 3, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])


@every_criterion
def test_at_radius_zero_every_criterion_is_the_clean_loss(problem, criterion):
    module, x, y = problem
    torch.testing.assert_close(criterion(module, x, GrowingBall(constant(0.0)))(x, y, 0.0), cross_entropy(module(x), y))


@every_criterion
@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_every_criterion_is_at_least_the_loss_at_any_point_of_the_ball(problem, criterion, p):
    module, x, y = problem
    bound = criterion(module, x, GrowingBall(constant(0.1), p))(x, y, 0.0)
    for seed in range(50):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        length = torch.linalg.vector_norm(noise.flatten(1), p, dim=1).reshape(-1, 1, 1, 1)
        assert bound >= cross_entropy(module((x + 0.1 * noise / length).clamp(0, 1)), y)


@every_criterion
def test_every_parameter_receives_a_gradient_that_a_small_step_confirms(problem, criterion):
    module, x, y = problem
    loss = criterion(module, x, GrowingBall(constant(0.05)))
    loss(x, y, 0.0).backward()
    for parameter in module.parameters():
        direction, h = torch.randn_like(parameter), 1e-6
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            parameter += h * direction
            above = float(loss(x, y, 0.0))
            parameter -= 2 * h * direction
            below = float(loss(x, y, 0.0))
            parameter += h * direction
        assert (above - below) / (2 * h) == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_the_ibp_criterion_is_the_interval_arithmetic_written_out(problem):
    module, x, y = problem
    low, high = (x - 0.1).clamp(0, 1).flatten(1), (x + 0.1).clamp(0, 1).flatten(1)
    for layer in (module[1], module[3]):
        positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        below, above = low @ positive.T + high @ negative.T, high @ positive.T + low @ negative.T
        low, high = ((side + layer.bias).relu() for side in (below, above))
    rows = margin_rows(y, 4, x.dtype) @ module[5].weight
    offset = margin_rows(y, 4, x.dtype) @ module[5].bias
    margins = (rows.clamp(min=0) @ low[:, :, None] + rows.clamp(max=0) @ high[:, :, None]).squeeze(2) + offset
    ours = certified(module, x, GrowingBall(constant(0.1)), NEVER)(x, y, 0.0)
    torch.testing.assert_close(ours, certified_cross_entropy(margins), rtol=1e-9, atol=0.0)


def test_kappa_one_trains_on_the_clean_loss_alone(problem):
    module, x, y = problem
    both = certified(module, x, GrowingBall(constant(0.1)), constant(1.0))(x, y, 0.0)
    torch.testing.assert_close(both, clean(module)(x, y, 0.0))


def test_ibp_initialisation_keeps_widths_where_the_default_multiplies_them():
    def widening(initialise):
        torch.manual_seed(0)
        module = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(200, 200), nn.ReLU())))
        initialise(module)
        centre = torch.rand(4, 200)
        lower, upper = certify.bounds(module, certify.Box(centre - 0.01, centre + 0.01), method="ibp")
        return float((upper - lower).detach().mean()) / 0.02

    assert 0.3 < widening(ibp_initialise) < 3.0
    assert widening(lambda module: None) > 30.0


def blobs(count=200):
    """Four classes around the corners of a square: separable with a margin of 0.2 in each coordinate."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(4, (count,), generator=generator)
    corner = torch.stack([y % 2, y // 2], dim=1) * 0.5 + 0.25
    return corner + 0.3 * (torch.rand(count, 2, generator=generator) - 0.5), y


def certified_share(module, x, y, eps):
    lower, _ = certify.bounds(module, LpBall(x, eps, domain=(0, 1)), method="ibp", objective=margin_rows(y, 4))
    return float((lower > 0).all(1).float().mean())


def small_network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    ibp_initialise(module)
    return module


def test_certified_training_certifies_what_clean_training_leaves_open():
    x, y = blobs()
    plain, hardened = small_network(), small_network()
    plan = Plan(epochs=40, rate=constant(1e-2), batch=50)
    fit(plain, x, y, clean(plain), plan)
    fit(hardened, x, y, certified(hardened, x, GrowingBall(Linear(0.0, 0.09, 0, 20)), Linear(1.0, 0.2, 0, 20)), plan)
    assert certified_share(hardened, x, y, 0.08) > 0.9
    assert certified_share(hardened, x, y, 0.08) > certified_share(plain, x, y, 0.08) + 0.1


def test_training_twice_from_one_seed_gives_the_same_weights():
    x, y = blobs()
    first, second = small_network(), small_network()
    for module in (first, second):
        fit(module, x, y, clean(module), Plan(epochs=2, rate=constant(1e-2), batch=50), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
