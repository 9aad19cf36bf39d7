"""No attack succeeds inside a certified radius: gradient search against the smoothed classifier of trained networks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import certify
from certify.smoothing import ABSTAIN, Gaussian, Sampler, Smoothed, checkerboard, dual_smoothed
from certify.smoothing.sampling import Classify

MODELS = Path(__file__).resolve().parents[2] / "models" / "smoothing"
ALPHA = Fraction(1, 1000)
pytest.importorskip("sklearn")


def digits(count: int) -> Tensor:
    from certify.io.datasets import load_data

    return torch.as_tensor(load_data("digits").x[:count])


def search(parts: list[Classify], sigma: float, x: Tensor, label: Tensor, radius: Tensor) -> Tensor:
    """Points at distance 0.999 radius at which the parts' mean probability of the label is small: ascent over 16 noisy copies."""
    torch.manual_seed(0)
    step = torch.randn_like(x)
    noise = sigma * torch.randn(16, *x.shape)
    for _ in range(15):
        step = on_sphere(step, 0.999 * radius).requires_grad_()
        loss = sum(cross_entropy(part((x + step + noise).flatten(0, 1)), label.repeat(16)) for part in parts)
        (gradient,) = torch.autograd.grad(loss, step)  # type: ignore[arg-type]
        step = (step + on_sphere(gradient, 0.3 * radius)).detach()
    return x + on_sphere(step, 0.999 * radius)


def on_sphere(step: Tensor, radius: Tensor) -> Tensor:
    return step / step.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-12) * radius[:, None, None, None]


def assert_no_attack_succeeds(smoothed: Smoothed, sigma: float, x: Tensor) -> None:
    """Every attacked point is classified by 4,000 fresh samples; the answer is that of the certificate, or too close to call."""
    certificates = list(smoothed.certify(x, 50, 1000, ALPHA, range(len(x))))
    kept = [i for i, c in enumerate(certificates) if c.label != ABSTAIN]
    assert len(kept) > 0.6 * len(x)
    label = torch.tensor([certificates[i].label for i in kept])
    radius = torch.tensor([certificates[i].radius for i in kept])
    attacked = search([part.classify for part in smoothed.parts], sigma, x[kept], label, radius)
    assert torch.allclose((attacked - x[kept]).flatten(1).norm(dim=1), 0.999 * radius, rtol=1e-4)
    moved = smoothed.certify(attacked, 50, 4000, ALPHA, range(1000, 1000 + len(kept)))
    labels = [c.label for c in moved]
    assert all(found in (ABSTAIN, int(expected)) for found, expected in zip(labels, label, strict=True))


def test_nothing_is_found_inside_the_radii_of_randomized_smoothing() -> None:
    network = certify.load(str(MODELS / "digits_gaussian.onnx"))
    assert_no_attack_succeeds(Smoothed((Sampler(network, 10, Gaussian(0.25)),)), 0.25, digits(24))


def test_nothing_is_found_inside_the_radii_of_dual_smoothing() -> None:
    left, right = (certify.load(str(MODELS / f"digits_{side}.onnx")) for side in ("left", "right"))
    noises = [Gaussian(0.18)] * 2
    assert_no_attack_succeeds(dual_smoothed(left, right, 10, noises, checkerboard(8, 8)), 0.18, digits(24))
