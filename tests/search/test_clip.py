"""Clipping: no point that satisfies a clause is lost, whatever the rounding; and what can be cut off is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.search.clip import Forms, clip, hull

ordinary = st.floats(-4, 4)
any_size = st.one_of(ordinary, st.floats(-1e300, 1e300, allow_subnormal=True), st.sampled_from([0.0, 5e-324, -5e-324, 1e-308]))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Forms, np.ndarray, np.ndarray, list[np.ndarray]]:
    """One pair with one to three atoms over two coordinates, and points of its box."""
    numbers = draw(st.sampled_from([ordinary, any_size]))
    atoms = draw(st.integers(1, 3))
    slope = np.array(draw(st.lists(numbers, min_size=2 * atoms, max_size=2 * atoms))).reshape(atoms, 2)
    ends = np.sort(np.array(draw(st.lists(numbers, min_size=4, max_size=4))).reshape(2, 2), axis=0)
    share = np.array(draw(st.lists(st.floats(0, 1), min_size=8, max_size=8))).reshape(4, 2)
    points = [*np.clip(ends[0] * (1 - share) + ends[1] * share, *ends), *ends]
    # Offsets that put the edge of what satisfies an atom through one of the points, or close to it.
    through = points[draw(st.integers(0, len(points) - 1))]
    with np.errstate(over="ignore", invalid="ignore"):
        edge = np.nan_to_num(-(slope * through).sum(axis=1))
    offset = edge + np.array(draw(st.lists(st.sampled_from([0.0, 1e-9]), min_size=atoms, max_size=atoms)))
    strict = np.array(draw(st.lists(st.booleans(), min_size=atoms, max_size=atoms)))
    return Forms(slope, offset, strict, np.array([0])), ends[:1], ends[1:], points


def satisfied(forms: Forms, x: np.ndarray) -> bool:
    """Whether all forms are at most zero (below it, where strict) at x, without rounding."""
    values = [
        sum((Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True)), Fraction(offset))
        for row, offset in zip(forms.slope.tolist(), forms.offset.tolist(), strict=True)
    ]
    return all(value < 0 if strict else value <= 0 for value, strict in zip(values, forms.strict, strict=True))


@settings(max_examples=300, deadline=None)
@given(problems(), st.integers(1, 4))
def test_no_point_that_satisfies_the_clause_is_cut_off(
    problem: tuple[Forms, np.ndarray, np.ndarray, list[np.ndarray]], rounds: int
) -> None:
    forms, lower, upper, points = problem
    left = clip(forms, lower, upper, rounds)
    for x in points:
        if satisfied(forms, x):
            assert not left.closed[0]
            assert (left.lower[0] <= x).all()
            assert (x <= left.upper[0]).all()


@given(st.floats(0.1, 10), st.floats(0.05, 0.95), st.sampled_from([1.0, -1.0]))
def test_the_cut_lies_where_the_form_says(scale: float, at: float, sign: float) -> None:
    forms = Forms(np.array([[sign * scale]]), np.array([-sign * scale * at]), np.array([False]), np.array([0]))
    left = clip(forms, np.zeros((1, 1)), np.ones((1, 1)))
    kept = (0.0, at) if sign > 0 else (at, 1.0)
    assert (left.lower[0, 0], left.upper[0, 0]) == pytest.approx(kept, abs=1e-12)


def test_atoms_that_exclude_each_other_close_a_clause_that_none_excludes_alone() -> None:
    forms = Forms(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([-0.4, 0.6]), np.array([False, False]), np.array([0]))
    alone = [Forms(forms.slope[i : i + 1], forms.offset[i : i + 1], forms.strict[:1], forms.first) for i in range(2)]
    box = np.zeros((1, 2)), np.ones((1, 2))
    assert not any(clip(one, *box).closed[0] for one in alone)
    assert clip(forms, *box, rounds=50).closed[0]


def test_the_margin_is_the_best_atoms_and_a_strict_atom_is_excluded_by_equality() -> None:
    slope, offset = np.array([[0.0], [1.0]]), np.array([0.0, 0.25])
    left = clip(Forms(slope, offset, np.array([False, False]), np.array([0, 1])), np.zeros((2, 1)), np.ones((2, 1)), rounds=1)
    assert left.margin == pytest.approx([0.0, 0.25], abs=1e-12)
    assert left.closed.tolist() == [False, True]


def test_a_form_that_says_nothing_or_overflows_cuts_nothing() -> None:
    slope, offset = np.array([[0.0, 0.0], [1e308, 1e308]]), np.array([-np.inf, -1e308])
    lower, upper = np.full((2, 2), -1e10), np.full((2, 2), 1e10)
    left = clip(Forms(slope, offset, np.array([True, True]), np.array([0, 1])), lower, upper)
    assert not left.closed.any()
    assert (left.lower == lower).all()
    assert (left.upper == upper).all()


def test_the_hull_holds_what_is_left_of_every_open_clause() -> None:
    forms = Forms(np.array([[1.0], [-1.0], [0.0]]), np.array([-0.2, 0.5, 1.0]), np.zeros(3, dtype=bool), np.arange(3))
    left = clip(forms, np.zeros((3, 1)), np.ones((3, 1)))
    lower, upper = hull(left, np.array([0, 0, 1]), 2)
    assert (lower[0, 0], upper[0, 0]) == pytest.approx((0.0, 1.0))
    assert lower[1, 0] > upper[1, 0]  # of the second piece nothing is left
