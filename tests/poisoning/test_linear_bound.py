"""Bounds of integer programs hold whatever the solver answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from certify.poisoning import linear_bound
from certify.poisoning.linear_bound import upper_bound


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_bound_is_no_smaller_than_the_best_integer_point_and_no_larger_than_the_box_allows(data: st.DataObject) -> None:
    columns, rows = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    objective, matrix = random.integers(-3, 6, columns), random.integers(-3, 4, (rows, columns))
    limits, upper = random.integers(0, 6, rows), random.integers(1, 3, columns)
    points = [np.array(p) for p in product(*(range(u + 1) for u in upper))]
    best = max(int(objective @ p) for p in points if (matrix @ p <= limits).all())
    bound = upper_bound(objective, csr_array(matrix), limits, upper)
    assert best <= bound <= int(np.maximum(objective, 0) @ upper)


def test_a_program_that_is_given_up_has_the_bound_of_its_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_bound, "SECONDS", 0.0)
    random = np.random.default_rng(0)
    matrix = csr_array(random.integers(0, 4, (30, 40)))
    objective, ones = random.integers(1, 9, 40), np.ones(40, dtype=np.int64)
    assert upper_bound(objective, matrix, np.full(30, 5), ones) == objective.sum()
