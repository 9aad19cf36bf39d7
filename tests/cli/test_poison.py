"""`certify poison`: a run from its first command to its gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from certify.cli.main import main
from certify.cli.poison_arguments import PARTITIONS, RULES
from certify.poisoning import partition, votes


def poison(*words: str | Path) -> int:
    return main(["poison", *map(str, words)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poison") / "run"
    assert poison("partition", folder, "--data", "digits", "--max", 600, "--k", 12, "--learner", "ridge") == 0
    assert poison("train", folder, "--workers", "0/2") == 0
    assert poison("train", folder, "--workers", "1/2") == 0
    assert poison("votes", folder, "--data", "digits", "--max", 100) == 0
    return folder


def test_parts_of_the_training_add_up(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poison("train", run) == 0
    assert "trained 0 of 12 classifiers; 12 were there" in capsys.readouterr().out


def test_a_certificate_is_printed_written_and_checked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert poison("certify", run, "--edits", 0, 2, "--collective", 1, 2, "--attack", 0, "--json", out) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("| method")
    assert "one attack of 2 edits on all inputs together" in printed
    record = json.loads(out.read_text())
    assert record["schema"] == "certify.poison/1"
    assert len(record["radii"]) == record["inputs"] == 100
    assert any("fixed before" in assumption for assumption in record["assumptions"])
    reached = record["certified_accuracy"]["2"]
    assert poison("check", out, "--min-certified-accuracy", f"{reached}@2") == 0
    assert poison("check", out, "--min-certified-accuracy", f"{reached}@2", f"{reached + 0.02}@2") == 1
    assert "FAILED" in capsys.readouterr().out


def test_the_gate_counts_again_and_does_not_believe_the_curve(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    poison("certify", run, "--json", out)
    record = json.loads(out.read_text())
    out.write_text(json.dumps(record | {"certified_accuracy": {"5": 1.0}}))
    assert poison("check", out, "--min-certified-accuracy", "1.0@5") == 1
    out.write_text(json.dumps(record | {"radii": record["radii"][:-1]}))
    assert poison("check", out, "--min-certified-accuracy", "0@0") == 2


def test_runoffs_and_threats_can_be_chosen(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poison("certify", run, "--rule", "runoff", "--threat", "replace") == 0
    assert "| runoff" in capsys.readouterr().out
    assert poison("certify", run, "--threat", "source") == 2
    assert "use groups" in capsys.readouterr().err


@pytest.mark.parametrize("rule", RULES)
def test_an_audit_names_buckets(rule: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poison("audit", run, "--top", 3, "--rule", rule) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_runoffs_have_attacks_and_collective_certificates(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poison("certify", run, "--rule", "runoff", "--collective", 1, "--attack", 0, "--tighten", "--edits", 1) == 0
    printed = capsys.readouterr().out
    assert "one attack of 1 edits on all inputs together" in printed
    assert "input 0: poisoning buckets" in printed


def test_training_again_is_bit_for_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert poison("verify", run, "--retrain", 3, "--bucket", 2) == 0
    assert "0 differ from the store" in capsys.readouterr().out


def test_an_update_retrains_little_and_asks_for_new_votes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    poison("partition", run, "--data", "digits", "--max", 300, "--k", 6, "--d", 2, "--learner", "ridge")
    poison("train", run)
    poison("votes", run, "--data", "digits", "--max", 20)
    (tmp_path / "gone").write_text("17\n")
    capsys.readouterr()
    assert poison("update", run, "--remove", tmp_path / "gone") == 0
    assert "retrained 2 of 12 classifiers" in capsys.readouterr().out
    assert poison("certify", run) == 2
    assert "`certify poison votes` again" in capsys.readouterr().err
    assert poison("votes", run, "--data", "digits", "--max", 20) == 0
    assert poison("certify", run) == 0


def test_buckets_of_sources_certify_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, sources = tmp_path / "run", tmp_path / "sources"
    sources.write_text("\n".join(f"site{i}" for i in np.random.default_rng(0).integers(0, 60, 600)) + "\n")
    poison("partition", run, "--data", "digits", "--max", 600, "--k", 9, "--learner", "ridge", "--groups", sources)
    poison("train", run)
    poison("votes", run, "--data", "digits", "--max", 40)
    assert poison("certify", run, "--threat", "source") == 0
    capsys.readouterr()
    assert poison("audit", run, "--top", 1) == 0
    assert "site" in capsys.readouterr().out


def test_networks_are_certified_against_both_threats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    poison("partition", run, "--data", "digits", "--max", 200, "--k", 4, "--learner", "mlp")
    poison("train", run)
    poison("votes", run, "--data", "digits", "--max", 20)
    out = tmp_path / "out.json"
    assert poison("certify", run, "--evasion-eps", "0.02", "--norm", "inf", "--domain", 0, 1, "--json", out) == 0
    assert any("within 1/50" in assumption for assumption in json.loads(out.read_text())["assumptions"])
    assert poison("certify", run, "--evasion-eps", "0.02", "--rule", "runoff") == 2
    assert "no run-off certificate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "nowhere"), "`certify poison partition` comes first"),
        (("partition", "x", "--data", "digits", "--learner", "magic"), "no learner is called 'magic'"),
        (("partition", "x", "--data", "digits", "--learner", "no.such:thing"), "no.such:thing"),
        (("partition", "x", "--data", "digits", "--classes", "0", "1"), "not among the classes"),
    ],
)
def test_mistakes_are_explained_in_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert poison(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("value", ["0.8", "1.2@3", "0.8@-1", "x@3"])
def test_a_limit_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SystemExit):
        poison("check", "out.json", "--min-certified-accuracy", value)


def test_choices_of_the_command_line_are_those_of_the_library() -> None:
    assert set(PARTITIONS) == set(partition.PARTITIONS)
    assert set(RULES) == set(votes.RULES)
