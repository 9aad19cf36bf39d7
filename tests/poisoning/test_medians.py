"""Medians of regressors against the truth by trying every attack."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.kernels import votes_reference as reference
from certify.poisoning.medians import median, median_intervals, median_radii
from certify.poisoning.spread import Spread, disjoint
from tests.poisoning import strategies as elections

generated = settings(max_examples=80, deadline=None)


@st.composite
def answers(draw: st.DrawFn, most: int = 6, inputs: int = 1) -> tuple[np.ndarray, Spread]:
    """Values of some regressors on some inputs, with many ties."""
    spread = draw(elections.spreads(most))
    count = spread.classifiers * inputs
    values = draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
    return np.array(values, dtype=float).reshape(spread.classifiers, inputs), spread


def medians_after(values: np.ndarray, reached: np.ndarray) -> list[float]:
    """The median for all regressors reached moved to either end; any other answers give one in between."""
    return [float(median(changed[:, None])[0]) for changed in elections.revotes(values, reached, [-np.inf, np.inf])]


@generated
@given(st.data())
def test_an_interval_is_exact_for_disjoint_buckets_and_holds_for_others(data: st.DataObject) -> None:
    values, spread = data.draw(answers())
    radius = data.draw(st.integers(0, spread.units))
    (low,), (high,) = median_intervals(values, spread, radius)
    attacks = [reached for size, reached in elections.attacks(spread) if size <= radius]
    found = [m for reached in attacks for m in medians_after(values[:, 0], reached)]
    assert low <= min(found)
    assert max(found) <= high
    if spread.disjoint:
        assert (low, high) == (min(found), max(found))


@generated
@given(st.data())
def test_a_radius_is_exact_for_disjoint_buckets_and_never_too_large_for_others(data: st.DataObject) -> None:
    values, spread = data.draw(answers())
    low, high = sorted(data.draw(st.tuples(st.integers(-4, 4), st.integers(-4, 4))))

    def leaves(reached: np.ndarray) -> bool:
        return any(not low <= m <= high for m in medians_after(values[:, 0], reached))

    truth = elections.smallest(spread, leaves) - 1
    (radius,) = median_radii(values, spread, low, high)
    assert radius <= truth
    if spread.disjoint:
        assert radius == truth


@generated
@given(st.data())
def test_numba_twins_equal_the_definitions(data: st.DataObject) -> None:
    values, spread = data.draw(answers(most=30, inputs=3))
    radius, low, high = data.draw(st.integers(0, 6)), data.draw(st.integers(-3, 0)), data.draw(st.integers(0, 3))
    ends = zip(*median_intervals(values, spread, radius), strict=True)
    assert list(ends) == [reference.median_interval(v, spread.runs, spread.units, radius) for v in values.T]
    wanted = [reference.median_radius(v, spread.runs, spread.units, low, high) for v in values.T]
    assert median_radii(values, spread, low, high).tolist() == wanted


@generated
@given(st.data())
def test_within_the_radius_the_interval_stays_inside_the_limits(data: st.DataObject) -> None:
    values, spread = data.draw(answers(inputs=2))
    radii = median_radii(values, spread, -1, 2)
    for i, radius in enumerate(radii):
        if radius >= 0 and spread.disjoint:
            low, high = median_intervals(values, spread, int(radius))
            assert -1 <= low[i] <= high[i] <= 2


@pytest.mark.parametrize(
    ("values", "message"), [(np.zeros((3, 1)), "values must be \\(4, inputs\\)"), (np.full((4, 1), np.nan), "contain NaN")]
)
def test_values_that_are_none_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        median_intervals(values, disjoint(4), 1)
