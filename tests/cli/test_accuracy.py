"""`certify accuracy`: a table of limits from both sides, and a record of every input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Certify = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Robust up to 1/4, up to 1/8, and misclassified."""
    np.savez(tmp_path / "data.npz", x=np.array([[0.75, 0.25], [0.375, 0.625], [0.25, 0.5]], np.float32), y=np.array([0, 1, 0]))
    return str(tmp_path / "data.npz")


def test_the_table_has_a_row_for_every_radius(certify: Certify, model: str, data: str) -> None:
    code, out, _ = certify("accuracy", model, "--data", data, "--eps", "0.1", "1/5", "0.3", "--method", "crown", "ibp")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]
    assert code == 0
    assert rows[0][:6] == ["eps", "inputs", "clean", "attacked", "certified (crown)", "certified (ibp)"]
    assert [row[:5] for row in rows[2:]] == [
        ["1/10", "3", "66.7 %", "66.7 %", "66.7 %"],
        ["1/5", "3", "66.7 %", "33.3 %", "33.3 %"],
        ["3/10", "3", "66.7 %", "0.0 %", "0.0 %"],
    ]


def test_the_record_says_what_was_found_for_every_input(certify: Certify, model: str, data: str, tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    certify("accuracy", model, "--data", data, "--eps", "1/5", "--json", str(target), "--batch", "2")
    (result,) = json.loads(target.read_text())["results"]
    assert result["predicted"] == [0, 1, 1]
    assert result["clean"] == [True, True, False]
    assert result["certified"] == {"crown": [True, False, False]}


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_certified_inputs_withstand_the_attack_in_every_norm(certify: Certify, model: str, norm: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.random((40, 2), np.float32)
    np.savez(tmp_path / "many.npz", x=x, y=x.argmax(1))
    target = tmp_path / "record.json"
    certify("accuracy", model, "--data", str(tmp_path / "many.npz"), "--eps", "0.2", "--norm", norm, "--json", str(target))
    (result,) = json.loads(target.read_text())["results"]
    distance = (x.max(1) - x.min(1)) * {"1": 1.0, "2": 0.5**0.5, "inf": 0.5}[norm]
    certified, attacked = np.array(result["certified"]["crown"]), np.array(result["attacked"])
    assert not (certified & ~attacked).any()
    assert not certified[distance <= 0.2].any()
    assert attacked[distance > 0.2].all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--data", "nothing"), "unknown data"), (("--data", "missing.npz"), "missing.npz"), (("--data", "mnist:nowhere"), "nowhere")],
)
def test_missing_data_is_refused_in_one_line(certify: Certify, model: str, options: tuple[str, ...], reason: str) -> None:
    code, out, error = certify("accuracy", model, *options, "--eps", "0.1")
    assert (code, out) == (2, "")
    assert reason in error


def test_a_record_that_cannot_be_written_is_refused_before_the_work(certify: Certify, model: str, data: str) -> None:
    with pytest.raises(SystemExit) as stop:
        certify("accuracy", model, "--data", data, "--eps", "0.1", "--json", "nowhere/record.json")
    assert stop.value.code == 2


def test_labels_that_the_model_does_not_have_are_refused(certify: Certify, model: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", x=np.zeros((2, 2), np.float32), y=np.array([0, 5]))
    code, _, error = certify("accuracy", model, "--data", str(tmp_path / "bad.npz"), "--eps", "0.1")
    assert code == 2
    assert "labels" in error


def test_one_score_tells_two_classes_apart_at_a_threshold(certify: Certify, score: str, tmp_path: Path) -> None:
    """x_0 + x_1 - 3/4 is 1/4, -1/4, 0 (a tie) and 1/4 where the label is 0; it changes by 2 eps."""
    x = np.array([[0.75, 0.25], [0.25, 0.25], [0.5, 0.25], [0.5, 0.5]], np.float32)
    np.savez(tmp_path / "scores.npz", x=x, y=np.array([1, 0, 1, 0]))
    target = tmp_path / "record.json"
    options = ("--data", str(tmp_path / "scores.npz"), "--threshold", "0", "--method", "crown", "ibp", "--json", str(target))
    code, _, _ = certify("accuracy", score, *options, "--eps", "1/8", "31/256", "33/256")
    tie, inside, beyond = json.loads(target.read_text())["results"]
    assert code == 0
    assert tie["predicted"] == [1, 0, 0, 1]
    assert tie["clean"] == [True, True, False, False]
    assert tie["certified"]["crown"] == tie["certified"]["ibp"] == [False] * 4
    assert beyond["attacked"] == [False] * 4
    assert inside["attacked"] == inside["certified"]["crown"] == inside["certified"]["ibp"] == [True, True, False, False]


def test_one_score_without_a_threshold_is_refused(certify: Certify, score: str, data: str) -> None:
    code, out, error = certify("accuracy", score, "--data", data, "--eps", "0.1")
    assert (code, out) == (2, "")
    assert "one output" in error
    assert "--threshold" in error
