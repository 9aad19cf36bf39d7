"""When intervals of their own pay for domains."""

from __future__ import annotations

from dataclasses import replace

import torch

from certify.search.domains import Domains
from certify.search.pace import Pace


def _domains(bounds: list[float], age: int = 1) -> Domains:
    n = len(bounds)
    some = Domains.roots(torch.zeros(n, dtype=torch.int64), torch.zeros(n, 0), torch.zeros(n, 0)).padded(age)
    return replace(some, bound=torch.tensor(bounds), sign=torch.ones_like(some.sign))


def _pace(gain: float, lift: float, seconds: float) -> Pace:
    """Visits take 0.01 s."""
    pace = Pace()
    pace.visited(torch.full((50,), -1.0), torch.full((50,), gain - 1.0))
    pace.narrowed(torch.full((50,), -1.0), torch.full((50,), lift - 1.0))
    pace.took(50, 0.5, 50, 50 * seconds)
    return pace


def test_intervals_pay_where_the_tree_without_them_is_so_much_larger() -> None:
    limit = 1000**0.5 - 1  # of what intervals may take, in visits, where they lift as much as a visit gains
    assert _pace(0.1, 0.1, 0.99 * limit * 0.01).pays
    assert not _pace(0.1, 0.1, 1.01 * limit * 0.01).pays
    assert not _pace(0.1, 0.0, 0.001).pays
    assert Pace().pays  # as long as nothing is known


def test_of_domains_that_were_split_the_worst_come_first() -> None:
    pace, domains = _pace(0.1, 0.3, 0.1), _domains([-1.0, -3.0, -2.0])
    assert pace.worth_narrowing(domains).tolist() == [1, 2, 0]
    assert not len(pace.worth_narrowing(replace(domains, fresh=domains.depth)))


def test_where_intervals_do_not_pay_old_domains_get_them_nevertheless() -> None:
    pace = _pace(0.5, 0.0, 0.1)
    assert not len(pace.worth_narrowing(_domains([-1.0], age=9)))
    assert pace.worth_narrowing(_domains([-1.0], age=11)).tolist() == [0]
    old = _domains([-1e3], age=20)
    assert not len(pace.worth_narrowing(replace(old, fresh=old.depth)))


def test_the_worth_of_intervals_stays_known() -> None:
    pace = _pace(0.5, 0.0, 0.1)
    pace.took(5000, 50.0, 0, 0.0)
    assert pace.worth_narrowing(_domains([-1.0, -2.0])).tolist() == [1]


def test_no_more_is_gained_than_was_missing() -> None:
    pace = Pace()
    pace.visited(torch.tensor([-1.0, -float("inf")]), torch.tensor([float("inf"), 0.0]))
    assert list(pace.gains) == [1.0]
