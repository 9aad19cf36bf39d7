"""Dual smoothing: halves see their own pixels only, radii are tight and sound where the published combination is not."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import binom
from torch import nn

from certify.smoothing import Gaussian, checkerboard, dual_smoothed
from certify.smoothing.dual import HalfImage, Masked
from certify.smoothing.plan import largest_radius

MASK = torch.tensor([[True, False], [False, True]])
EVERYTHING = torch.ones(2, 2, dtype=torch.bool)
ALPHA = Fraction(1, 20)


class HalfSpaceOf:
    """A half-space of the pixels kept: class 0 where their mean times the root of their number exceeds `offset`."""

    def __init__(self, keep: torch.Tensor, offset: float) -> None:
        self.keep, self.offset = keep, offset

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        score = x[:, self.keep].sum(dim=1) * float(self.keep.sum()) ** -0.5 - self.offset
        return torch.stack((score, -score), dim=1)


@pytest.mark.parametrize("shape", [(8, 8), (5, 7)])
def test_a_checkerboard_splits_the_pixels_evenly(shape: tuple[int, int]) -> None:
    mask = checkerboard(*shape)
    assert abs(int(mask.sum()) - int((~mask).sum())) <= 1
    assert bool((mask[:, 1:] != mask[:, :-1]).all())


def test_a_masked_network_cannot_see_the_other_half() -> None:
    seen = Masked(HalfSpaceOf(EVERYTHING, 0.0), MASK)
    x, other = torch.rand(3, 2, 2), torch.rand(3, 2, 2)
    assert torch.equal(seen(x), seen(torch.where(MASK, x, other)))


def test_a_half_image_network_depends_on_its_half_only() -> None:
    keep = checkerboard(6, 6)
    network = HalfImage(nn.Flatten(), keep)
    x = torch.rand(2, 3, 6, 6)
    assert torch.equal(network(x), network(torch.where(keep, x, torch.rand(2, 3, 6, 6))))
    filled = network(torch.full((1, 1, 6, 6), 0.4))
    assert torch.allclose(filled, torch.full((1, 36), 0.4))


def certificates(distances: tuple[float, float], sigmas: tuple[float, float], n: int, runs: int, variant: str = "dual") -> list:
    """Dual certificates of half-spaces at these distances, one for each half."""
    x = torch.zeros(1, 2, 2)
    left, right = (HalfSpaceOf(keep, -distance) for keep, distance in zip((MASK, ~MASK), distances, strict=True))
    smoothed = dual_smoothed(left, right, 2, [Gaussian(s) for s in sigmas], MASK, variant=variant, batch=2000)
    return list(smoothed.certify(x.expand(runs, 2, 2), 20, n, ALPHA, range(runs)))


def true_radius(distances: tuple[float, float], sigmas: tuple[float, float]) -> float:
    """Where two half-spaces stop to lead: the halves' norms u, v with u/s_l + v/s_r = d_l/s_l + d_r/s_r, nearest to 0."""
    scaled = sum(d / s for d, s in zip(distances, sigmas, strict=True))
    return scaled / math.sqrt(sum(s**-2 for s in sigmas))


CASES = [((0.2, 0.3), (0.25, 0.25)), ((0.4, -0.1), (0.25, 0.25)), ((0.15, 0.3), (0.2, 0.4))]


@pytest.mark.parametrize(("distances", "sigmas"), CASES)
@pytest.mark.parametrize("variant", ["dual", "probit", "probit-pa-pb"])
def test_dual_radii_exceed_the_true_one_no_oftener_than_alpha(distances: tuple, sigmas: tuple, variant: str) -> None:
    runs = 400
    found = certificates(distances, sigmas, 60, runs, variant)
    failures = sum(c.radius > true_radius(distances, sigmas) for c in found)
    assert failures <= binom.isf(0.001, runs, float(ALPHA))


def test_four_bounds_at_a_quarter_of_alpha_keep_alpha() -> None:
    runs = 60
    found = certificates((0.2, 0.1), (0.25, 0.25), 40, runs, "dual-pa-pb")
    failures = sum(c.radius > true_radius((0.2, 0.1), (0.25, 0.25)) for c in found)
    assert failures <= binom.isf(0.001, runs, float(ALPHA))


@pytest.mark.parametrize(("distances", "sigmas"), CASES)
def test_the_dual_radius_approaches_the_true_one(distances: tuple, sigmas: tuple) -> None:
    (certificate,) = certificates(distances, sigmas, 100_000, 1)
    true = true_radius(distances, sigmas)
    assert 0.95 * true < certificate.radius < true


def test_at_the_published_radius_an_attack_succeeds_and_within_ours_none_does() -> None:
    """Half-spaces at distances 1.29 sigma and -1.64 sigma / 2; the perturbation is moved around the whole circle."""
    p = (0.99, 0.3)
    a = ndtri(p)
    published = math.hypot(max(0.0, a[0]), max(0.0, a[1]))
    ours = (a[0] + a[1]) / math.sqrt(2)

    def attacked(radius: float) -> bool:
        angles = [math.pi / 2 * i / 1000 for i in range(1001)]
        return any(ndtr(a[0] - radius * math.cos(t)) + ndtr(a[1] - radius * math.sin(t)) < 1 for t in angles)

    assert attacked(0.999 * published)
    assert not attacked(0.999 * ours)


def test_dual_smoothing_at_matched_radius_needs_less_noise() -> None:
    """Halves of equal difficulty: the cap of RS at sigma is that of DRS at sigma / sqrt(2), up to the split of alpha."""
    single = largest_radius(100_000, Fraction(1, 1000), 0.25)
    dual = largest_radius(100_000, Fraction(1, 1000), 0.25 / math.sqrt(2), "dual")
    assert dual == pytest.approx(single, rel=0.01)


def test_one_network_may_serve_both_halves() -> None:
    network = HalfSpaceOf(EVERYTHING, 0.0)
    smoothed = dual_smoothed(network, network, 2, [Gaussian(0.2)] * 2, MASK)
    certificate = next(smoothed.certify(torch.full((1, 2, 2), 0.3), 20, 500, ALPHA))
    assert certificate.label == 0
    assert certificate.counts[0] != certificate.counts[1] or sum(certificate.counts[0]) == 500
    with pytest.raises(ValueError, match="certify answers the same"):
        smoothed.predict(torch.zeros(1, 2, 2), 10, ALPHA)
