"""When intervals of their own pay for domains."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest
import torch

from certify.search.domains import Domains
from certify.search.pace import Pace, _growth


def _domains(bounds: list[float], age: int = 1) -> Domains:
    n = len(bounds)
    some = Domains.roots(torch.zeros(n, dtype=torch.int64), torch.zeros(n, 0), torch.zeros(n, 0)).padded(age)
    return replace(some, bound=torch.tensor(bounds), sign=torch.ones_like(some.sign))


def test_the_growth_of_a_tree_is_that_of_its_branching_equation() -> None:
    one = np.zeros(1)
    assert _growth(np.full(4, 0.5), one) == pytest.approx(log(2) / 0.5)
    assert _growth(np.full(4, 0.5), np.full(3, 0.3)) == pytest.approx(log(2) / 0.8)
    golden = (1 + 5**0.5) / 2  # x^-1 + x^-2 = 1
    assert _growth(np.array([1.0, 2.0]), one) == pytest.approx(log(golden))
    assert _growth(np.array([0.0, 0.0, 1.0]), one) == inf
    assert _growth(np.array([0.0, 0.0, 1.0]), np.array([inf, 0.0])) < inf


def test_intervals_pay_where_the_tree_without_them_is_so_much_larger() -> None:
    pace = Pace()
    pace.visited(torch.full((50,), -1.0), torch.full((50,), -0.9))
    pace.narrowed(torch.full((50,), -1.0), torch.full((50,), -0.7))
    pace.took(50, 0.5, 10, 1.0)  # a visit takes 0.01 s, intervals another 0.1 s
    saved = log(2) / 0.1 - log(2) / 0.4
    edge = log(1 + 0.1 / 0.01) / saved
    assert pace.worth_narrowing(_domains([-0.9 * edge, -1.1 * edge, -2 * edge])).tolist() == [2, 1]


def test_fresh_domains_get_no_intervals_and_old_ones_do() -> None:
    pace = Pace()
    pace.visited(torch.full((50,), -1.0), torch.full((50,), -0.5))
    pace.narrowed(torch.full((50,), -1.0), torch.full((50,), -1.0))
    pace.took(50, 0.5, 10, 1.0)
    assert not len(pace.worth_narrowing(_domains([-1.0], age=9)))
    assert pace.worth_narrowing(_domains([-1.0], age=11)).tolist() == [0]
    old = _domains([-1e3], age=20)
    assert not len(pace.worth_narrowing(replace(old, fresh=old.depth)))


def test_the_worth_of_intervals_stays_known() -> None:
    pace = Pace()
    pace.visited(torch.full((50,), -1.0), torch.full((50,), -0.5))
    pace.narrowed(torch.full((50,), -1.0), torch.full((50,), -1.0))
    pace.took(50, 10.0, 1, 0.1)
    assert pace.worth_narrowing(_domains([-1.0, -2.0])).tolist() == [1]
