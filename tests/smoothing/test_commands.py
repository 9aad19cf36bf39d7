"""`certify smooth` and `certify report` on the shipped digits networks."""

from __future__ import annotations

import json
from importlib import import_module
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


def test_halves_are_decided_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = [str(MODELS / f"digits_{side}.onnx") for side in ("left", "right")]
    arguments = ("--dual", *halves, "--sigma", "0.18", "--radius", "1/8", "--sequential", "--n", "2000")
    assert smooth(tmp_path / "s.tsv", *arguments, model=None) == 0
    header, *records = map(json.loads, (tmp_path / "s.jsonl").read_text().splitlines())
    assert {len(record["hits"]) for record in records} == {2}
    assert [record["verdict"] for record in records].count("yes") > 0.6 * len(records)
    assert sum(record["drawn"] for record in records) < 0.5 * 2 * 2000 * len(records)
    capsys.readouterr()
    assert main(["smooth", "audit", str(tmp_path / "s.jsonl"), "--expect", "ok"]) == 0
    records[0]["hits"][0] //= 2
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, (header, *records))) + "\n")
    assert main(["smooth", "audit", str(tmp_path / "t.jsonl"), "--expect", "ok"]) == 1


def test_a_module_with_another_input_range_gets_the_same_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network of levels 0 to 16 by name, and the same of shares as a file."""
    (tmp_path / "tiny.py").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import torch

    tiny = import_module("tiny")
    torch.save(tiny.levels().state_dict(), "tiny.pt")
    save_program(tiny.shares(), tmp_path / "shares.pt2")
    named = ("--arch", "tiny:levels", "--weights", "tiny.pt", "--input-range", "0", "16")
    for out, source in (("a", named), ("b", ("shares.pt2",))):
        assert (
            main(["smooth", *source, "--data", "digits", "--max", "5", "--n", "100", "--sigma", "0.1", "--out", f"{out}.tsv"]) == 0
        )
    logs = [[json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()] for out in ("a", "b")]
    assert [entry["counts"] for entry in logs[0][1:]] == [entry["counts"] for entry in logs[1][1:]]
    assert logs[0][0]["settings"]["arch"] == "tiny:levels"
    assert logs[0][0]["files"][0]["path"] == "tiny.pt"


TINY = """
import torch

class Levels(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randint(-3, 4, (10, 64), generator=generator).double())

    def forward(self, x):
        return (x.double() * self.scale).round().flatten(1) @ self.weight.T

def levels():
    return Levels(1)

def shares():
    return Levels(16)
"""


def save_program(module: object, path: Path, channels: int = 1) -> None:
    import torch

    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(module, (torch.zeros(2, channels, 8, 8),), dynamic_shapes=({0: batch},)), path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheme", "model", "most"),
    [(("--passes", "32", "--levels", "16"), "digits_gaussian", 2.0), (("--columns", "2"), "bands", 8.0)],
)
def test_exact_votes_are_logged_and_audited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: tuple[str, ...], model: str, most: float
) -> None:
    path = MODELS / f"{model}.onnx"
    if model == "bands":
        import torch

        path = tmp_path / "bands.pt2"
        save_program(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, 10)), path, channels=2)
    run = ["smooth", "exact", str(path), "--data", "digits", "--max", "6", *scheme, "--out", str(tmp_path / "v.tsv")]
    assert main(run) == 0
    table = capsys.readouterr().out
    assert main(run) == 0  # goes on where it ended: nothing left to do
    assert capsys.readouterr().out == table
    header, *records = map(json.loads, (tmp_path / "v.jsonl").read_text().splitlines())
    assert {sum(record["votes"]) for record in records} == {header["settings"]["n"]}
    assert all(0 <= record["radius"] <= most for record in records)
    assert main(["smooth", "audit", str(tmp_path / "v.jsonl"), "--expect", "ok"]) == 0
    records[0]["radius"] += 0.5
    (tmp_path / "w.jsonl").write_text("\n".join(map(json.dumps, (header, *records))) + "\n")
    assert main(["smooth", "audit", str(tmp_path / "w.jsonl"), "--expect", "ok"]) == 1


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
        (["--sigma", "0.25", "--noise", "uniform", "--variant", "pa"], "with Uniform noise; there are uniform-l1"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert smooth(tmp_path / "x.tsv", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
