"""Logs of certification runs: Cohen's tab-separated columns, read from anybody, and JSON lines that hold the counts, read and
written.

A row of a TSV file is `idx label predict radius correct time`; radii are written to three digits, rounded down. The JSON lines
begin with one header (settings, versions, hashes) and go on with one certificate per input; they are what a run continues from.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from pathlib import Path
from typing import IO, Any

from certify.io.text import decoded, read_text

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")


@dataclass(frozen=True)
class Row:
    """One input of a log. `correct` is as written in the file, which need not be label == predict; `seconds` None if not given."""

    idx: int
    label: int
    predict: int
    radius: float
    correct: int
    seconds: float | None

    @property
    def hit(self) -> bool:
        """Whether the prediction is the label: abstentions are wrong."""
        return self.predict == self.label


@dataclass(frozen=True)
class Log:
    """A run: its rows, and where the file holds them (JSON lines) its header and the records behind the rows."""

    path: str
    rows: tuple[Row, ...]
    radii_as_written: tuple[str, ...]
    header: Mapping[str, Any] | None = None
    records: tuple[Mapping[str, Any], ...] = ()


def read_log(path: str | Path) -> Log:
    """A log in either form; a ValueError names the line that cannot be read."""
    lines = read_text(path).splitlines()
    return _read_json(str(path), lines) if lines and lines[0].startswith("{") else _read_tsv(str(path), lines)


def tsv_header() -> str:
    """First line of a TSV file."""
    return "\t".join(COLUMNS)


def tsv_row(record: Mapping[str, Any]) -> str:
    """One line of a TSV file from a record: the radius to three digits, never above the certified one."""
    correct = int(record["label"] == record["predict"])
    cells = (record["idx"], record["label"], record["predict"], floor_digits(record["radius"]), correct, _clock(record["seconds"]))
    return "\t".join(map(str, cells))


def floor_digits(radius: float, digits: int = 3) -> str:
    """`radius` to this many significant digits, rounded down."""
    rounding_down = Context(prec=digits, rounding=ROUND_FLOOR)
    return f"{rounding_down.create_decimal(Decimal(radius)).normalize(rounding_down):f}" if radius else "0.0"


def kept_lines(path: Path) -> list[str]:
    """The complete lines of a file; a last line without its end, where a run was cut off, is left out."""
    content = path.read_bytes() if path.is_file() else b""
    return decoded(content[: content.rfind(b"\n") + 1], path).splitlines()


def parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object in a line of a log; a ValueError names the line that is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}:{number}: not JSON ({error}); is the file damaged?") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}:{number}: expected an object, found {line[:40]}; is the file damaged?")
    return found


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Writes lines in one step: whoever reads finds the old file or the new one."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)


@contextmanager
def only_writer(file: IO[str]) -> Iterator[None]:
    """Holds a file against other processes that would write to it too: theirs is the ValueError. On POSIX systems."""
    try:
        import fcntl
    except ImportError:  # elsewhere nobody is held off
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{file.name}: another process is writing to it; wait, or write to another --out") from None
    except OSError:  # a file system without locks
        pass
    yield


def _read_tsv(path: str, lines: list[str]) -> Log:
    if not lines or lines[0].split("\t")[:4] != list(COLUMNS[:4]):
        raise ValueError(f"{path}: expected a header line {' '.join(COLUMNS)}, separated by tabs")
    names = lines[0].split("\t")
    cells = [dict(zip(names, line.split("\t"), strict=False)) for line in lines[1:] if line.strip()]
    rows = tuple(_tsv_row(path, number, row) for number, row in enumerate(cells, start=2))
    return Log(path, rows, tuple(row["radius"] for row in cells))


def _tsv_row(path: str, number: int, row: Mapping[str, str]) -> Row:
    try:
        idx, label, predict = (int(row[name]) for name in ("idx", "label", "predict"))
        return Row(idx, label, predict, _radius(row["radius"]), int(float(row["correct"])), _seconds(row.get("time")))
    except (KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}:{number}: cannot be read as a row of {' '.join(COLUMNS)} ({error}); is it cut off?") from error


def _read_json(path: str, lines: Iterable[str]) -> Log:
    header, *records = (parsed(Path(path), number, line) for number, line in enumerate(lines, start=1) if line.strip())
    rows = tuple(_json_row(path, number, record) for number, record in enumerate(records, start=2))
    return Log(path, rows, tuple(repr(row.radius) for row in rows), header, tuple(records))


def _json_row(path: str, number: int, record: Mapping[str, Any]) -> Row:
    try:
        idx, label, predict = (operator.index(record[name]) for name in ("idx", "label", "predict"))
        return Row(idx, label, predict, _radius(record["radius"]), int(label == predict), float(record["seconds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}:{number}: no record of a certification run ({error}); is the line cut off?") from None


def _radius(value: Any) -> float:
    radius = float(value)
    if not 0 <= radius < math.inf:
        raise ValueError(f"{value} is no radius")
    return radius


def _clock(seconds: float) -> str:
    """h:mm:ss.ffffff."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{micro:06}"


def _seconds(text: str | None) -> float | None:
    """Both forms that logs have: a number of seconds, and h:mm:ss with or without fractions."""
    if not text:
        return None
    total = 0.0
    for part in text.split(":"):
        total = 60 * total + float(part)
    return total
