"""Stopping rules: error probabilities, computed exactly by recursion over (time, hits), and agreement with fixed tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from certify.smoothing.confidence import clopper_pearson
from certify.smoothing.sequential import RULES, Rule, least_hits

P = 0.8413


def outcomes(rule: Rule, p: float) -> tuple[float, float, float]:
    """Probabilities of yes and of no, and the mean number of samples, when hits have probability p."""
    alive, yes, no, mean = np.array([1.0]), 0.0, 0.0, 0.0
    for n in range(1, rule.budget + 1):
        mean += float(alive.sum())
        alive = np.append(alive * (1 - p), 0.0) + np.append(0.0, alive * p)
        verdicts = rule.verdicts(np.arange(n + 1)[None], np.full(n + 1, n))
        yes, no = yes + float(alive[verdicts > 0].sum()), no + float(alive[verdicts < 0].sum())
        alive[verdicts != 0] = 0.0
    return yes, no, mean


@pytest.mark.parametrize(("name", "idle"), [("betting", 20), ("union", 100)])
def test_wrong_answers_stay_below_their_error_probabilities(name: str, idle: float) -> None:
    rule = RULES[name](P, P, 0.05, 0.02, 600)
    yes, no, _ = outcomes(rule, P)
    assert 0.05 / idle < yes <= 0.05
    assert 0.02 / idle < no <= 0.02
    assert outcomes(rule, P - 0.02)[0] < yes
    assert outcomes(rule, P + 0.02)[1] < no


def test_the_curtailed_test_keeps_alpha_and_is_not_idle() -> None:
    yes, no, _ = outcomes(RULES["curtailed"](P, P, 0.05, 0.05, 400), P)
    assert 0.04 < yes <= 0.05
    assert yes + no == pytest.approx(1)


@pytest.mark.parametrize("name", ["betting", "union"])
@pytest.mark.parametrize(("p", "answer", "most"), [(0.3, 1, 15), (0.7, 1, 220), (0.95, 0, 260), (0.995, 0, 110)])
def test_far_from_the_threshold_few_samples_decide(name: str, p: float, answer: int, most: int) -> None:
    """Mean numbers of samples at alpha = 0.001, against the published simulation."""
    found = outcomes(RULES[name](P, P, 0.001, 0.001, 800), p)
    assert found[answer] > 0.99
    assert found[2] < most


@given(st.integers(0, 2**32 - 1), st.floats(0.7, 1.0))
def test_the_curtailed_test_answers_as_the_fixed_one(seed: int, p: float) -> None:
    n, alpha = 300, 0.01
    rule = RULES["curtailed"](P, P, alpha, alpha, n)
    hits = np.cumsum(np.random.default_rng(seed).random(n) < p)
    verdicts = rule.verdicts(hits[None], np.arange(1, n + 1))
    assert verdicts[np.flatnonzero(verdicts)[0]] == (1 if clopper_pearson(int(hits[-1]), n, alpha) >= P else -1)


@pytest.mark.parametrize("name", RULES)
def test_more_hits_never_turn_a_yes_into_less(name: str) -> None:
    rule = RULES[name](P, P, 0.01, 0.01, 200)
    for n in (1, 10, 57, 200):
        assert (np.diff(rule.verdicts(np.arange(n + 1)[None], np.full(n + 1, n))) >= 0).all()


@given(st.integers(1, 400), st.floats(0.5, 0.99), st.floats(1e-5, 0.2))
def test_the_least_number_of_hits_is_the_least(n: int, p: float, level: float) -> None:
    k = least_hits(n, p, level)
    assert k == n + 1 or binom.sf(k - 1, n, p) <= level * (1 + 1e-9)
    assert k == 0 or binom.sf(k - 2, n, p) > level * (1 - 1e-9)


@pytest.mark.parametrize("low_high", [(0.0, 0.5), (0.9, 0.8), (0.5, 1.0)])
def test_thresholds_outside_the_open_interval_are_refused(low_high: tuple[float, float]) -> None:
    low, high = low_high
    for rule in RULES.values():
        with pytest.raises(ValueError, match="threshold"):
            rule(high, low, 0.01, 0.01, 100)
