"""Runs `certify verify` on VNN-COMP instances, and compares the verdicts with those on which the tools of 2022 agree.

    python bench/vnncomp_agreement.py rows.csv                              all instances, 6 seconds each
    python bench/vnncomp_agreement.py rows.csv --benchmarks acasxu --every 10 --timeout 60

One row an instance is appended to the file; instances that have one are not run again, so an interrupted run goes on where it was.
Prints a table. Exit code 1 where a verdict contradicts an expected one, or an instance ends in an error.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import groupby
from pathlib import Path

from certify.cli.main import OK, main
from certify.cli.table import table

DATA = Path(os.environ.get("CERTIFY_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "vnncomp"
SECONDS: Mapping[str, float] = {"nn4sys": 30.0}
"""Time limits of benchmarks whose properties are thousands of questions in one."""
DECIDED = ("sat", "unsat")

Instance = tuple[str, str, str]
"""Benchmark, model and property, as `expected.csv` names them."""
FIELDS = ("benchmark", "model", "property", "expected", "verdict", "seconds", "message")
Row = Mapping[str, str]


def expected_verdicts(benchmarks: Iterable[str], every: int) -> Iterator[tuple[Instance, str]]:
    """Every n-th instance of the benchmarks, and its verdict of 2022: `sat`, `unsat`, or `unknown` where no tool solved it."""
    for benchmark in benchmarks:
        with open(DATA / benchmark / "expected.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        yield from (((benchmark, row["onnx"], row["vnnlib"]), row["verdict"]) for row in rows[::every])


def run(instance: Instance, timeout: float) -> dict[str, str]:
    """The row of one instance: the verdict and its notes, or `error` and the command's message where there was none."""
    benchmark, model, prop = instance
    paths = [f"{DATA / benchmark / name}.gz" for name in (model, prop)]
    out, notes = io.StringIO(), io.StringIO()
    started = time.perf_counter()
    with redirect_stdout(out), redirect_stderr(notes):
        code = main(["verify", *paths, "--timeout", f"{timeout:g}", "--json"])
    seconds = f"{time.perf_counter() - started:.2f}"
    named = {"benchmark": benchmark, "model": model, "property": prop}
    if code != OK:
        return {**named, "verdict": "error", "seconds": seconds, "message": notes.getvalue().strip()}
    record = json.loads(out.getvalue())
    return {**named, "verdict": record["verdict"], "seconds": seconds, "message": "; ".join(record["notes"])}


def known_rows(path: Path) -> list[Row]:
    """The rows of earlier runs."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: Row) -> None:
    """Adds a row to the file, below a header if it is the first."""
    fresh = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def disagrees(row: Row) -> bool:
    """Whether a verdict contradicts the expected one; `unknown` and `timed-out` contradict nothing."""
    return row["verdict"] in DECIDED and row["expected"] in DECIDED and row["verdict"] != row["expected"]


def summary(rows: Sequence[Row]) -> str:
    """The table: a line for every benchmark, and one for all."""
    header = ("benchmark", "instances", "solved", "sat", "unsat", "unknown", "disagreements", "errors", "seconds")
    by_benchmark = [(name, list(group)) for name, group in groupby(sorted(rows, key=_benchmark), key=_benchmark)]
    return table(header, [_cells(name, group) for name, group in [*by_benchmark, ("all", rows)]])


def _benchmark(row: Row) -> str:
    return row["benchmark"]


def _cells(name: str, rows: Sequence[Row]) -> tuple[str, ...]:
    verdicts = Counter(row["verdict"] for row in rows)
    sat, unsat, errors = (verdicts[verdict] for verdict in ("sat", "unsat", "error"))
    counts = (len(rows), sat + unsat, sat, unsat, verdicts["unknown"] + verdicts["timed-out"], sum(map(disagrees, rows)), errors)
    return (name, *map(str, counts), f"{sum(float(row['seconds']) for row in rows):.0f}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="the CSV file to append to")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds an instance (default: 6; nn4sys: 30)")
    parser.add_argument("--benchmarks", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every n-th instance of each benchmark")
    arguments = parser.parse_args(argv)
    if not DATA.is_dir():
        parser.error(f"no instances at {DATA}; set CERTIFY_DATA")
    return arguments


def bench(argv: Sequence[str] | None = None) -> int:
    """Runs what has no row yet, prints the table of what was asked for, and returns the exit code."""
    arguments = parse(argv)
    benchmarks = arguments.benchmarks or sorted(folder.name for folder in DATA.iterdir() if folder.is_dir())
    wanted = dict(expected_verdicts(benchmarks, arguments.every))
    rows = {(row["benchmark"], row["model"], row["property"]): row for row in known_rows(arguments.rows)}
    for instance, expected in wanted.items():
        if instance not in rows:
            timeout = arguments.timeout or SECONDS.get(instance[0], 6.0)
            rows[instance] = {**run(instance, timeout), "expected": expected}
            append(arguments.rows, rows[instance])
    chosen = [rows[instance] for instance in wanted]
    print(summary(chosen))
    return int(any(disagrees(row) or row["verdict"] == "error" for row in chosen))


if __name__ == "__main__":
    raise SystemExit(bench())
