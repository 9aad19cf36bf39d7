"""Points: the rules of both years, case by case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from certify.report.score import RULES, Finding, points, score
from certify.report.store import Result

Answer = Callable[..., Result]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize(
    ("verdict", "expected", "own", "earned"),
    [
        ("unsat", "unsat", None, 10),
        ("unsat", None, None, 10),
        ("unsat", "unknown", None, 10),
        ("unsat", "sat", None, -150),
        ("sat", "sat", "correct", 10),
        ("sat", "sat", "tolerance", 10),
        ("sat", "sat", "invalid", -150),
        ("sat", "sat", "malformed", -150),
        ("sat", "sat", "missing", -150),
        ("sat", "unsat", "correct", 10),
        ("sat", "unsat", "missing", -150),
        ("sat", "sat", "unchecked", 0),
        ("sat", None, "unchecked", 0),
        ("sat", "unsat", "unchecked", -150),
        ("unknown", "sat", None, 0),
        ("timed-out", "sat", None, 0),
        ("error", "unsat", None, 0),
        ("out-of-memory", "unsat", None, 0),
    ],
)
def test_points_of_a_verdict(
    rule: object, verdict: str, expected: str | None, own: str | None, earned: int, answer: Answer
) -> None:
    result = answer(0, verdict, expected=expected)
    assert points(rule, result, own and Finding(own)) == earned  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("year", "status", "earned"),
    [("2025", "correct", -150), ("2025", "tolerance", -150), ("2026", "correct", -150), ("2026", "tolerance", 10)]
    + [(year, status, 10) for year in RULES for status in ("invalid", "malformed", "missing", "unchecked")],
)
def test_an_unsat_is_refuted_by_witnesses_of_another_tool(year: str, status: str, earned: int, answer: Answer) -> None:
    assert points(RULES[year], answer(0, "unsat"), None, Finding(status)) == earned  # type: ignore[arg-type]


def test_an_answer_after_the_time_limit_counts_in_2025_only(answer: Answer) -> None:
    late = answer(0, "unsat", seconds=10.5)
    assert {year: points(rule, late, None) for year, rule in RULES.items()} == {"2025": 10, "2026": 0}


def test_a_score_is_not_below_zero() -> None:
    assert score(90, 120) == 75.0
    assert score(-300, 120) == 0.0
    assert score(0, 0) == 0.0
