"""`certify report`: files are known by their content, and options that do not apply are errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.report.store import Instance, Outcome, Result, Run, Store

Certify = Callable[..., tuple[int, str, str]]
LOG = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.5\t1\t0:00:01\n"
CERTIFICATE = {
    "schema": "certify.poison/1",
    "rule": "plurality",
    "threat": {"name": "insert_delete", "edit": "one sample inserted or deleted", "buckets_per_edit": 1},
    "buckets": 5,
    "classifiers": 5,
    "shifts": [0],
    "assumptions": [],
    "answers": [1, 1],
    "labels": [1, 1],
    "radii": [2, 1],
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A file of every kind; the first holds two runs."""
    paths = {name: tmp_path / name for name in ("runs.sqlite", "log.tsv", "certificate.json")}
    paths["log.tsv"].write_text(LOG)
    paths["certificate.json"].write_text(json.dumps(CERTIFICATE))
    with Store(paths["runs.sqlite"], create=True) as store:
        for name, verdict in (("old", "timed-out"), ("new", "unsat")):
            run = store.begin(Run("2026-11-20T10:00:00+00:00", name, "certify", "1.0", {}, {}, "certify bench"))
            instance = Instance("acasxu", 0, str(tmp_path), "m.onnx", "p.vnnlib", 10.0, "", "", "unsat")
            store.record(run, Result(instance, Outcome("key", verdict, 2.0, "2026-11-20T10:00:00+00:00", 1)))
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("runs.sqlite", "# Verification: new"),
        ("log.tsv", "# Certified accuracy by randomized smoothing"),
        ("certificate.json", "# Certified accuracy under poisoned training data"),
    ],
)
def test_the_kind_of_a_file_is_known_by_its_content(name: str, title: str, files: dict[str, str], certify: Certify) -> None:
    code, out, _ = certify("report", files[name])
    assert code == 0
    assert out.startswith(title + "\n")


def test_runs_are_chosen_by_name_or_number(files: dict[str, str], certify: Certify) -> None:
    for chosen in ("old", "1"):
        assert "solved: **0 / 1**" in certify("report", files["runs.sqlite"], "--run", chosen)[1]
    code, _, err = certify("report", files["runs.sqlite"], "--run", "lost")
    assert code == 2
    assert "no run lost; it holds: 1 (old), 2 (new)" in err


def test_two_runs_of_one_file_can_be_compared(files: dict[str, str], certify: Certify) -> None:
    out = certify("report", files["runs.sqlite"], "--baseline-run", "old")[1]
    assert "Baseline: old, 1 instances in common." in out


@pytest.mark.parametrize("form", ["md", "html", "csv", "json"])
def test_a_report_is_written_as_it_is_printed(form: str, files: dict[str, str], tmp_path: Path, certify: Certify) -> None:
    printed = certify("report", files["runs.sqlite"], "--format", form)[1]
    code, out, err = certify("report", files["runs.sqlite"], "--format", form, "--out", str(tmp_path / "report"))
    assert (code, out) == (0, "")
    assert "report: " in err
    assert (tmp_path / "report").read_text() == printed


def test_a_figure_that_rests_on_rounded_radii_says_so(files: dict[str, str], tmp_path: Path, certify: Certify) -> None:
    other = tmp_path / "run.jsonl"
    row = {"idx": 0, "label": 1, "predict": 1, "radius": 0.5, "seconds": 1.0}
    other.write_text('{"settings": {"sigma": 0.25}}\n' + json.dumps(row) + "\n")
    assert "rounded to three digits" in certify("report", files["log.tsv"], str(other))[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("log.tsv", "certificate.json"), "cannot be in one report"),
        (("runs.sqlite", "runs.sqlite"), "one file of verification runs at a time"),
        (("runs.sqlite", "--sigma", "0.25"), "--sigma does not apply to verification runs"),
        (("log.tsv", "--edits", "3"), "--edits does not apply to smoothing logs"),
        (("certificate.json", "--baseline-run", "1"), "--baseline-run does not apply to poisoning certificates"),
        (("cut.json",), "cut.json: not JSON"),
        (("other.txt",), "not a file to report on; there are verification runs"),
        (("lost.sqlite",), "No such file"),
    ],
)
def test_what_cannot_be_reported_on_is_one_clear_line(
    words: tuple[str, ...], message: str, files: dict[str, str], tmp_path: Path, certify: Certify
) -> None:
    (tmp_path / "other.txt").write_text("hello")
    (tmp_path / "cut.json").write_text(json.dumps(CERTIFICATE)[:-10])
    code, out, err = certify("report", *(str(tmp_path / word) if "." in word and "0" not in word else word for word in words))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
