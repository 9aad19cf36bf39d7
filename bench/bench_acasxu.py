"""Claim: every third instance of ACAS Xu (rows 0, 3, 6, ...) is decided as `expected.csv` says, in 20 s for whole processes one by one.

python -m bench.bench_acasxu [STEP]     prints a table; STEP 1 runs all 93
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from certify.cli.table import table

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CERTIFY_DATA", ROOT.parent / "shared" / "data")) / "vnncomp" / "acasxu"
TIMEOUT = 116


@dataclass(frozen=True)
class Run:
    """One whole process: its verdict, the expected one, seconds, and how many boxes it examined."""

    row: int
    verdict: str
    expected: str
    seconds: float
    boxes: str


def run(row: int, model: str, spec: str, expected: str) -> Run:
    """Verifies one instance in a process of its own."""
    command = ["verify", f"{DATA / model}.gz", f"{DATA / spec}.gz", "--timeout", str(TIMEOUT), "--explain"]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "certify", *command], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    boxes = next((word for word, unit in zip(done.stderr.split(), done.stderr.split()[1:], strict=False) if "box" in unit), "")
    return Run(row, done.stdout.split()[0], expected, seconds, boxes)


def runs(step: int) -> list[Run]:
    """Every `step`-th instance."""
    with open(DATA / "expected.csv") as file:
        rows = list(enumerate(csv.DictReader(file)))[::step]
    return [run(number, row["onnx"], row["vnnlib"], row["verdict"]) for number, row in rows]


@pytest.mark.skipif(not DATA.exists(), reason=f"no data at {DATA}; set CERTIFY_DATA")
def test_every_third_instance(benchmark: Any) -> None:
    found = benchmark.pedantic(runs, args=(3,), rounds=1)
    assert [r.row for r in found if r.verdict != r.expected] == []


def main(step: str = "3") -> None:
    """Prints the table and the total."""
    found = runs(int(step))
    lines = [[str(r.row), r.verdict, r.expected, f"{r.seconds:.2f}", r.boxes] for r in found]
    print(table(["row", "verdict", "expected", "seconds", "boxes"], lines))
    wrong = sum(r.verdict != r.expected for r in found)
    print(f"\n{len(found)} instances, {wrong} not as expected, {sum(r.seconds for r in found):.1f} s in all")


if __name__ == "__main__":
    main(*sys.argv[1:])
