"""Runs and their logs: what is written, and that a run that was cut off ends as one that was not."""

from __future__ import annotations

import json
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certify.smoothing import GridGaussian, Sampler, Smoothed
from certify.smoothing.ledger import Ledger
from certify.smoothing.logs import floor_digits, kept_lines, read_log, tsv_row
from certify.smoothing.run import Inquiry, Journal, Record, certificate_of, run, run_sequential

ALPHA = Fraction(1, 1000)
X = (torch.arange(6 * 4).reshape(6, 4) * 10).to(torch.uint8)
LABELS = [0, 0, 1, 1, 0, 1]
HEADER = {"schema": "certify.smooth/1", "settings": {"n": 200, "alpha": "1/1000"}, "files": []}


def threshold(x: torch.Tensor) -> torch.Tensor:
    score = x.flatten(1).mean(dim=1) - 0.45
    return torch.stack((-score, score), dim=1)


def smoothed() -> Smoothed:
    return Smoothed((Sampler(threshold, 2, GridGaussian(0.1), batch=50),))


def go(out: Path, rows: range = range(6)) -> Ledger:
    return run(smoothed(), X, LABELS, rows, 20, 200, ALPHA, Journal(out, HEADER), lambda steps: None)


def timeless(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]


def test_a_run_cut_off_anywhere_ends_as_one_that_was_not(tmp_path: Path) -> None:
    go(tmp_path / "whole.tsv")
    text = (tmp_path / "whole.jsonl").read_text()
    for cut in (len(text) // 3, len(text) // 2, len(text) - 1, 10):
        (tmp_path / "part.jsonl").write_text(text[:cut])
        (tmp_path / "part.tsv").unlink(missing_ok=True)
        ledger = go(tmp_path / "part.tsv")
        assert timeless(tmp_path / "part.jsonl") == timeless(tmp_path / "whole.jsonl")
        assert len(read_log(tmp_path / "part.tsv").rows) == ledger.inputs == 6


def test_rows_can_be_added_later(tmp_path: Path) -> None:
    go(tmp_path / "a.tsv", range(2))
    go(tmp_path / "a.tsv")
    go(tmp_path / "b.tsv")
    assert timeless(tmp_path / "a.jsonl") == timeless(tmp_path / "b.jsonl")


def test_a_sequential_run_goes_on_too(tmp_path: Path) -> None:
    inquiry = Inquiry(0.05, "betting", 20, 500)

    def decide(rows: range) -> Ledger:
        journal = Journal(tmp_path / "s.tsv", HEADER)
        return run_sequential(smoothed(), X, LABELS, rows, inquiry, ALPHA, journal, lambda steps: None)

    decide(range(3))
    first = timeless(tmp_path / "s.jsonl")
    assert decide(range(6)).inputs == 6
    assert timeless(tmp_path / "s.jsonl")[: len(first)] == first
    assert sorted(row.idx for row in read_log(tmp_path / "s.tsv").rows) == list(range(6))
    assert decide(range(6)).inputs == 6


def test_a_run_with_other_settings_is_not_continued(tmp_path: Path) -> None:
    go(tmp_path / "a.tsv")
    with pytest.raises(ValueError, match="other settings"):
        Journal(tmp_path / "a.tsv", HEADER | {"settings": {"n": 300}})
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ValueError, match="continue it from"):
        Journal(tmp_path / "a.tsv", HEADER)


def test_records_hold_what_a_third_party_needs(tmp_path: Path) -> None:
    go(tmp_path / "a.tsv")
    log = read_log(tmp_path / "a.jsonl")
    for entry, row in zip(log.records, log.rows, strict=True):
        certificate = certificate_of(entry)
        assert certificate.recomputed() == (row.predict, row.radius)
        again = next(smoothed().certify(X[row.idx][None], 20, 200, ALPHA, [row.idx]))
        assert again == certificate  # drawn again from seed and index alone


def test_both_files_hold_the_same_rows_the_tsv_rounded_down(tmp_path: Path) -> None:
    go(tmp_path / "a.tsv")
    pairs = zip(read_log(tmp_path / "a.tsv").rows, read_log(tmp_path / "a.jsonl").rows, strict=True)
    for written, exact in pairs:
        assert (written.idx, written.label, written.predict, written.correct) == (
            exact.idx,
            exact.label,
            exact.predict,
            exact.correct,
        )
        assert 0 <= exact.radius - written.radius <= 0.01 * max(exact.radius, 1e-9)


@given(st.floats(1e-12, 100))
def test_printed_radii_never_exceed_the_certified_ones(radius: float) -> None:
    printed = floor_digits(radius)
    assert Fraction(printed) <= Fraction(radius)
    assert float(printed) >= radius * 0.99


