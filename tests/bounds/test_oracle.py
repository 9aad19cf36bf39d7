"""auto_LiRPA 0.3 as an independent oracle: our bounds equal its bounds or are tighter."""

from __future__ import annotations

from importlib.util import find_spec
from math import inf

import pytest
import torch
from torch import Tensor, nn

import certify
from certify.bounds.compute import compute_bounds
from certify.sets import Box, LpBall

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        find_spec("auto_LiRPA") is None, reason="install the oracle with `pip install --no-deps auto_LiRPA==0.3 appdirs tqdm`"
    ),
]
METHODS = {"ibp": "IBP", "crown-ibp": "IBP+backward", "crown": "backward"}


class Residual(nn.Module):
    """Two convolutions around a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.skip, self.head = nn.Conv2d(2, 4, 1, stride=2), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))
        return self.head(y.flatten(1))


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Networks that both can read."""
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))
    return {
        "mlp": (nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 4)), (6,)),
        "tanh": (nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4)), (6,)),
        "sigmoid": (nn.Sequential(nn.Linear(6, 12), nn.Sigmoid(), nn.Linear(12, 12), nn.Sigmoid(), nn.Linear(12, 4)), (6,)),
        "conv": (conv, (1, 8, 8)),
        "residual": (Residual(), (2, 8, 8)),
    }


def both(name: str, method: str, eps: float, p: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Our bounds and the oracle's, over a box or a ball around three random inputs."""
    from bench.peers.auto_lirpa import Peer

    module, shape = networks()[name]
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    model = certify.compile(module, x)
    region = Box(x - eps, x + eps) if p == inf else LpBall(x, eps, p)
    with torch.no_grad():
        ours = compute_bounds(model.program(), region.map(model.to_input), method)
        peer = Peer(module, x)
        theirs = peer.bounds(x - eps, x + eps, METHODS[method]) if p == inf else peer.ball_bounds(x, eps, p, METHODS[method])
    return (model.from_output(ours[0]), model.from_output(ours[1])), theirs


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.3])
def test_bounds_over_boxes_are_the_oracles_or_tighter(name: str, method: str, eps: float) -> None:
    (lower, upper), (oracle_lower, oracle_upper) = both(name, method, eps, inf)
    slack = 1e-5 * (1 + oracle_upper.abs() + oracle_lower.abs())
    if method != "ibp":
        # Tighter intermediate bounds may turn a lower slope from 0 to 1, or the lines of a sigmoid: single outputs can lose a little.
        assert (upper - lower).mean() <= (oracle_upper - oracle_lower).mean() * 1.001 + 1e-5
        slack = slack + 0.05 * (oracle_upper - oracle_lower)
    assert (lower >= oracle_lower - slack).all()
    assert (upper <= oracle_upper + slack).all()


@pytest.mark.parametrize("name", ["mlp", "conv", "residual"])
@pytest.mark.parametrize("method", ["crown-ibp", "crown"])
@pytest.mark.parametrize("p", [1.0, 2.0])
def test_bounds_over_balls_are_the_oracles_or_tighter(name: str, method: str, p: float) -> None:
    (lower, upper), (oracle_lower, oracle_upper) = both(name, method, 0.2, p)
    slack = 1e-4 * (1 + oracle_upper.abs() + oracle_lower.abs())
    assert (lower >= oracle_lower - slack).all()
    assert (upper <= oracle_upper + slack).all()


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_alpha_crown_reaches_the_oracles_bound_after_as_many_iterations(name: str) -> None:
    from bench.peers.auto_lirpa import alpha_peer

    module, shape = networks()[name]
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    model = certify.compile(module, x)
    lower, _ = compute_bounds(model.program(), Box(x - 0.1, x + 0.1).map(model.to_input), "alpha-crown")
    oracle, _ = alpha_peer(module, x).bounds(x - 0.1, x + 0.1, "CROWN-Optimized", sides=(True, False))
    gap = model.from_output(lower) - oracle
    assert float(gap.mean()) >= -1e-3 * float(oracle.abs().mean())
    assert float(gap.min()) >= -0.02 * float(oracle.abs().mean())
