"""A search excludes a clause by what it has closed: whatever gets lost on the way keeps the clause open."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import pytest
import torch

from certify.model import Model
from certify.search import chain_split, input_split, lp_split
from certify.search.domains import Domains, Worklist
from certify.search.input_split import split_inputs
from certify.search.neuron_split import split_neurons
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.search.tally import Tally
from certify.specification import Atom, Boxes, Clause, Rationals, Specification, flat_declaration
from tests.networks import mlp

MODEL = Model(mlp(1, [2, 12, 12, 1]))


def question() -> Problem:
    """Below the least of the outputs by a little: impossible, and only to be seen by splitting."""
    ends = (np.full((1, 2), -1.0), np.full((1, 2), 1.0))
    grid = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, 201),) * 2, indexing="ij"), dim=-1).reshape(-1, 1, 2).double()
    least = float(MODEL(grid).min())
    clause = Clause(0, (Atom(((0, Fraction(1)),), (), Fraction(least) - Fraction(1, 20)),))
    spec = Specification(Boxes(*map(Rationals.of_floats, ends)), (clause,), 1, flat_declaration(2, 1))
    return Problem(MODEL, spec, tabulate(spec), time.monotonic() + 20)


def open_clauses() -> Progress:
    return Progress(np.array([True]), np.array([-inf]))


def test_a_clause_is_excluded_when_all_its_leaves_are_closed() -> None:
    tally = Tally(3)
    tally.begin(np.array([0, 0, 1]))
    tally.close(np.array([0]))
    tally.split(np.array([0]))
    tally.close(np.array([0, 1]))
    assert tally.excluded.tolist() == [False, True, False]  # the last one never had a domain
    tally.close(np.array([0]))
    assert tally.excluded.tolist() == [True, True, False]


def _lossy_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    halve = chain_split.halve
    monkeypatch.setattr(chain_split, "halve", lambda work: halve(work)[:1])


def _lossy_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    halve = input_split.halve
    monkeypatch.setattr(input_split, "halve", lambda pieces, score, times: halve(pieces, score, times)[: len(pieces)])


def _lossy_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    halves = lp_split._Search._halves
    monkeypatch.setattr(lp_split._Search, "_halves", lambda self, *rest: halves(self, *rest)[:1])


def _lossy_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Worklist.put

    def lose(self: Worklist, domains: Domains) -> None:
        put(self, domains.select(torch.arange(len(domains) // 2)))

    monkeypatch.setattr(Worklist, "put", lose)


SEARCHES: dict[str, tuple[Callable[[Problem, Progress], Progress], Callable[[pytest.MonkeyPatch], Any]]] = {
    "chain": (chain_split.split_chain, _lossy_chain),
    "boxes": (split_inputs, _lossy_boxes),
    "programs": (lp_split.split_by_lp, _lossy_programs),
    "neurons": (split_neurons, _lossy_neurons),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_loses_a_domain_excludes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    search, lose = SEARCHES[name]
    assert not search(question(), open_clauses()).open.any()
    lose(monkeypatch)
    problem = question()
    found = search(replace(problem, deadline=time.monotonic() + 5), open_clauses())
    assert found.open.all()
