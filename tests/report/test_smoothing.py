"""Reports of smoothing logs: definitions of the scores, and their four formats."""

from __future__ import annotations

import csv
import io
import json

import pytest

from certify.report.formats import FORMATS
from certify.report.smoothing import report, summary
from certify.smoothing.logs import Log, Row

# right and certified, right at radius 0.2, wrong with a large radius, abstention that the file calls correct
ROWS = (Row(0, 1, 1, 0.8, 1, 2.0), Row(1, 2, 2, 0.2, 1, 2.0), Row(2, 3, 4, 0.9, 0, 2.0), Row(3, 5, -1, 0.0, 1, 2.0))
LOG = Log("dir/run.tsv", ROWS, ("0.8", "0.2", "0.9", "0.0"))


def test_wrong_answers_and_abstentions_count_as_zero() -> None:
    found = summary(LOG, [0.0, 0.25, 0.8])
    assert found.accuracy == {0.0: 0.5, 0.25: 0.25, 0.8: 0.25}
    assert found.acr == pytest.approx(0.25)
    assert found.abstained == 0.25
    assert (found.n, found.sigma) == ("-", "-")


def test_the_curve_falls_at_every_radius_of_a_right_answer() -> None:
    assert summary(LOG).curve == ((0.0, 0.5), (0.2, 0.25), (0.8, 0.0))


def test_equal_radii_fall_at_once() -> None:
    rows = (Row(0, 1, 1, 0.5, 1, None), Row(1, 1, 1, 0.5, 1, None), Row(2, 1, 1, 0.0, 1, None))
    assert summary(Log("x.tsv", rows, ())).curve == ((0.0, 1.0), (0.5, 0.0))


def test_the_average_radius_stands_beside_n_alpha_and_sigma() -> None:
    for name in ("md", "csv", "html"):
        text = FORMATS[name](report([summary(LOG, stated={"sigma": "0.25", "n": "1000", "alpha": "0.001"})]))
        assert all(value in text for value in ("0.25", "1000", "0.001", "ACR"))


def test_a_sequential_run_has_no_average_radius() -> None:
    header = {"settings": {"sequential": "True", "n": 100}}
    assert summary(Log("x.jsonl", ROWS, (), header)).acr is None


def test_formats_agree() -> None:
    runs = [summary(LOG, [0.0, 0.5]), summary(LOG, [0.0, 0.5])]
    data = json.loads(FORMATS["json"](report(runs)))
    assert [run["acr"] for run in data["runs"]] == [0.25, 0.25]
    table = list(csv.reader(io.StringIO(FORMATS["csv"](report(runs)))))
    lines = [line for line in FORMATS["md"](report(runs)).splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == table[0]
    assert len(table) == len(lines) - 1 == 3


def test_the_page_is_self_contained_and_escapes_names() -> None:
    page = FORMATS["html"](report([summary(Log("<b>.tsv", ROWS, ()))]))
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "http" not in page
    assert page.count("<figure>") == 1


def test_a_log_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        summary(Log("x.tsv", (), ()))
