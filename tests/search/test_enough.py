"""Intermediate bounds stop being improved when what was asked is proved."""

from __future__ import annotations

import time
from math import inf

import numpy as np
import pytest
import torch

from certify.bounds.budget import Budget
from certify.bounds.relaxed import Relaxed
from certify.model import Model
from certify.search import enough
from certify.search.enough import relax_until
from certify.search.problem import tabulate
from certify.search.proving import lower_bounds
from certify.sets import Box
from certify.specification import robust
from tests.networks import mlp

NET = Model(mlp(3, [8, 64, 64, 64, 3]))
X = np.full((1, 8), 0.5, np.float32)


def box(radius: float) -> Box:
    x = torch.from_numpy(X).double()[None]
    return Box(x - radius, x + radius)


def width(relaxed: Relaxed) -> float:
    low, high = relaxed.intervals[NET.graph.output]
    return float((high - low).sum())


def test_nothing_is_improved_once_enough_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enough, "_FIRST_LOOK", 0.0)
    looks: list[Relaxed] = []

    def proves(relaxed: Relaxed) -> bool:
        looks.append(relaxed)
        return True

    program = NET.program(torch.float64)
    at_once = relax_until(program, box(0.1), "crown", Budget(), proves)
    never = relax_until(program, box(0.1), "crown", Budget(), lambda relaxed: False)
    assert len(looks) == 1
    assert width(never) < width(at_once)


def test_a_look_that_cannot_be_taken_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enough, "_FIRST_LOOK", 0.0)

    def overflows(relaxed: Relaxed) -> bool:
        raise ValueError("a bound is NaN")

    program = NET.program(torch.float64)
    found = relax_until(program, box(0.1), "crown", Budget(), overflows)
    assert width(found) == width(relax_until(program, box(0.1), "crown", Budget(), lambda relaxed: False))


@pytest.mark.parametrize("eps", ["0.001", "0.02", "0.05"])
def test_what_is_excluded_does_not_depend_on_when_it_is_looked_at(eps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    label = int(NET(torch.from_numpy(X)[None]).argmax())
    spec = robust(X, label, eps=eps).bind(NET.graph.input_shape, NET.graph.output_shape)
    table = tabulate(spec)
    atoms = np.arange(len(table.rhs))
    best = lower_bounds(NET, spec, table, atoms, "crown")
    for first in (0.0, inf):
        monkeypatch.setattr(enough, "_FIRST_LOOK", first)
        found = lower_bounds(NET, spec, table, atoms, "crown", enough=True)
        assert table.excluded(atoms, found).all() == table.excluded(atoms, best).all()
        assert (found <= best + 1e-9).all()


def test_the_deadline_holds_as_before() -> None:
    program = NET.program(torch.float64)
    late = relax_until(program, box(0.1), "crown", Budget(deadline=time.monotonic() - 1), lambda relaxed: True)
    assert width(late) == width(relax_until(program, box(0.1), "crown-ibp", Budget(), lambda relaxed: False))
