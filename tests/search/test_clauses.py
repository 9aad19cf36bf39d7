"""Clauses of every odd form, by every stage: what is excluded is impossible, what has a witness is not.

The truth comes from an evaluator of its own: a network of one input is linear between two bends, and there each condition leaves an
interval of the input, in rational arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.model import Model
from certify.search.attack import attack
from certify.search.chain_split import chain_applies, split_chain
from certify.search.exact_intervals import decide_exactly
from certify.search.input_split import split_inputs
from certify.search.lp_split import split_by_lp
from certify.search.neuron_split import split_neurons
from certify.search.plan import METHODS
from certify.search.problem import tabulate
from certify.search.proving import exclude
from certify.search.stage import Problem, Progress
from certify.search.verify import verify
from certify.specification import Atom, Boxes, Clause, Rationals, Specification, flat_declaration, simplify

Terms = Sequence[tuple[int, Fraction]]
FEW = settings(max_examples=30, deadline=None)


@dataclass(frozen=True)
class Condition:
    """sum outputs + sum inputs <= rhs, or <; terms as they come, some of one variable, some zero."""

    outputs: Terms
    inputs: Terms
    rhs: Fraction
    strict: bool


@dataclass(frozen=True)
class Case:
    """A clause: the ends of the input, which may be the wrong way round, and its conditions."""

    low: str
    high: str
    conditions: Sequence[Condition]


# --- the network, and the truth ------------------------------------------------------------------------------------------------

BENDS = (Fraction(0), Fraction(1, 2))


def network(odd: bool) -> Model:
    """|x|, x and 2 max(x - 1/2, 0) - 1/4; as a chain, or with an |x| that makes it none."""
    builder = GraphBuilder()
    x = builder.input("x", (1, 1))
    first = {"weight": np.array([[1.0], [-1.0], [1.0]], np.float32), "bias": np.array([0.0, 0.0, -0.5], np.float32)}
    last = {"weight": np.array([[1, 1, 0], [1, -1, 0], [0, 0, 2]], np.float32), "bias": np.array([0, 0, -0.25], np.float32)}
    node = builder.add("linear", [x], {role: builder.constant("c", value) for role, value in first.items()})
    node = builder.add("relu", [node])
    node = builder.add("abs", [node]) if odd else node
    return Model(builder.build(builder.add("linear", [node], {role: builder.constant("c", value) for role, value in last.items()})))


def outputs(x: Fraction) -> list[Fraction]:
    return [abs(x), x, 2 * max(x - Fraction(1, 2), Fraction(0)) - Fraction(1, 4)]


def excess(condition: Condition, x: Fraction) -> Fraction:
    """Left side - right-hand side."""
    y = outputs(x)
    return sum((c * y[i] for i, c in condition.outputs), Fraction(0)) + sum((c * x for _, c in condition.inputs), -condition.rhs)


def holds(case: Case, x: Fraction) -> bool:
    inside = Fraction(case.low) <= x <= Fraction(case.high)
    return inside and all(excess(c, x) < 0 if c.strict else excess(c, x) <= 0 for c in case.conditions)


def possible(case: Case) -> bool:
    """Whether some real x satisfies the clause: on every piece the ends, where a condition vanishes, and between all of these."""
    low, high = Fraction(case.low), Fraction(case.high)
    if low > high:
        return False
    cuts = sorted({low, high, *(bend for bend in BENDS if low < bend < high)})
    points = set(cuts)
    for a, b in pairwise(cuts):
        for condition in case.conditions:
            at, to = excess(condition, a), excess(condition, b)
            if at * to < 0:
                points.add(a + at / (at - to) * (b - a))
    ordered = sorted(points)
    middles = [(a + b) / 2 for a, b in pairwise(ordered)]
    return any(holds(case, x) for x in (*ordered, *middles))


# --- questions -----------------------------------------------------------------------------------------------------------------

numbers = st.sampled_from([Fraction(n, d) for n in range(-3, 4) for d in (1, 2, 4, 10)])
terms = st.lists(st.tuples(st.integers(0, 2), numbers), max_size=3)
conditions = st.builds(Condition, terms, st.lists(st.tuples(st.just(0), numbers), max_size=2), numbers, st.booleans())
decimals = st.sampled_from(["-1", "-0.3", "0", "0.1", "0.25", "0.5", "0.12345678901234567890123", "1"])
ends = st.one_of(st.tuples(decimals, decimals), decimals.map(lambda end: (end, end)))
cases = st.builds(lambda pair, own: Case(*pair, own), ends, st.lists(conditions, max_size=3))


def question(given: Sequence[Case]) -> Specification:
    bounds = [Rationals.of([getattr(case, side) for case in given])[:, None] for side in ("low", "high")]
    clauses = tuple(
        Clause(k, tuple(Atom(tuple(c.outputs), tuple(c.inputs), c.rhs, c.strict) for c in case.conditions))
        for k, case in enumerate(given)
    )
    return Specification(Boxes(*bounds), clauses, 3, flat_declaration(1, 3))


# --- tests ---------------------------------------------------------------------------------------------------------------------


@FEW
@given(st.lists(cases, max_size=4), st.sampled_from(["auto", *METHODS]), st.booleans())
def test_verdicts_are_those_of_rational_arithmetic(given: list[Case], method: str, odd: bool) -> None:
    truth = "sat" if any(map(possible, given)) else "unsat"
    result = verify(network(odd), question(given), method=method, timeout=3)
    assert result.verdict in (truth, "unknown", "timed-out")
    if result.witness is not None:
        x = result.witness.x.ravel()[0]
        point = Fraction(float(x)) if result.witness.exact is None else result.witness.exact[0]
        assert any(holds(case, point) for case in given)


@FEW
@given(decimals, st.lists(conditions, max_size=3), st.booleans())
def test_single_points_are_decided(point: str, own: list[Condition], odd: bool) -> None:
    """Where the point is no float32 number; at one the runtime has the word, and float32 may round the other way."""
    case = Case(point, point, own)
    verdict = verify(network(odd), question([case]), timeout=10).verdict
    decided = "sat" if possible(case) else "unsat"
    assert verdict == decided or (verdict == "unknown" and Fraction(point) == Fraction(float(np.float32(point))))


def _exclude(method: str) -> Callable[[Problem, Progress], Progress]:
    return lambda problem, progress: exclude(problem, progress, method=method)


STAGES: dict[str, Callable[..., Progress]] = {
    "exact intervals": lambda problem, progress: decide_exactly(problem, progress, share=1.0),
    "attack": lambda problem, progress: attack(problem, progress, steps=5, restarts=2, share=0.5),
    **{method: _exclude(method) for method in METHODS},
    "chain": split_chain,
    "boxes": split_inputs,
    "programs": split_by_lp,
    "neurons": split_neurons,
}


@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=12, deadline=None)
@given(st.lists(cases, min_size=1, max_size=4), st.booleans())
def test_a_stage_excludes_only_what_is_impossible(stage: str, given: list[Case], odd: bool) -> None:
    model, simple = network(odd), simplify(question(given))
    spec = simple.spec
    asked = simple.possible & np.array([bool(clause.atoms) for clause in spec.clauses])
    if not asked.any() or (stage == "chain" and not chain_applies(model.graph, spec)):
        return
    problem = Problem(model, spec, tabulate(spec), time.monotonic() + 0.5)
    found = STAGES[stage](problem, Progress(asked, np.where(asked, -inf, inf)))
    for k, case in enumerate(given):
        assert not (asked[k] and not found.open[k] and found.witness is None and possible(case)), (k, case)
        assert not (not simple.possible[k] and possible(case)), (k, case)
    assert found.witness is None or any(map(possible, given))


@pytest.mark.parametrize(
    ("own", "truth"),
    [
        ([], "sat"),
        ([Condition([(0, Fraction(1)), (0, Fraction(-1))], [], Fraction(0), False)], "sat"),
        ([Condition([(0, Fraction(1)), (0, Fraction(-1))], [], Fraction(0), True)], "unsat"),
        ([Condition([(0, Fraction(0))], [], Fraction(-1, 10**30), False)], "unsat"),
        (
            [Condition([(1, Fraction(1, 3))], [], Fraction(0), True), Condition([(1, Fraction(-1))], [], Fraction(0), False)],
            "unsat",
        ),
        ([Condition([], [(0, Fraction(1))], Fraction(-1), True)], "unsat"),
        ([Condition([], [(0, Fraction(1))], Fraction(-1), False)], "sat"),
    ],
)
def test_what_exact_arithmetic_decides_is_not_left_to_bounds(own: list[Condition], truth: str) -> None:
    case: Any = Case("-1", "1", own)
    assert possible(case) == (truth == "sat")
    assert verify(network(True), question([case]), timeout=10).verdict == truth


def test_no_clause_at_all_is_never_satisfied() -> None:
    spec = Specification(Boxes(*(Rationals.of(["0"])[None] for _ in range(2))), (), 3, flat_declaration(1, 3))
    assert verify(network(False), spec).verdict == "unsat"
