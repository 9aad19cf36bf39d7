"""Rows in every form are the dense rows they stand for, in every question that is asked of them."""

from __future__ import annotations

from math import inf, prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.operators.rows import Choice, DenseRows, PickedRows, Rows, UnitRows, WindowRows

SEEDS = st.integers(0, 10**6)
FORMS = ("unit", "window", "cleaned", "dense", "picked")
COUNT, OWNERS = 4, 3


def some(seed: int, form: str) -> tuple[Rows, np.random.Generator, tuple[int, ...]]:
    """Random rows of a form over (1, channels, *space) of one to three axes; windows hang over the border."""
    shapes = np.random.default_rng(seed)
    axes = int(shapes.integers(1, 4))
    shape = (1, int(shapes.integers(1, 3)), *(int(n) for n in shapes.integers(2, 5, axes)))
    random = np.random.default_rng([seed, FORMS.index(form)])
    if form == "dense":
        return DenseRows(torch.from_numpy(random.normal(size=(COUNT, *shape)))), random, shape
    if form == "unit":
        sign = torch.from_numpy(random.choice([-1.0, 1.0], COUNT))
        return UnitRows(torch.from_numpy(random.integers(prod(shape), size=COUNT)), sign, shape), random, shape
    if form == "picked":
        index = np.stack([random.permutation(prod(shape))[: prod(shape) // 2] for _ in range(COUNT)])
        values = random.normal(size=index.shape) * (random.random(index.shape) < 0.5)
        return PickedRows(torch.from_numpy(values), torch.from_numpy(index), shape), random, shape
    values = torch.from_numpy(random.normal(size=(COUNT, shape[1], *random.integers(1, 4, axes))))
    origin = torch.from_numpy(random.integers(-2, 3, size=(COUNT, axes)))
    if random.random() < 0.5:
        origin = torch.from_numpy(shapes.integers(-1, 2, size=(COUNT, axes))) + origin[:1]
    rows = WindowRows(values, origin, shape)
    return rows.masked() if form == "cleaned" else rows, random, shape


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS, rowwise=st.sampled_from([(False, False), (True, False), (True, True)]))
def test_every_answer_is_that_of_the_dense_rows(form: str, seed: int, rowwise: tuple[bool, bool]) -> None:
    rows, random, shape = some(seed, form)
    dense = DenseRows(rows.dense())
    owner, own = torch.from_numpy(random.integers(OWNERS, size=COUNT)), torch.arange(COUNT)
    low, high = (torch.from_numpy(random.normal(size=(OWNERS, *shape))) for _ in range(2))
    constant = torch.from_numpy(random.normal(size=tuple(n if random.random() < 0.5 else 1 for n in shape)))
    keep = torch.tensor([2, 0])
    for found, expected in (
        (rows.minimise(low, high, owner), dense.minimise(low, high, owner)),
        (rows.magnitude(low.abs(), owner), dense.magnitude(low.abs(), owner)),
        (rows.norm(2.0), dense.values.flatten(1).norm(dim=1)),
        (rows.norm(inf), dense.values.flatten(1).abs().amax(dim=1)),
        (rows.dot(constant), dense.dot(constant)),
        (rows.dot(constant), (dense.values * constant).flatten(1).sum(1)),
        (rows.select(keep).dense(), dense.values[keep]),
        (rows.select(slice(1, 3)).dense(), dense.values[1:3]),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    owners = tuple(own if each else owner for each in rowwise)
    slopes, shifts = (
        tuple(torch.from_numpy(random.normal(size=(COUNT if each else OWNERS, *shape))) for each in rowwise) for _ in range(2)
    )
    new, shift = rows.relax(slopes, shifts, owners)  # type: ignore[arg-type]
    wanted, wanted_shift = dense.relax(slopes, shifts, owners)  # type: ignore[arg-type]
    torch.testing.assert_close(new.dense(), wanted.dense(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(shift, wanted_shift, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("left", FORMS)
@pytest.mark.parametrize("right", FORMS)
@given(seed=SEEDS)
def test_sums_of_any_two_forms_are_the_sums_of_their_coefficients(left: str, right: str, seed: int) -> None:
    a, b = some(seed, left)[0], some(seed, right)[0]
    torch.testing.assert_close(a.plus(b).dense(), a.dense() + b.dense())


@pytest.mark.parametrize("left", FORMS)
@pytest.mark.parametrize("right", FORMS)
def test_no_rows_at_all_can_be_added(left: str, right: str) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    a, b = (some(5, form)[0].select(none) for form in (left, right))
    assert len(a.plus(b).dense()) == 0


@pytest.mark.parametrize("form", FORMS)
@given(seed=SEEDS)
def test_a_choice_of_single_elements_is_made_by_the_sign_of_each_coefficient(form: str, seed: int) -> None:
    rows, random, shape = some(seed, form)
    owner = torch.from_numpy(random.integers(OWNERS, size=COUNT))
    lower, upper = (torch.from_numpy(random.integers(7, size=(OWNERS, *shape))) for _ in range(2))
    slope, shift = (torch.from_numpy(random.random((OWNERS, *shape))) for _ in range(2))
    new, moved = rows.choose(Choice(lower, upper, slope, shift), owner, (1, 7))
    expected, total = torch.zeros(COUNT, 7, dtype=torch.float64), torch.zeros(COUNT, dtype=torch.float64)
    for r, place in np.ndindex(COUNT, prod(shape)):
        o, a = owner[r], rows.dense().flatten(1)[r, place]
        expected[r, (lower if a > 0 else upper)[o].flatten()[place]] += a if a > 0 else a * slope[o].flatten()[place]
        total[r] += 0 if a > 0 else a * shift[o].flatten()[place]
    torch.testing.assert_close(new.dense().flatten(1), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moved, total, rtol=1e-12, atol=1e-12)


@given(seed=SEEDS)
def test_coefficients_at_single_positions_fit_windows_of_the_same_rows(seed: int) -> None:
    rows, random, _ = some(seed, "picked")
    assert isinstance(rows, PickedRows)
    values, place = (torch.from_numpy(random.integers(rows.index.shape[1], size=3)) for _ in range(2))
    few = PickedRows(rows.values[:, values], rows.index[:, place], rows.shape)
    torch.testing.assert_close(few.compact().dense(), few.dense(), rtol=1e-12, atol=1e-12)
    empty = few.select(torch.zeros(0, dtype=torch.int64))
    assert isinstance(empty, PickedRows)
    assert tuple(empty.compact().dense().shape) == (0, *rows.shape)
