"""Witnesses checked again: planted ones are accepted and rejected as each year's rule says.

The network is the identity, the property 0 <= X_0 <= 0.3, 0 <= X_1 <= 1, Y_0 >= 0.2.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from certify.report.replay import Files
from certify.report.store import Result
from certify.report.witness import check
from tests.report.runs import GOOD, witness

Answer = Callable[..., Result]


def statuses(result: Result) -> tuple[str, str]:
    found = check(result, Files())
    return found["2025"].status, found["2026"].status


@pytest.mark.parametrize(
    ("text", "in_2025", "in_2026"),
    [
        (GOOD, "correct", "correct"),
        ("sat\n" + GOOD, "correct", "correct"),
        (witness("0.3"), "correct", "tolerance"),  # as a float32, 0.3 is above 0.3
        (witness("0.30005"), "tolerance", "tolerance"),
        (witness("0.301"), "invalid", "invalid"),
        (witness("0.19995"), "tolerance", "invalid"),  # a condition missed
        (witness("0.1"), "invalid", "invalid"),
        (witness("0.25", "0.2502"), "correct", "correct"),  # outputs agree to 1e-3 of the largest, which is 0.5
        (witness("0.25", "0.2508"), "invalid", "correct"),
        (witness("0.25", "nan"), "invalid", "correct"),
        (witness("nan"), "invalid", "invalid"),
        (witness("1e39"), "invalid", "invalid"),
        ("((X_0 0.25) (Y_0 0.25) (Y_1 0.5))", "malformed", "malformed"),
        (witness("zero"), "malformed", "malformed"),
        ("", "missing", "missing"),
        (None, "missing", "missing"),
    ],
)
def test_a_planted_witness(text: str | None, in_2025: str, in_2026: str, answer: Answer) -> None:
    assert statuses(answer(0, "sat", witness=text)) == (in_2025, in_2026)


@pytest.mark.parametrize(("written", "status"), [("0.25", "correct"), ("0.29999", "tolerance"), ("0.2999", "correct")])
def test_the_point_that_a_float16_model_runs_is_what_counts(written: str, status: str, folder: Path, answer: Answer) -> None:
    """The float16 next to 0.29999 is 0.30005, outside the set."""
    model = onnx.load(folder / "m.onnx")
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, folder / "m.onnx")
    assert check(answer(0, "sat", witness=witness(written)), Files())["2026"].status == status


def test_a_reason_says_what_is_wrong(answer: Answer) -> None:
    found = check(answer(0, "sat", witness=witness("0.301")), Files())["2026"]
    assert found.reason == "the point lies outside the input set, by 0.001 in some coordinate"
    found = check(answer(0, "sat", witness=witness("0.1")), Files())["2025"]
    assert found.reason == "the output satisfies no clause of the property"


@pytest.mark.parametrize("name", ["m.onnx", "p.vnnlib"])
def test_a_file_that_is_gone_is_neither_accepted_nor_rejected(name: str, folder: Path, answer: Answer) -> None:
    result = answer(0, "sat", witness=GOOD)
    (folder / name).unlink()
    found = check(result, Files())
    assert {finding.status for finding in found.values()} == {"unchecked"}
    assert all(name in finding.reason for finding in found.values())


@pytest.mark.parametrize("name", ["m.onnx", "p.vnnlib"])
def test_a_file_that_has_changed_is_not_the_file_of_the_run(name: str, folder: Path, answer: Answer) -> None:
    result = answer(0, "sat", witness=GOOD)
    with open(folder / name, "a") as file:
        file.write("\n")
    assert "has changed" in check(result, Files())["2026"].reason


def test_a_file_that_cannot_be_read_is_said_so(folder: Path, answer: Answer) -> None:
    (folder / "m.onnx").write_bytes(b"no model")
    assert "cannot be opened" in check(answer(0, "sat", witness=GOOD), Files())["2026"].reason


def test_gzipped_files_are_read(folder: Path, answer: Answer) -> None:
    for name in ("m.onnx", "p.vnnlib"):
        content = (folder / name).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    result = answer(0, "sat", witness=GOOD)
    assert statuses(result) == ("correct", "correct")


def test_files_are_opened_once_for_instances_in_a_row(folder: Path, answer: Answer) -> None:
    files = Files()
    first, second = (files.open(answer(row, "sat").instance) for row in (0, 1))
    assert first[0] is second[0]
    assert first[1] is second[1]