def test_the_clock_is_written_as_others_write_it(tmp_path: Path) -> None:
    row = tsv_row({"idx": 3, "label": 1, "predict": -1, "radius": 0.0, "seconds": 3725.25})
    assert row == "3\t1\t-1\t0.0\t0\t1:02:05.250000"
    (tmp_path / "x.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n" + row + "\n4\t1\t1\t0.5\t1\t17.5\n")
    assert [entry.seconds for entry in read_log(tmp_path / "x.tsv").rows] == [3725.25, 17.5]


def test_a_header_alone_and_a_broken_line_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n")
    assert read_log(tmp_path / "x.tsv").rows == ()
    (tmp_path / "x.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n1\t2\t3\n")
    with pytest.raises(ValueError, match=r"x.tsv:2: .*cut off"):
        read_log(tmp_path / "x.tsv")
    (tmp_path / "x.tsv").write_text("hello\n")
    with pytest.raises(ValueError, match="expected a header line"):
        read_log(tmp_path / "x.tsv")


def test_the_ledger_gives_each_input_its_alpha_once() -> None:
    ledger = Ledger(ALPHA)
    ledger.enter(range(500))
    with pytest.raises(ValueError, match="certified in this run before"):
        ledger.claim(7)
    assert ledger.expected_failures == 0.5
    assert ledger.most_failures() == 4  # 0.8 % of 500
    with pytest.raises(ValueError, match="strictly between"):
        Ledger(Fraction(0))


WRITES = ("write", "flush", "replace", "truncate", "open")


def write_until_killed(out: Path, entries: list[Record], moment: int) -> None:
    """Goes on with a log, and dies at one of its writes; in a child of its own."""
    seen = 0

    def tick(frame: object, event: str, what: object) -> None:
        nonlocal seen
        seen += event == "c_call" and getattr(what, "__name__", "") in WRITES
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(tick)
    journal = Journal(out, HEADER)
    with journal.writing() as add:
        for entry in entries[len(journal.records) :]:
            add(entry)
    os._exit(0)


def test_at_no_moment_do_the_files_hold_less_than_before(tmp_path: Path) -> None:
    """A run is killed again and again, also while it takes up what is there."""
    go(tmp_path / "whole.tsv")
    entries = [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()[1:]]
    out, kept = tmp_path / "run.tsv", []
    for moment in range(1, 30):
        child = os.fork()
        if child == 0:
            write_until_killed(out, entries, moment)
        os.waitpid(child, 0)
        found = [json.loads(line) for line in kept_lines(out.with_suffix(".jsonl"))]
        assert found[: len(kept)] == kept
        kept = found
    go(out)
    assert timeless(out.with_suffix(".jsonl")) == timeless(tmp_path / "whole.jsonl")
    assert len(read_log(out).rows) == 6


def test_a_log_of_other_data_is_not_continued(tmp_path: Path) -> None:
    go(tmp_path / "run.tsv", range(3))
    with pytest.raises(ValueError, match="idx 0 was another input when this run began"):
        run(smoothed(), X + 1, LABELS, range(6), 20, 200, ALPHA, Journal(tmp_path / "run.tsv", HEADER), lambda steps: None)
    assert len(read_log(tmp_path / "run.jsonl").rows) == 3


def test_two_processes_do_not_write_to_one_log(tmp_path: Path) -> None:
    first, second = (Journal(tmp_path / "run.tsv", HEADER) for _ in range(2))
    with first.writing(), pytest.raises(ValueError, match="another process is writing"), second.writing():
        pass
    with pytest.raises(ValueError, match="has written to it meanwhile"), second.writing():
        pass


@pytest.mark.parametrize("line", ["{", "[]", '"x"', "1"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    go(tmp_path / "run.tsv", range(1))
    with open(tmp_path / "run.jsonl", "a") as file:
        print(line, file=file)
    for read in (lambda: read_log(tmp_path / "run.jsonl"), lambda: Journal(tmp_path / "run.tsv", HEADER)):
        with pytest.raises(ValueError, match=r"run\.jsonl:3: "):
            read()


@pytest.mark.parametrize("ending", ["tsv", "jsonl"])
def test_logs_may_have_a_byte_order_mark(tmp_path: Path, ending: str) -> None:
    go(tmp_path / "run.tsv")
    path = tmp_path / f"run.{ending}"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(read_log(path).rows) == 6


def test_a_name_with_a_point_keeps_it(tmp_path: Path) -> None:
    assert Journal(tmp_path / "sigma0.25", HEADER).jsonl.name == "sigma0.25.jsonl"
    assert Journal(tmp_path / "a.tsv", HEADER).jsonl.name == Journal(tmp_path / "a.jsonl", HEADER).jsonl.name == "a.jsonl"
