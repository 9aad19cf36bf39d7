"""Verdicts on instances of VNN-COMP 2022, against those on which the competition's trusted tools agree."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import certify
from certify.search.result import Result

# Instances by their line in `expected.csv`.
SOLVED: Mapping[str, Sequence[int]] = {
    "acasxu": range(93),
    "collins_rul_cnn": range(31),
    "mnist_fc": (0, 8, 30),
    "nn4sys": range(8),
    "oval21": (7,),
    "reach_prob_density": (*range(6), *range(7, 18)),
    "rl_benchmarks": range(148),
    "sri_resnet_a": (9,),
    "tllverifybench": range(10),
}
"""Within seconds: sat and unsat, every kind of network; the smaller benchmarks all but whole."""
OPEN: Mapping[str, Sequence[int]] = {
    "mnist_fc": (41,),
    "oval21": (0, 12),
    "reach_prob_density": (6,),
    "sri_resnet_a": (2,),
    "tllverifybench": (14,),
}
"""In a short time most of them stay open."""
SHORT = 2.0


def instances(table: Mapping[str, Sequence[int]]) -> list[tuple[str, int]]:
    """Family and line, one by one."""
    return [(family, line) for family, lines in table.items() for line in lines]


def verify(folder: Path, line: int, timeout: float) -> tuple[Result, str]:
    """What we find on an instance, and what is expected."""
    if not folder.is_dir():
        pytest.skip(f"no instances at {folder}; set CERTIFY_DATA")
    with open(folder / "expected.csv", newline="") as file:
        row = list(csv.DictReader(file))[line]
    model = certify.load(folder / f"{row['onnx']}.gz")
    return certify.verify(model, certify.read_vnnlib(folder / f"{row['vnnlib']}.gz"), timeout), row["verdict"]


@pytest.mark.parametrize(("family", "line"), instances(SOLVED))
def test_instances_are_solved_as_the_competition_did(family: str, line: int, data_dir: Path) -> None:
    result, expected = verify(data_dir / "vnncomp" / family, line, timeout=60.0)
    assert result.verdict == expected, result.plan


@pytest.mark.parametrize(("family", "line"), instances(OPEN))
def test_a_verdict_never_contradicts_the_competition(family: str, line: int, data_dir: Path) -> None:
    result, expected = verify(data_dir / "vnncomp" / family, line, SHORT)
    assert {result.verdict, expected} != {"sat", "unsat"}, result.plan
