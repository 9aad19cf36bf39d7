"""Randomized smoothing of an MNIST network: what noise and counting cost, and what sequential tests save.

The peer is Cohen's procedure written plainly: one input at a time, torch.randn, labels fetched from the device and counted in a loop.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from certify.smoothing import Gaussian, GridGaussian, Sampler, Smoothed
from certify.smoothing.classifiers import Classify, load_classifier
from certify.smoothing.sampling import Stage, tally

MODEL = Path(__file__).resolve().parents[1] / "models" / "smoothing" / "mnist_gaussian.onnx"
SIGMA, BATCH, N = 0.5, 256, 25_600
ALPHA = Fraction(1, 1000)


@pytest.fixture(scope="module")
def network() -> Classify:
    """The network that all rows run."""
    return load_classifier(MODEL)


def image() -> Tensor:
    """Pixels in 8 bits; what they show does not matter for the time."""
    return torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plainly(network: Classify, x: Tensor, n: int) -> list[int]:
    """Cohen's counting loop."""
    counts = [0] * 10
    for _ in range(n // BATCH):
        batch = x.repeat(BATCH, 1, 1, 1)
        for label in network(batch + torch.randn_like(batch) * SIGMA).argmax(1).cpu().numpy():
            counts[label] += 1
    return counts


def test_bare_forward_passes(benchmark, network: Classify) -> None:  # type: ignore[no-untyped-def]
    x = torch.rand(BATCH, 1, 28, 28)
    benchmark.pedantic(lambda: [network(x) for _ in range(N // BATCH)], rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("noise", [GridGaussian(SIGMA), Gaussian(SIGMA)], ids=["integer", "real"])
def test_counts_of_noisy_copies(benchmark, network: Classify, noise: GridGaussian | Gaussian) -> None:  # type: ignore[no-untyped-def]
    sampler = Sampler(network, 10, noise, batch=BATCH)
    encoded, index = noise.encode(image()), torch.zeros(1, dtype=torch.int64)
    benchmark.pedantic(lambda: tally(sampler, encoded, index, Stage.ESTIMATE, N), rounds=3, warmup_rounds=1)


def test_peer_counting_plainly(benchmark, network: Classify) -> None:  # type: ignore[no-untyped-def]
    x = image().float() / 255
    benchmark.pedantic(lambda: plainly(network, x, N), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_sequential_decisions_of_500_images(benchmark, network: Classify, data_dir: Path, radius: float) -> None:  # type: ignore[no-untyped-def]
    """Forward passes per image stand in `extra_info`; the fixed test takes 100,100."""
    from certify.io.datasets import load_data

    x = torch.as_tensor(load_data(f"mnist:{data_dir / 'mnist'}").x[::20])
    smoothed = Smoothed((Sampler(network, 10, GridGaussian(SIGMA), batch=BATCH),))
    found = benchmark.pedantic(lambda: [d for _, d in smoothed.certify_at(x, radius, ALPHA, index=range(0, 10_000, 20))], rounds=1)
    verdicts = [d.verdict for d in found]
    benchmark.extra_info |= {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
    benchmark.extra_info["forward_passes_per_image"] = sum(d.drawn for d in found) / len(found)
    assert benchmark.extra_info["forward_passes_per_image"] <= 100_000 / 20
