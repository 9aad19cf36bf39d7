"""Claim: a certified training step costs a few plain ones, and a fraction of the peer's.

The conv net at batch 128: gradients of the loss and an SGD step. Certified losses are the cross entropy of lower bounds of the nine
margins; no clean loss beside them, in either engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import certify
from bench.measure import Call, Prepare
from bench.peers.auto_lirpa import Peer
from certify.training import certified_cross_entropy, ibp_initialise, margin_rows
from models.architectures import mnist_conv

BATCH, CLASSES, EPS = 128, 10, 0.1
THEIR_NAMES = {"ibp": "IBP", "crown-ibp": "IBP+backward"}


class Task(NamedTuple):
    """A network to train, one batch, and the margins that the certified losses bound."""

    module: nn.Module
    x: Tensor
    labels: Tensor

    @property
    def rows(self) -> Tensor:
        """(batch, classes - 1, classes)"""
        return margin_rows(self.labels, CLASSES)


def task() -> Task:
    """The same task for every contender."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = mnist_conv()
        ibp_initialise(module)
        return Task(module, torch.rand(BATCH, 1, 28, 28), torch.randint(CLASSES, (BATCH,)))


Loss = Callable[[], Tensor]


def plain(found: Task, method: str) -> Loss:
    """Cross entropy of the images themselves."""
    return lambda: cross_entropy(found.module(found.x), found.labels)


def ours(found: Task, method: str) -> Loss:
    """The certified loss by `certify.lower_bounds`."""
    model = certify.compile(found.module, found.x)

    def loss() -> Tensor:
        region = certify.LpBall(found.x, EPS, domain=(0.0, 1.0))
        return certified_cross_entropy(certify.lower_bounds(model, region, method, found.rows))

    return loss


def theirs(found: Task, method: str) -> Loss:
    """The same by auto_LiRPA 0.3; its bounded module shares the parameters."""
    peer = Peer(found.module, found.x)

    def loss() -> Tensor:
        lower, upper = (found.x - EPS).clamp(0.0, 1.0), (found.x + EPS).clamp(0.0, 1.0)
        return certified_cross_entropy(peer.bounds(lower, upper, THEIR_NAMES[method], found.rows, sides=(True, False))[0])

    return loss


ENGINES: Mapping[str, Callable[[Task, str], Loss]] = {"plain": plain, "certify": ours, "auto_LiRPA": theirs}
PEERS = {"plain", "certify"} if find_spec("auto_LiRPA") is None else set(ENGINES)


def step(engine: str, method: str) -> Prepare:
    """One training step, on a network of its own."""
    found = task()
    loss = ENGINES[engine](found, method)
    optimiser = torch.optim.SGD(found.module.parameters(), lr=1e-6)

    def call() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        optimiser.step()
        return value.detach()

    return lambda: call


CASES = (("plain", "none"), *((engine, method) for method in THEIR_NAMES for engine in ("certify", "auto_LiRPA")))


@pytest.mark.parametrize(("engine", "method"), CASES)
def test_training_step(benchmark: Any, engine: str, method: str) -> None:
    if engine not in PEERS:
        pytest.skip("auto_LiRPA is not installed: pip install --no-deps auto_LiRPA==0.3 appdirs")
    call: Call = step(engine, method)()
    benchmark.pedantic(call, rounds=20, warmup_rounds=2)


@pytest.mark.parametrize("method", THEIR_NAMES)
def test_certified_losses_agree(benchmark: Any, method: str) -> None:
    if "auto_LiRPA" not in PEERS:
        pytest.skip("auto_LiRPA is not installed: pip install --no-deps auto_LiRPA==0.3 appdirs")
    mine = benchmark.pedantic(ours(task(), method), rounds=1)
    assert float(mine.detach()) <= float(theirs(task(), method)().detach()) * 1.001
