"""`certify smooth` and `certify report` on the shipped digits networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from certify.cli.main import main

MODELS = Path(__file__).resolve().parents[2] / "models" / "smoothing"
pytest.importorskip("sklearn")


def smooth(out: Path, *arguments: str, model: str | None = "digits_gaussian") -> int:
    named = [] if model is None else [str(MODELS / f"{model}.onnx")]
    common = ["--data", "digits", "--skip", "30", "--n", "500", "--out", str(out)]
    return main(["smooth", *named, *common, *arguments])


def test_a_run_its_audit_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smooth(tmp_path / "a.tsv", "--sigma", "0.25") == 0
    first = capsys.readouterr().out
    assert smooth(tmp_path / "a.tsv", "--sigma", "1/4") == 0  # goes on where it ended: nothing left to do
    assert capsys.readouterr().out == first
    assert main(["smooth", "audit", str(tmp_path / "a.jsonl"), "--expect", "ok"]) == 0
    assert main(["smooth", "audit", str(tmp_path / "a.tsv"), "--sigma", "0.25", "--n", "500", "--alpha", "0.001"]) == 0
    assert capsys.readouterr().out.startswith("ok\n")
    assert main(["report", str(tmp_path / "a.tsv"), str(tmp_path / "a.jsonl"), "--format", "json", "--radii", "0", "0.25"]) == 0
    tsv, jsonl = json.loads(capsys.readouterr().out)["runs"]
    assert tsv["accuracy"]["0.0"] == jsonl["accuracy"]["0.0"] > 0.8
    assert tsv["acr"] <= jsonl["acr"] <= tsv["acr"] * 1.01


def test_a_planted_fault_is_the_exit_code_where_none_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smooth(tmp_path / "a.tsv", "--sigma", "0.25", "--max", "4")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    entry = json.loads(lines[1])
    entry["radius"] += 0.01
    (tmp_path / "b.jsonl").write_text("\n".join((lines[0], json.dumps(entry))) + "\n")
    capsys.readouterr()
    assert main(["smooth", "audit", str(tmp_path / "b.jsonl"), "--expect", "ok"]) == 1
    assert capsys.readouterr().out.startswith("faults: 1\n")


def test_halves_are_certified_together(tmp_path: Path) -> None:
    halves = [str(MODELS / f"digits_{side}.onnx") for side in ("left", "right")]
    assert smooth(tmp_path / "d.tsv", "--dual", *halves, "--sigma", "0.18", model=None) == 0
    header, *records = map(json.loads, (tmp_path / "d.jsonl").read_text().splitlines())
    assert header["settings"]["variant"] == "dual"
    assert len(header["files"]) == 2
    assert all(len(record["counts"]) == 2 for record in records)
    assert sum(record["label"] == record["predict"] for record in records) > 0.7 * len(records)


def test_a_sequential_run_answers_at_one_radius(tmp_path: Path) -> None:
    assert smooth(tmp_path / "s.tsv", "--sigma", "0.25", "--radius", "1/4", "--sequential", "--n", "5000") == 0
    _, *records = map(json.loads, (tmp_path / "s.jsonl").read_text().splitlines())
    assert {record["verdict"] for record in records} <= {"yes", "no", "undecided"}
    assert {record["radius"] for record in records} <= {0.0, 0.25}
    assert sum(record["drawn"] for record in records) < 0.5 * 5000 * len(records)


@pytest.mark.parametrize("noise", ["real", "uniform"])
def test_other_noise_is_labelled(tmp_path: Path, noise: str) -> None:
    assert smooth(tmp_path / "n.tsv", "--sigma", "0.25", "--noise", noise, "--max", "2") == 0
    record = json.loads((tmp_path / "n.jsonl").read_text().splitlines()[1])
    assert record["arithmetic"] == "real"
    assert record["norm"] == (1.0 if noise == "uniform" else 2.0)


def test_a_plan_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smooth", "plan", "--sigma", "0.25", "0.5", "--radius", "1.5"]) == 0
    out = capsys.readouterr().out
    assert "0.9528" in out
    assert "out of reach" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sigma", "0.25", "--sequential"], "add --radius"),
        (["--sigma", "0.25", "0.5"], "--sigma takes one number"),
        (["--sigma", "0.25", "--variant", "dual"], "none for 1 parts"),
        (["--sigma", "0.25", "--dual", "a.onnx", "b.onnx"], "name exactly one classifier"),
        (["--sigma", "0.25", "--noise", "integer"], "integer noise needs inputs"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert smooth(tmp_path / "x.tsv", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
