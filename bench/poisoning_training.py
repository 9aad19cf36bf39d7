"""Training many small networks: stacked, against the plain loop that trains one after the other.

Both draw the same initial weights and minibatches, so that weights differ by rounding only. To reach: at least four times the
speed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from certify.io.datasets import load_data
from certify.poisoning.learner import Job
from certify.poisoning.torch_learner import TorchLearner, Weights, draws, seeded

COUNT, SAMPLES = 64, 40


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


LEARNERS = {name: TorchLearner(make, steps=50, batch=32, chunk=64) for name, make in (("mlp", network), ("conv", convolutional))}


def one_after_the_other(learner: TorchLearner, X: np.ndarray, y: np.ndarray, jobs: list[Job]) -> list[Weights]:
    """The ordinary loop of torch, without data loaders."""
    inputs, labels = torch.as_tensor(X), torch.as_tensor(y)
    trained = []
    for job in jobs:
        model = seeded(learner.factory, job.seed)
        optimizer = learner.optimizer(list(model.parameters()))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, learner.steps)
        for index in torch.as_tensor(draws(job, learner.steps, learner.batch)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[index]), labels[index]).backward()
            optimizer.step()
            schedule.step()
        trained.append({name: weight.detach() for name, weight in model.state_dict().items()})
    return trained


@pytest.fixture(scope="module")
def task() -> tuple[np.ndarray, np.ndarray, list[Job]]:
    data, random = load_data("digits", split="train"), np.random.default_rng(0)
    return data.x, data.y, [Job(b, b, ((b, random.choice(len(data.y), SAMPLES, replace=False)),)) for b in range(COUNT)]


@pytest.mark.parametrize("name", LEARNERS)
def test_stacked(benchmark, name: str, task: tuple) -> None:  # type: ignore[no-untyped-def, type-arg]
    X, y, jobs = task
    learner = LEARNERS[name]
    stacked = benchmark.pedantic(learner.fit, (X, y, 10, jobs), rounds=3, warmup_rounds=1)
    alone = one_after_the_other(learner, X, y, jobs[:4])
    worst = max(float((a[n] - b[n]).abs().max()) for a, b in zip(stacked, alone, strict=False) for n in b)
    benchmark.extra_info["largest difference of a weight"] = worst
    assert worst < 1e-4


@pytest.mark.parametrize("name", LEARNERS)
def test_one_after_the_other(benchmark, name: str, task: tuple) -> None:  # type: ignore[no-untyped-def, type-arg]
    X, y, jobs = task
    benchmark.pedantic(one_after_the_other, (LEARNERS[name], X, y, jobs), rounds=1, warmup_rounds=0)
