"""Reports of poisoning certificates: everything is counted from the radii."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.report.formats import to_csv, to_json, to_markdown
from certify.report.poisoning import report, round_sizes, summary
from tests.report.runs import certificate

RECORD = certificate([4, 2, 0, -1, 9])
"""Right and certified for 4, 2 and 0 edits; right without a certificate; certified but wrong."""


def test_wrong_answers_and_abstentions_are_not_certified() -> None:
    found = summary("run", RECORD)
    assert found.clean == 0.8
    assert found.uncertified == 0.2
    assert [found.accuracy(edits) for edits in (0, 1, 2, 3, 4, 5, 9, 10, 1000)] == [0.6, 0.4, 0.4, 0.2, 0.2, 0, 0, 0, 0]
    assert found.median_radius == 0


def test_written_curves_are_not_believed() -> None:
    changed = certificate([0, 0, 0], certified_accuracy={"5": 1.0}, median_radius=7)
    assert summary("run", changed).accuracy(5) == 0
    assert summary("run", changed).median_radius == 0


@pytest.mark.parametrize(
    ("changed", "method"),
    [
        ({}, "DPA"),
        ({"rule": "runoff"}, "DPA, run-off"),
        ({"shifts": [0, 3, 7, 9]}, "FA, d = 4"),
        ({"shifts": [0, 3], "rule": "runoff"}, "FA, d = 2, run-off"),
    ],
)
def test_methods_have_their_names(changed: dict[str, object], method: str) -> None:
    assert summary("run", certificate([1, 2], **changed)).method == method


def test_runs_stand_side_by_side_in_all_formats() -> None:
    other = certificate([4, 4, 4], shifts=[0, 1], threat={"name": "replace", "edit": "one changed", "buckets_per_edit": 2})
    made = report([summary("first", RECORD), summary("second", other)], [0, 3, 5])
    header, *rows = csv.reader(io.StringIO(to_csv(made)))
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["3 edits"] for row in cells] == ["20.0", "66.7"]
    assert [row["abstained"] for row in cells] == ["20.0", "0.0"]
    runs = json.loads(to_json(made))["runs"]
    assert dict(map(tuple, runs[1]["curve"]))[3] == pytest.approx(2 / 3)
    text = to_markdown(made)
    for said in ("One edit: one changed. It touches at most 2 buckets.", "- training again gives the same answers", "ridge"):
        assert said in text


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (certificate([1, 2], labels=None), "run: the certificate has no labels"),
        (certificate([1, 2]) | {"radii": [1]}, "run: answers, labels and radii of the certificate do not belong together"),
        (certificate([1, 2], schema="certify.poison/9"), "run: not a certificate of this version"),
        ({key: value for key, value in RECORD.items() if key != "threat"}, "run: the certificate has no 'threat'"),
    ],
)
def test_what_is_no_certificate_is_refused(record: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summary("run", record)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_default_columns_cover_the_curve(largest: int) -> None:
    found = round_sizes(largest)
    assert found[0] == 0
    assert found[-1] >= largest
    assert len(found) <= 9
