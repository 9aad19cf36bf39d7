"""`certify bounds`: regions, nodes, objectives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from certify.bounds.compute import METHODS as ENGINE_METHODS
from certify.cli.arguments import METHODS

Certify = Callable[..., tuple[int, str, str]]


def test_the_command_line_offers_the_methods_of_the_engine() -> None:
    assert set(METHODS) == set(ENGINE_METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_bounds_of_a_box_enclose_the_outputs(certify: Certify, model: str, box: str, method: str) -> None:
    record = json.loads(certify("bounds", model, "--box", box, "--method", method, "--json")[1])
    lower, upper = np.array(record["lower"]), np.array(record["upper"])
    assert lower.shape == upper.shape == (1, 2)
    assert (lower <= [[0, 0]]).all()
    assert (upper >= [[2, 1]]).all()
    assert (upper <= [[2.01, 1.01]]).all()


def test_bounds_around_a_point_are_a_table(certify: Certify, model: str, point: str) -> None:
    code, out, _ = certify("bounds", model, "--around", point, "--eps", "1/8", "--domain", "0", "1")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()[2:]]
    assert code == 0
    assert [float(cell) for row in cells for cell in row[1:]] == pytest.approx([0.625, 0.875, 0.125, 0.375])


def test_objective_rows_are_bounded(certify: Certify, model: str, point: str, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1.0, -1.0]]))
    arguments = ("--around", point, "--eps", "1/8", "--objective", str(tmp_path / "rows.npy"), "--json")
    record = json.loads(certify("bounds", model, *arguments)[1])
    assert np.ravel([record["lower"], record["upper"]]) == pytest.approx([0.25, 0.75])


def test_any_node_can_be_bounded_by_its_name(certify: Certify, model: str, box: str) -> None:
    record = json.loads(certify("bounds", model, "--box", box, "--node", "x", "--json")[1])
    assert np.ravel(record["lower"]) == pytest.approx([-1, 0])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "exactly one region"),
        (("--box", "BOX", "--around", "POINT"), "exactly one region"),
        (("--box", "POINT"), "arrays `lower` and `upper`"),
        (("--box", "MODEL"), "arrays `lower` and `upper`"),
        (("--around", "BOX", "--eps", "0.1"), "one array of numbers"),
        (("--around", "POINT", "--eps", "0.1", "--node", "acts"), "no node is called 'acts'"),
        (("--around", "missing.npy", "--eps", "0.1"), "missing.npy: No such file"),
        (("--around", "POINT", "--eps", "0.1", "--device", "nowhere"), "--device nowhere cannot be used"),
    ],
)
def test_bad_regions_are_refused_in_one_line(
    certify: Certify, model: str, point: str, box: str, arguments: tuple[str, ...], reason: str
) -> None:
    names = {"BOX": box, "POINT": point, "MODEL": model}
    code, out, error = certify("bounds", model, *(names.get(word, word) for word in arguments))
    assert (code, out) == (2, "")
    assert reason in error


@pytest.mark.parametrize(
    ("lower", "upper", "reason"),
    [
        ([1.0, 0.0], [0.0, 1.0], "lower > upper"),
        ([np.nan, 0.0], [0.0, 1.0], "NaN"),
        ([0.0] * 3, [1.0] * 3, "takes inputs of shape"),
    ],
)
def test_boxes_that_are_none_are_refused(
    certify: Certify, model: str, tmp_path: Path, lower: list[float], upper: list[float], reason: str
) -> None:
    np.savez(tmp_path / "bad.npz", lower=lower, upper=upper)
    code, out, error = certify("bounds", model, "--box", str(tmp_path / "bad.npz"))
    assert (code, out) == (2, "")
    assert reason in error
