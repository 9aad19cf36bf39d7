"""The sequential test of dual smoothing: its errors, computed exactly over (time, hits of both halves), and its bound of the wealth."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln, ndtr
from scipy.stats import binom
from torch import Tensor

from certify.smoothing import Gaussian, checkerboard, dual_smoothed
from certify.smoothing.sequential_dual import DualBetting, least_log_wealth

Z = 1.2


def outcomes(rule: DualBetting, probits: tuple[float, float]) -> tuple[float, float]:
    """Probabilities of yes and of no when the halves' hits have these probits."""
    p, q = map(float, ndtr(probits))
    alive, yes, no = np.ones((1, 1)), 0.0, 0.0
    for n in range(1, rule.budget + 1):
        alive = np.pad(alive * (1 - p), ((0, 1), (0, 0))) + np.pad(alive * p, ((1, 0), (0, 0)))
        alive = np.pad(alive * (1 - q), ((0, 0), (0, 1))) + np.pad(alive * q, ((0, 0), (1, 0)))
        hits = np.nonzero(alive)
        verdicts = rule.verdicts(np.stack(hits), np.full(len(hits[0]), n))
        yes, no = yes + float(alive[hits][verdicts > 0].sum()), no + float(alive[hits][verdicts < 0].sum())
        alive[hits] *= verdicts == 0
    return yes, no


@pytest.mark.parametrize("left", [Z / 2, 1.6, -0.3])
def test_on_the_boundary_both_errors_stay_below_their_probabilities(left: float) -> None:
    yes, no = outcomes(DualBetting(Z, Z, (0.0, 0.0), 0.4, 0.2, 16), (left, Z - left))
    assert 0.4 / 1000 < yes <= 0.4
    assert 0.2 / 1000 < no <= 0.2


def test_inside_the_hypothesis_errors_are_rarer_and_far_from_it_the_answer_comes() -> None:
    rule = DualBetting(Z, Z, (0.0, 0.0), 0.2, 0.2, 20)
    at_boundary, inside = outcomes(rule, (Z / 2, Z / 2)), outcomes(rule, (Z / 2 - 0.2, Z / 2))
    assert inside[0] < at_boundary[0]
    assert inside[1] > at_boundary[1]
    assert outcomes(rule, (2.4, 2.4))[0] > 0.9
    assert outcomes(rule, (-0.9, -0.9))[1] > 0.9


@given(st.integers(1, 3000), st.data(), st.floats(-1.0, 4.0), st.floats(-7, 7), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_wealth_is_at_least_the_bound_against_every_pair_of_the_hypothesis(
    n: int, data: st.DataObject, z: float, left: float, deeper: float
) -> None:
    hits = np.array([[data.draw(st.integers(0, n))], [data.draw(st.integers(0, n))]])
    bound = least_log_wealth(hits, np.array([n]), z, (0.0, 0.0))[0]
    probits = np.array([left, z - left - deeper])
    with np.errstate(divide="ignore"):
        logs = hits[:, 0] * np.log(np.maximum(ndtr(probits), 1e-300)) + (n - hits[:, 0]) * np.log(
            np.maximum(ndtr(-probits), 1e-300)
        )
    wealth = float((betaln(hits[:, 0] + 0.5, n - hits[:, 0] + 0.5) - np.log(np.pi) - logs).sum())
    assert bound <= wealth + 1e-6


def test_what_the_noise_may_be_off_makes_the_bound_smaller() -> None:
    hits, n = np.array([[90], [95]]), np.array([100])
    exact, off = (least_log_wealth(hits, n, Z, (slack, slack))[0] for slack in (0.0, 1e-3))
    assert off < exact
    assert exact == pytest.approx(off, abs=2.0)


def test_looks_are_every_sample_at_first_and_the_last_one() -> None:
    rule = DualBetting(Z, Z, (0.0, 0.0), 0.1, 0.1, 10_001)
    n = np.arange(1, 10_002)
    looked = np.flatnonzero(rule.verdicts(np.stack((n, n)), n))
    assert {30, 31, 32, 10_001} <= {int(i) + 1 for i in looked}
    assert len(looked) < 500


MASK = checkerboard(2, 2)


class HalfSpace:
    """Class 0 where the sum of the kept pixels, over the root of their number, exceeds -distance."""

    def __init__(self, distance: float) -> None:
        self.distance = distance

    def __call__(self, x: Tensor) -> Tensor:
        score = x.flatten(1).sum(dim=1) * 2**-0.5 + self.distance
        return torch.stack((score, -score), dim=1)


def verdicts(distances: tuple[float, float], radius: float, runs: int, max_n: int, alpha: Fraction = Fraction(1, 20)) -> list[str]:
    left, right = map(HalfSpace, distances)
    smoothed = dual_smoothed(left, right, 2, [Gaussian(0.2), Gaussian(0.3)], MASK, batch=512)
    answers = smoothed.certify_at(torch.zeros(runs, 2, 2), radius, alpha, n0=20, max_n=max_n, index=range(runs))
    return [decision.verdict for _, decision in answers]


def true_radius(distances: tuple[float, float]) -> float:
    return float((distances[0] / 0.2 + distances[1] / 0.3) / np.hypot(1 / 0.2, 1 / 0.3))


def test_dual_decisions_at_the_true_radius_are_wrong_no_oftener_than_alpha() -> None:
    distances, runs = (0.25, 0.1), 200
    found = verdicts(distances, true_radius(distances), runs, 150)
    assert found.count("yes") <= binom.isf(0.001, runs, 0.05)
    assert found.count("no") <= binom.isf(0.001, runs, 0.05)


def test_dual_decisions_away_from_the_true_radius_are_right_and_quick() -> None:
    distances = (0.25, 0.1)
    true = true_radius(distances)
    assert set(verdicts(distances, 0.6 * true, 20, 2000, Fraction(1, 1000))) == {"yes"}
    assert set(verdicts(distances, 1.5 * true, 20, 2000, Fraction(1, 1000))) == {"no"}


def test_rules_of_one_part_are_refused() -> None:
    smoothed = dual_smoothed(HalfSpace(0.1), HalfSpace(0.1), 2, [Gaussian(0.2)] * 2, MASK)
    with pytest.raises(ValueError, match="by the rule 'betting'"):
        next(smoothed.certify_at(torch.zeros(1, 2, 2), 0.1, Fraction(1, 20), rule="union"))
    probit = dual_smoothed(HalfSpace(0.1), HalfSpace(0.1), 2, [Gaussian(0.2)] * 2, MASK, variant="probit")
    with pytest.raises(ValueError, match="has 'probit'"):
        next(probit.certify_at(torch.zeros(1, 2, 2), 0.1, Fraction(1, 20)))
