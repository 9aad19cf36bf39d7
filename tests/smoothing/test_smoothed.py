"""Smoothed classifiers on functions whose smoothed probabilities are known: coverage, tightness, and the familiar interface."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import binom, ncx2
from torch import Tensor

from certify.smoothing import ABSTAIN, Certificate, Gaussian, GridGaussian, Sampler, Smooth, Smoothed, Uniform
from certify.smoothing.conclusion import conclude
from certify.smoothing.confidence import clopper_pearson, upper
from certify.smoothing.exact import float_down
from certify.smoothing.radius import gaussian


class HalfSpace:
    """Class 0 where the mean of the inputs times sqrt(d) lies above `offset`, else class 1: p_0 = Phi(distance / sigma)."""

    def __init__(self, dimension: int, offset: float) -> None:
        self.weight = torch.full((dimension,), dimension**-0.5)
        self.offset = offset

    def __call__(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight - self.offset
        return torch.stack((score, -score), dim=1)

    def distance(self, x: Tensor) -> float:
        """Signed l_2 distance of one input from the boundary."""
        return float(x.double().flatten() @ self.weight.double() - self.offset)


def ball(x: Tensor) -> Tensor:
    """Class 0 inside the ball of radius 1 around the origin, else class 1."""
    score = 1 - x.flatten(1).norm(dim=1)
    return torch.stack((score, -score), dim=1)


RUNS = 1500
ALPHA = Fraction(1, 20)


def many_runs(classify: object, x: torch.Tensor, noise: object, n: int, **settings: str) -> list[Certificate]:
    """Certificates of RUNS independent runs on one input: the streams of different indices are independent."""
    smoothed = Smoothed((Sampler(classify, 2, noise, batch=2000),), **settings)  # type: ignore[arg-type]
    return list(smoothed.certify(x.expand(RUNS, *x.shape), 20, n, ALPHA, range(RUNS)))


def most_failures() -> int:
    """What failures at probability alpha exceed once in a thousand tests."""
    return int(binom.isf(0.001, RUNS, float(ALPHA)))


@pytest.mark.parametrize("variant", ["pa", "pa-pb", "one-sample"])
@pytest.mark.parametrize("bound", ["cp", "betting"])
def test_radii_exceed_the_distance_to_a_half_space_no_oftener_than_alpha(variant: str, bound: str) -> None:
    half_space = HalfSpace(4, 0.0)
    x = torch.full((4,), 0.125)
    found = many_runs(half_space, x, Gaussian(0.25), 60, variant=variant, bound=bound)
    failures = sum(c.label == 1 or (c.label == 0 and c.radius > half_space.distance(x)) for c in found)
    assert failures <= most_failures()
    if (variant, bound) == ("pa", "cp"):
        assert failures > RUNS * float(ALPHA) / 5  # close enough to alpha that the bound is not idle


def test_radii_of_integer_noise_keep_alpha_too() -> None:
    half_space = HalfSpace(4, 0.5)
    x = torch.full((4,), 102, dtype=torch.uint8)
    distance = half_space.distance(x / 255)
    found = many_runs(half_space, x, GridGaussian(0.25), 60)
    assert sum(c.label != ABSTAIN and c.radius > distance for c in found) <= most_failures()
    assert all(c.arithmetic == "integer" and c.slacks[0] > 0 for c in found)


def test_radii_never_exceed_those_of_a_ball_whose_probability_is_known() -> None:
    x, sigma = torch.tensor([0.1, 0.0, 0.0]), 0.4
    p = float(ncx2.cdf(1 / sigma**2, 3, float((x / sigma).square().sum())))
    found = many_runs(ball, x, Gaussian(sigma), 80)
    assert sum(c.radius > gaussian(p, sigma) for c in found) <= most_failures()


@pytest.mark.parametrize("variant", ["uniform-l1", "uniform-l1-pa-pb"])
def test_uniform_noise_keeps_alpha_in_l1(variant: str) -> None:
    x, width = torch.tensor([0.2]), 0.5
    found = many_runs(HalfSpace(1, 0.0), x, Uniform(width), 60, variant=variant)
    assert sum(c.label != ABSTAIN and c.radius > float(x) for c in found) <= most_failures()
    assert all(c.norm == 1.0 for c in found)


@pytest.mark.parametrize("noise", [Gaussian(0.25), GridGaussian(0.25)])
def test_the_radius_approaches_the_true_one_as_n_grows(noise: object) -> None:
    half_space = HalfSpace(4, 0.25)
    x = torch.full((1, 4), 102 / 255)
    smoothed = Smoothed((Sampler(half_space, 2, noise, batch=5000),))  # type: ignore[arg-type]
    radii = [next(smoothed.certify(x, 20, n, Fraction(1, 1000), [0])).radius for n in (100, 2_000, 200_000)]
    true = half_space.distance(x)
    assert radii == sorted(radii)
    assert 0.97 * true < radii[-1] < true


def test_sequential_decisions_keep_their_error_probabilities() -> None:
    """Half-spaces a little on the wrong side of the radius: yes is wrong, and rare; on the right side no is."""
    x, radius = torch.full((4,), 0.125), 0.2
    for distance, wrong in ((radius, "yes"), (radius + 1e-6, "no")):
        half_space = HalfSpace(4, 0.25 - distance)
        smoothed = Smoothed((Sampler(half_space, 2, Gaussian(0.25), batch=512),))
        runs = 300
        answers = smoothed.certify_at(x.expand(runs, 4), radius, ALPHA, n0=10, max_n=200, index=range(runs))
        found = [decision.verdict for _, decision in answers]
        assert len(found) == runs
        assert found.count(wrong) <= binom.isf(0.001, runs, float(ALPHA))


@pytest.mark.parametrize("rule", ["betting", "union", "curtailed"])
def test_clear_cases_are_decided_alike_by_every_rule(rule: str) -> None:
    x = torch.stack((torch.full((4,), 0.45), torch.full((4,), 0.03)))
    smoothed = Smoothed((Sampler(HalfSpace(4, 0.0), 2, Gaussian(0.25), batch=64),))
    answers = dict(smoothed.certify_at(x, 0.25, Fraction(1, 1000), max_n=1000, rule=rule))
    assert [answers[i].verdict for i in (0, 1)] == ["yes", "no"]
    assert rule == "curtailed" or answers[0].drawn < 400


def test_the_familiar_interface_answers_and_abstains() -> None:
    smooth = Smooth(HalfSpace(4, 0.5), 2, 0.25)
    label, radius = smooth.certify(torch.full((4,), 0.5), 20, 2000, 0.001, 100)
    assert label == 0
    assert 0.4 < radius < 0.5
    assert smooth.predict(torch.full((4,), 0.5), 100, 0.001, 100) == 0
    assert smooth.certify(torch.full((4,), 0.25), 20, 200, 0.001, 100) == (Smooth.ABSTAIN, 0.0) == (-1, 0.0)
    assert smooth.predict(torch.full((4,), 0.25), 100, 0.001, 100) == ABSTAIN
    assert smooth.predict(torch.full((4,), 0.9), 10, 0.001, 100) == ABSTAIN  # ten samples can never be significant


def test_the_same_call_gives_the_same_answer_and_another_seed_another_one() -> None:
    x = torch.full((4,), 0.3)
    answers = [
        Smooth(HalfSpace(4, 0.5), 2, 0.25, seed=seed).certify(x, 20, 500, 0.001, batch)
        for seed, batch in ((0, 7), (0, 500), (1, 500))
    ]
    assert answers[0] == answers[1] != answers[2]


def test_a_module_is_put_into_evaluation_mode() -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 2))
    Smooth(module, 2, 0.25)
    assert not module.training


def test_a_certificate_can_be_recomputed_from_its_record() -> None:
    smoothed = Smoothed((Sampler(HalfSpace(4, 0.0), 2, Gaussian(0.25)),), variant="pa-pb")
    certificate = next(smoothed.certify(torch.full((1, 4), 0.2), 20, 500, Fraction(1, 100)))
    again = Certificate.from_dict(certificate.to_dict())
    assert again == certificate
    assert again.recomputed() == (certificate.label, certificate.radius)
    assert again.radius_in(float("inf")) == pytest.approx(certificate.radius / 2)
    assert again.radius_in(1) == certificate.radius
    with pytest.raises(ValueError, match="no l_3"):
        again.radius_in(3)


def test_more_confidence_means_a_smaller_radius() -> None:
    radii = [conclude([(900, 100)], 0, Fraction(1, a), [1.0], [0.0]).radius for a in (10, 100, 1000)]
    assert radii == sorted(radii, reverse=True)
    assert conclude([(900, 100)], 0, Fraction(1, 10), [1.0], [0.01]).radius < radii[0]


@pytest.mark.parametrize(
    ("variant", "parts", "bounds"),
    [
        ("pa", 1, 1),
        ("pa-pb", 1, 2),
        ("one-sample", 1, 2),
        ("dual", 2, 2),
        ("dual-pa-pb", 2, 4),
        ("probit", 3, 3),
        ("probit-pa-pb", 3, 6),
    ],
)
def test_alpha_is_divided_over_all_bounds_that_have_to_hold(variant: str, parts: int, bounds: int) -> None:
    """Simulations cannot show this: bounds seldom fail together in the worst way."""
    counts = [(900 - 10 * part, 60 + 10 * part, 40) for part in range(parts)]
    found = conclude(counts, 0, Fraction(1, 100), [1.0] * parts, [0.0] * parts, variant)
    level = float_down(Fraction(1, 100) / bounds)
    assert found.p_lower == tuple(clopper_pearson(row[0], 1000, level) for row in counts)
    if variant.endswith("pa-pb"):
        assert found.p_upper == tuple(upper(clopper_pearson, row[1], 1000, level) for row in counts)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"variant": "dual"}, "none for 1 parts"), ({"variant": "nonsense"}, "none for 1 parts")],
)
def test_a_variant_that_does_not_fit_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Smoothed((Sampler(ball, 2, Gaussian(0.1)),), **settings)


def test_a_formula_for_other_noise_is_refused() -> None:
    """The Gaussian radius of uniform noise would be no certificate."""
    with pytest.raises(ValueError, match="none for 1 parts with Uniform noise; there are uniform-l1"):
        Smoothed((Sampler(ball, 2, Uniform(0.1)),), "pa")
    with pytest.raises(ValueError, match="none for 1 parts with Gaussian noise"):
        Smoothed((Sampler(ball, 2, Gaussian(0.1)),), "uniform-l1")
    with pytest.raises(ValueError, match="Gaussian and Uniform noise"):
        Smoothed((Sampler(ball, 2, Gaussian(0.1)), Sampler(ball, 2, Uniform(0.1), part=1)), "dual")


def test_numbers_of_samples_and_indices_are_checked() -> None:
    smoothed = Smoothed((Sampler(ball, 2, Gaussian(0.1)),))
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="at least one sample"):
        next(smoothed.certify(x, 0, 10, ALPHA))
    with pytest.raises(ValueError, match="2 inputs and 1 indices"):
        next(smoothed.certify(x, 10, 10, ALPHA, [0]))
    assert np.isfinite(next(smoothed.certify(x, 10, 10, ALPHA)).radius)
