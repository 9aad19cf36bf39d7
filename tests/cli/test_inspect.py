"""`certify inspect` shows every model, also those that cannot be verified, and says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

Certify = Callable[..., tuple[int, str, str]]


def test_nodes_are_listed_with_shape_and_rule(certify: Certify, model: str) -> None:
    record = json.loads(certify("inspect", model, "--json")[1])
    assert [(node["operator"], node["shape"], node["rule"]) for node in record["nodes"]] == [
        ("input", [1, 2], ""),
        ("relu", [1, 2], "elementwise"),
    ]
    assert record["without_rule"] == []


def test_a_model_that_cannot_be_verified_is_shown_with_the_reason(certify: Certify, softmax: str) -> None:
    code, out, _ = certify("inspect", softmax)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert code == 0
    assert out.startswith("cannot be verified: node probs (Softmax)")
    assert ["Relu", "1", "supported"] in rows
    assert [row[2] for row in rows if row[0] == "Softmax"] != ["supported"]


def test_an_exported_program_that_cannot_be_verified_is_shown_with_the_reason(certify: Certify, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Softmax(-1))
    torch.export.save(torch.export.export(module, (torch.zeros(1, 2),)), tmp_path / "softmax.pt2")
    code, out, _ = certify("inspect", str(tmp_path / "softmax.pt2"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines() if line.startswith("|")]
    assert code == 0
    assert "softmax" in out.splitlines()[0]
    assert ["linear.default", "1", "supported"] in rows
    assert ["softmax.int", "1", "not supported"] in rows


def test_no_model_is_bad_usage(certify: Certify) -> None:
    assert certify("inspect")[0] == 2
    assert "exactly one model" in certify("inspect")[2]


def test_a_file_that_is_no_model_is_refused(certify: Certify, point: str) -> None:
    code, out, error = certify("inspect", point)
    assert (code, out, error.count("\n")) == (2, "", 1)
