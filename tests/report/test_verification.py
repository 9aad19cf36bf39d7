"""Reports of verification runs: numbers counted by hand, in all formats; what is amiss stands at the top."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.report.document import Table
from certify.report.formats import to_csv, to_html, to_json, to_markdown
from certify.report.kinds import report
from certify.report.store import Result
from certify.report.verification import Summary, summarise
from certify.report.verification_page import report as verification_report
from tests.report.runs import GOOD, a_run, witness

Answer = Callable[..., Result]
Stored = Callable[..., Path]


@pytest.fixture
def results(answer: Answer) -> list[Result]:
    """Solved: rows 0, 1, 2, 5, 6, 8 of small and 0 of other. Wrong: row 2."""
    return [
        answer(0, "unsat", expected="unsat", seconds=0.5),
        answer(1, "sat", expected="sat", witness=GOOD, seconds=1.0),
        answer(2, "unsat", expected="sat", seconds=2.0),
        answer(3, "timed-out", expected="unsat", seconds=10.0),
        answer(4, "error", expected="unknown", seconds=0.1),
        answer(5, "sat", witness=witness("0.19995"), seconds=3.0),
        answer(6, "sat", expected="unsat", witness=GOOD, seconds=4.0),
        answer(7, "unknown", seconds=5.0),
        answer(8, "unsat", seconds=20.0),
        answer(0, "unsat", expected="unsat", seconds=1.5, benchmark="other"),
    ]


@pytest.fixture
def baseline(answer: Answer) -> list[Result]:
    return [
        answer(0, "unsat", expected="unsat", seconds=2.0),
        answer(3, "unsat", expected="unsat", seconds=3.0),
        answer(5, "unsat", seconds=1.0),
        answer(8, "sat", witness=witness("0.30005"), seconds=1.0),
        answer(40, "unsat", seconds=1.0),
    ]


@pytest.fixture
def summary(results: list[Result]) -> Summary:
    return summarise((a_run("mine"), results), None)


def test_verdicts_and_times_are_counted(summary: Summary) -> None:
    total, small = summary.own.total, summary.own.tallies[0]
    assert (total.instances, total.solved, total.wrong) == (10, 7, 1)
    assert total.verdicts == {"unsat": 4, "sat": 3, "timed-out": 1, "error": 1, "unknown": 1}
    assert (total.seconds, total.solved_seconds) == pytest.approx((47.1, 32.0))
    assert (small.benchmark, small.instances, small.solved) == ("small", 9, 6)


def test_points_are_those_of_the_rules(summary: Summary) -> None:
    # 2025: rows 0, 1, 5, 6, 8 are right, row 2 is wrong. 2026: row 5 misses its condition, row 8 is late.
    small = summary.own.tallies[0]
    assert small.points == {"2025": 5 * 10 - 150, "2026": 3 * 10 - 2 * 150}
    # expected: rows 0, 1, 2, 3, 6; found besides: 5 and 8 in 2025
    assert small.reachable == {"2025": 70, "2026": 50}
    assert small.score == {"2025": 0.0, "2026": 0.0}
    assert summary.own.total.score == {"2025": 100.0, "2026": 100.0}, "that of the other benchmark alone"


def test_what_contradicts_is_said(summary: Summary) -> None:
    remarks = {line.instance.row: line.remarks for line in summary.lines if line.remarks}
    assert set(remarks) == {2, 5, 6}
    assert remarks[2] == ("unsat, but sat is expected",)
    assert remarks[5] == ("the witness is invalid by the rule of 2026: the output satisfies no clause of the property",)
    assert remarks[6] == ("sat, but unsat is expected; its witness holds exactly, which refutes the expectation",)


def test_an_expectation_that_decides_nothing_contradicts_nothing(answer: Answer) -> None:
    found = summarise((a_run("mine"), [answer(0, "unsat", expected="unknown"), answer(1, "unsat")]), None)
    assert not any(line.remarks or line.own.wrong for line in found.lines)


def test_a_baseline_is_compared_on_the_same_questions_only(results: list[Result], baseline: list[Result]) -> None:
    found = summarise((a_run("mine"), results), (a_run("theirs"), baseline))
    assert found.unmatched == (6, 1)
    assert found.baseline is not None
    assert found.baseline.total.instances == 4
    lines = {line.instance.row: line for line in found.lines if line.baseline}
    assert lines[5].remarks[0] == "sat, but the baseline says unsat"
    assert lines[8].remarks == ("unsat, but the baseline says sat",)
    assert lines[8].own.points == {"2025": -150, "2026": 0}, "refuted by a witness within tolerances, and late"
    assert not lines[8].own.wrong


def test_an_exact_witness_of_the_baseline_makes_unsat_wrong(answer: Answer) -> None:
    found = summarise((a_run("mine"), [answer(0, "unsat")]), (a_run("theirs"), [answer(0, "sat", witness=GOOD)]))
    assert found.own.total.wrong == 1
    assert found.lines[0].remarks == ("unsat, but the baseline says sat, with a witness that holds exactly",)


def test_other_files_are_another_question(answer: Answer, folder: Path) -> None:
    mine = answer(0, "unsat")
    (folder / "p.vnnlib").write_text((folder / "p.vnnlib").read_text().replace("0.3", "0.4"))
    found = summarise((a_run("mine"), [mine]), (a_run("theirs"), [answer(0, "sat", witness=GOOD)]))
    assert found.unmatched == (1, 1)
    assert not found.lines[0].remarks


def test_all_formats_have_the_same_numbers(results: list[Result], baseline: list[Result], stored: Stored) -> None:
    made = report([stored("mine", *results)], {"baseline": stored("theirs", *baseline)})
    data = json.loads(to_json(made))
    assert data["own"]["total"]["points"] == {"2025": -100 - 150, "2026": -270 + 10}
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    for rule in ("2025", "2026"):
        assert sum(int(row[f"points_{rule}"]) for row in rows) == data["own"]["total"]["points"][rule]
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(data["own"]["total"]["seconds"])
    assert [row["baseline_verdict"] for row in rows if row["benchmark"] == "small" and row["row"] in "0358"]
    text, page = to_markdown(made), to_html(made)
    total = next(line for line in text.splitlines() if line.startswith("| all"))
    assert [cell.strip() for cell in total.strip("|").split("|")][:5] == ["all", "10", "7", "4", "3"]
    assert "7 / 10" in text
    assert "7 / 10" in page
    assert page.count("but unsat is expected") == 2, "at the top and in the table"


def test_what_contradicts_stands_above_the_tables(results: list[Result], stored: Stored) -> None:
    page = to_html(report([stored("mine", *results)], {}))
    assert page.index('role="alert"') < page.index("<table>")
    assert page.index("unsat, but sat is expected") < page.index("<table>")


def test_nothing_amiss_is_said_too(results: list[Result], stored: Stored) -> None:
    text = to_markdown(report([stored("mine", *results[:2])], {}))
    assert "No verdict contradicts an expected one; 2 of 2 instances have one." in text


def test_a_witness_that_was_not_checked_is_not_counted(answer: Answer, stored: Stored, folder: Path) -> None:
    path = stored("mine", answer(0, "sat", expected="sat", witness=GOOD))
    (folder / "m.onnx").unlink()
    made = report([path], {})
    assert json.loads(to_json(made))["own"]["total"]["points"] == {"2025": 0, "2026": 0}
    assert "1 witness could not be checked, which proves nothing" in to_markdown(made)


def test_versions_machine_settings_and_command_are_shown(results: list[Result], stored: Stored) -> None:
    text = to_markdown(report([stored("mine", *results)], {}))
    for said in ("some processor", "8,000,000,000", "2.13.0", "certify bench --name mine", "2026-11-20 10:00:00 UTC"):
        assert said in text


def test_the_limit_shown_is_that_of_the_run(results: list[Result]) -> None:
    run = dataclasses.replace(a_run("mine"), settings={"timeout": 77.0})
    made = verification_report(summarise((run, results), None))
    tables = [block for block in made.blocks if isinstance(block, Table) and block.label.startswith("Instances")]
    limits = {row.cells[[column.name for column in table.columns].index("limit")].text for table in tables for row in table.rows}
    assert limits == {"77"}


def test_a_run_without_results_is_refused(stored: Stored) -> None:
    with pytest.raises(ValueError, match="has no results yet"):
        report([stored("empty")], {})
