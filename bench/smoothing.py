"""Randomized smoothing of an MNIST network: what noise and counting cost, and what sequential tests save.

The peer is Cohen's procedure written plainly: one input at a time, torch.randn, labels counted in a Python loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from certify.smoothing import Gaussian, GridGaussian, Sampler, Smoothed
from certify.smoothing.classifiers import Classify, load_classifier
from certify.smoothing.sampling import Stage, tally

MODEL = Path(__file__).resolve().parents[1] / "models" / "smoothing" / "mnist_gaussian.onnx"
SIGMA, BATCH = 0.5, 256
ALPHA = Fraction(1, 1000)


@dataclass(frozen=True)
class Case:
    """A network, the shape of its inputs, and how many noisy copies to time."""

    network: Classify
    shape: tuple[int, ...]
    n: int

    @property
    def image(self) -> Tensor:
        """Pixels in 8 bits; what they show does not matter for the time."""
        return torch.randint(0, 256, (1, *self.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def small() -> Case:
    """The shipped MNIST network: 0.6 million multiplications per image, where noise weighs most."""
    return Case(load_classifier(MODEL), (1, 28, 28), 25_600)


def medium() -> Case:
    """Three convolutions on CIFAR-sized images: 15 million multiplications, still a fiftieth of a ResNet-18."""
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(64 * 256, 10)).eval()
    return Case(torch.no_grad()(network.forward), (3, 32, 32), 2_560)


CASES = {"small": small, "medium": medium}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each network in turn."""
    return CASES[request.param]()


def plainly(case: Case) -> list[int]:
    """Cohen's counting loop."""
    x, counts = case.image.float() / 255, [0] * 10
    for _ in range(case.n // BATCH):
        batch = x.repeat(BATCH, 1, 1, 1)
        for label in case.network(batch + torch.randn_like(batch) * SIGMA).argmax(1).cpu().numpy():
            counts[label] += 1
    return counts


def test_bare_forward_passes(benchmark, case: Case) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(BATCH, *case.shape)
    benchmark.pedantic(lambda: [case.network(x) for _ in range(case.n // BATCH)], rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("noise", [GridGaussian(SIGMA), Gaussian(SIGMA)], ids=["integer", "real"])
def test_counts_of_noisy_copies(benchmark, case: Case, noise: GridGaussian | Gaussian) -> None:  # type: ignore[no-untyped-def]
    sampler = Sampler(case.network, 10, noise, batch=BATCH)
    encoded, index = noise.encode(case.image), torch.zeros(1, dtype=torch.int64)
    benchmark.pedantic(lambda: tally(sampler, encoded, index, Stage.ESTIMATE, case.n), rounds=3, warmup_rounds=1)


def test_peer_counting_plainly(benchmark, case: Case) -> None:  # type: ignore[no-untyped-def]
    benchmark.pedantic(lambda: plainly(case), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_sequential_decisions_of_500_images(benchmark, data_dir: Path, radius: float) -> None:  # type: ignore[no-untyped-def]
    """Forward passes per image stand in `extra_info`; the fixed test takes 100,100."""
    from certify.io.datasets import load_data

    x = torch.as_tensor(load_data(f"mnist:{data_dir / 'mnist'}").x[::20])
    smoothed = Smoothed((Sampler(small().network, 10, GridGaussian(SIGMA), batch=BATCH),))
    found = benchmark.pedantic(lambda: [d for _, d in smoothed.certify_at(x, radius, ALPHA, index=range(0, 10_000, 20))], rounds=1)
    verdicts = [d.verdict for d in found]
    benchmark.extra_info |= {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    benchmark.extra_info["forward_passes_per_image"] = sum(d.drawn for d in found) / len(found)
    assert benchmark.extra_info["forward_passes_per_image"] <= 100_000 / 20
