"""Instance lists of the competition (arXiv 2412.19985): rows `model,property,seconds` without a header, files relative to the list.

Rows are told apart by their number, never by their names: the same question may be asked twice. Beside a list there may be an
`expected.csv`, with a header and a column `verdict`, row by row.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from certify.report.store import Instance

LIST, EXPECTED = "instances.csv", "expected.csv"
_VERSION = re.compile(r"\d+\.\d+")


def read_instances(
    paths: Sequence[str | Path], every: int = 1, containing: str = "", only_expected: bool = False
) -> list[Instance]:
    """The instances of lists, of benchmark folders and of folders of such folders, in their order.

    Of every list the rows 0, `every`, 2 `every`, ..., of these the ones with `containing` in benchmark, model or property, and of
    these with `only_expected` the ones whose verdict is known. A ValueError names the list and the row that cannot be read.
    """
    lists = [found for path in paths for found in find_lists(Path(path))]
    twice = [name for name, count in Counter(map(benchmark_name, lists)).items() if count > 1]
    if twice:
        raise ValueError(f"several lists belong to a benchmark {twice[0]!r}; run them one at a time, or rename a folder")
    hashes = _Hashes()
    return [
        _with_hashes(instance, hashes)
        for path in lists
        for instance in _rows(path)[::every]
        if containing in f"{instance.benchmark} {instance.model} {instance.property}"
        and (not only_expected or instance.expected in ("sat", "unsat"))
    ]


def find_lists(path: Path) -> list[Path]:
    """The list that a path is or holds, or those in the folders one or two levels below; a ValueError where there is none."""
    if path.is_file():
        return [path.resolve()]
    for pattern in (LIST, f"*/{LIST}", f"*/*/{LIST}"):
        if found := sorted(path.resolve().glob(pattern)):
            return found
    raise ValueError(f"{path}: neither an instance list nor a folder with {LIST} in it or below it")


def benchmark_name(path: Path) -> str:
    """The name of the list's folder, with that above a version folder such as 2.0, and that of the list if it is an unusual one."""
    folder = path.parent
    name = f"{folder.parent.name}/{folder.name}" if _VERSION.fullmatch(folder.name) else folder.name
    return name if path.name == LIST else f"{name}/{path.stem}"


def obstacle(instance: Instance) -> str | None:
    """Why an instance cannot be run by anybody, or None: a file is missing, or the question is about several networks."""
    networks = _networks(instance.model)
    if networks is None:
        return f"cannot read {instance.model!r} as a list of networks such as [('f', 'a.onnx')]"
    if len(networks) != 1:
        return f"a question about several networks ({', '.join(networks)}), where one is supported"
    missing = [name for name in (*networks.values(), instance.property) if not instance.path(name).is_file()]
    return f"there is no file {instance.path(missing[0])}, packed or not" if missing else None


def files(instance: Instance) -> tuple[Path, Path]:
    """Model and property of an instance without an obstacle, as they lie on the disk, packed or not."""
    [model] = (_networks(instance.model) or {}).values()
    return instance.path(model), instance.path(instance.property)


def _networks(cell: str) -> dict[str, str] | None:
    """The networks that a model cell names: one file, or a Python list of pairs (name, file); None where it is neither."""
    if not cell.startswith("["):
        return {"": cell}
    try:
        return {str(name): str(file) for name, file in ast.literal_eval(cell)}
    except (ValueError, SyntaxError, TypeError):
        return None


def _rows(path: Path) -> list[Instance]:
    named = benchmark_name(path)
    rows = [cells for cells in _cells(path) if cells]
    expected = _expected(path.with_name(EXPECTED), rows)
    return [
        Instance(named, number, str(path.parent), *_question(f"{path}: row {number}", cells), "", "", verdict)
        for number, (cells, verdict) in enumerate(zip(rows, expected, strict=True))
    ]


def _cells(path: Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as comma-separated text ({error})") from error


def _question(place: str, cells: Sequence[str]) -> tuple[str, str, float]:
    if len(cells) != 3:
        raise ValueError(f"{place} has {len(cells)} cells, not the three `model,property,seconds`; quote a cell that holds commas")
    try:
        timeout = float(cells[2])
    except ValueError:
        raise ValueError(f"{place}: {cells[2]!r} is no number of seconds; a list has no header line") from None
    if not 0 < timeout < math.inf:
        raise ValueError(f"{place}: a time limit has to be positive and finite, not {cells[2]}")
    return cells[0], cells[1], timeout


def _expected(path: Path, rows: Sequence[Sequence[str]]) -> Iterable[str | None]:
    """The verdicts beside a list, None for every row where there is no such file."""
    if not path.is_file():
        return [None] * len(rows)
    header, *others = _cells(path) or [[]]
    if "verdict" not in header:
        raise ValueError(f"{path}: expected a header line with a column `verdict`, found {','.join(header)!r}")
    table = [dict(zip(header, cells, strict=False)) for cells in others if cells]
    if len(table) != len(rows):
        raise ValueError(f"{path}: {len(table)} verdicts for the {len(rows)} rows of the list beside it; they pair by row")
    for number, (row, cells) in enumerate(zip(table, rows, strict=True)):
        if (row.get("onnx", cells[0]), row.get("vnnlib", cells[1])) != tuple(cells[:2]):
            raise ValueError(f"{path}: row {number} is about other files than the list beside it; they pair by row")
    return [row["verdict"] for row in table]


class _Hashes(dict[Path, str]):
    """SHA-256 of files as they lie on the disk, each read once; empty for one that is not there."""

    def __missing__(self, path: Path) -> str:
        self[path] = "".join(_digest(path))
        return self[path]


def _digest(path: Path) -> Iterator[str]:
    if path.is_file():
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        yield digest.hexdigest()


def _with_hashes(instance: Instance, hashes: _Hashes) -> Instance:
    if obstacle(instance):
        return instance
    model, prop = (hashes[path] for path in files(instance))
    return Instance(**{**vars(instance), "model_hash": model, "property_hash": prop})
