"""Results of verification runs in one SQLite file: runs, instances, and the outcome of every instance in every run.

A result is one transaction, in write-ahead logging with a full sync: a process killed at any moment loses nothing that was
recorded, and a reader sees whole results while a run goes on. Nothing is deleted: an instance whose files changed is another
instance, and `Store.results` shows the newest one of each row of a list.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

VERDICTS = ("unsat", "sat", "unknown", "timed-out", "error", "out-of-memory")
DECIDED = ("unsat", "sat")

APPLICATION = 0x63657274
"""`PRAGMA application_id` of our files: "cert" in ASCII."""
SCHEMA_VERSION = 1
"""`PRAGMA user_version`: rises when a table or a column changes its meaning."""

_SCHEMA = (
    """CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started TEXT NOT NULL,      -- UTC, ISO 8601
    name TEXT NOT NULL,         -- what the user calls it
    tool TEXT NOT NULL,
    version TEXT NOT NULL,
    settings TEXT NOT NULL,     -- JSON
    machine TEXT NOT NULL,      -- JSON: cpu, cores, memory, versions
    command TEXT NOT NULL,
    UNIQUE (name, tool, version, settings, machine)
)""",
    """CREATE TABLE instance (
    id INTEGER PRIMARY KEY,
    benchmark TEXT NOT NULL,
    row INTEGER NOT NULL,       -- in the list, from 0
    folder TEXT NOT NULL,       -- of the list, absolute: where the files were last seen
    model TEXT NOT NULL,        -- as the list names it, relative to the folder, perhaps without .gz
    property TEXT NOT NULL,
    timeout REAL NOT NULL,      -- seconds, as the list says
    model_hash TEXT NOT NULL,   -- SHA-256 of the file on disk, empty where there is none
    property_hash TEXT NOT NULL,
    expected TEXT,
    UNIQUE (benchmark, row, model, property, timeout, model_hash, property_hash)
)""",
    f"""CREATE TABLE outcome (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run(id),
    instance_id INTEGER NOT NULL REFERENCES instance(id),
    key TEXT NOT NULL,          -- hash of model, property, settings and tool
    verdict TEXT NOT NULL CHECK (verdict IN {VERDICTS}),
    seconds REAL NOT NULL,      -- of the whole process
    started TEXT NOT NULL,      -- UTC, ISO 8601
    peak_memory INTEGER NOT NULL,   -- bytes
    witness TEXT,               -- in the form of the property's VNN-LIB version
    message TEXT NOT NULL,
    plan TEXT,
    bound REAL,
    UNIQUE (run_id, instance_id)
)""",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


@dataclass(frozen=True)
class Run:
    """One tool with one version and settings on one machine: what makes results comparable. `id` is None until it is stored."""

    started: str
    name: str
    tool: str
    version: str
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    command: str
    id: int | None = None


@dataclass(frozen=True)
class Instance:
    """A row of an instance list: a question to a network, and the verdict that is known for it (None where none is)."""

    benchmark: str
    row: int
    folder: str
    model: str
    property: str
    timeout: float
    model_hash: str
    property_hash: str
    expected: str | None = None

    def path(self, name: str) -> Path:
        """Where the file that the list calls `name` lies: as it is named, or with `.gz` behind it. It need not exist."""
        plain = Path(self.folder, name)
        packed = Path(f"{plain}.gz")
        return packed if packed.exists() and not plain.exists() else plain


@dataclass(frozen=True)
class Outcome:
    """What came of an instance. `message` says why there is no verdict, or what the tool noted; `plan` and `bound` if it told."""

    key: str
    verdict: str
    seconds: float
    started: str
    peak_memory: int
    witness: str | None = None
    message: str = ""
    plan: str | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Result:
    """An instance and its outcome."""

    instance: Instance
    outcome: Outcome

    @property
    def solved(self) -> bool:
        """Whether the verdict is `unsat` or `sat`."""
        return self.outcome.verdict in DECIDED

    @property
    def wrong(self) -> bool:
        """Whether the verdict contradicts the expected one; where either of them decides nothing, it does not."""
        expected = self.instance.expected
        return self.solved and expected in DECIDED and self.outcome.verdict != expected


class Store:
    """An open file of results. Use it in a `with` statement."""

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        """Opens the file for reading, or with `create` for writing, made if it is not there.

        A ValueError where the file is missing, is not ours, or was written by another version of the format.
        """
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise ValueError(f"{path}: there is no such file; `certify bench ... --out {path}` makes one")
        options = "mode=rwc" if create else _reading(self.path)
        try:
            self._db = sqlite3.connect(f"file:{quote(str(self.path))}?{options}", uri=True, timeout=60.0, isolation_level=None)
            with self._closed_on_error():
                self._prepare(create)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: cannot be opened as a file of results ({error})") from error

    def _prepare(self, create: bool) -> None:
        """Makes the tables where there are none yet; refuses what is not ours before anything is changed."""
        if create:
            with self._transaction():
                if not self._value("SELECT count(*) FROM sqlite_master"):
                    for statement in _SCHEMA:
                        self._db.execute(statement)
        self._check()
        if create:
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {setting}")

    def _check(self) -> None:
        if self._value("PRAGMA application_id") != APPLICATION:
            raise ValueError(f"{self.path}: an SQLite file, but not one of `certify bench`; name another file")
        version = self._value("PRAGMA user_version")
        if version != SCHEMA_VERSION:
            known = f"this certify reads version {SCHEMA_VERSION}"
            raise ValueError(f"{self.path}: has version {version} of the format, and {known}; use the certify that wrote it")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        return [_run(row) for row in self._rows(f"SELECT {_columns(Run)} FROM run ORDER BY id")]

    def run(self, name: str | None = None) -> Run:
        """The newest run, or the newest of those with this name, or the one with this number; a ValueError where there is none."""
        runs = self.runs()
        found = [run for run in runs if name in (None, run.name, str(run.id))]
        if not found:
            known = ", ".join(f"{run.id} ({run.name})" for run in runs) or "none"
            raise ValueError(f"{self.path}: no run {name or ''}".rstrip() + f"; it holds: {known}")
        return found[-1]

    def results(self, run: Run) -> list[Result]:
        """The newest result of every row of every list in the run, sorted by benchmark and row."""
        newest = "SELECT max(outcome.id) FROM outcome JOIN instance ON instance.id = instance_id WHERE run_id = ? GROUP BY benchmark, row"
        selected = f"{_columns(Instance, 'instance')}, {_columns(Outcome, 'outcome')}"
        joined = f"SELECT {selected} FROM outcome JOIN instance ON instance.id = instance_id"
        width = len(fields(Instance))
        rows = self._rows(f"{joined} WHERE outcome.id IN ({newest}) ORDER BY benchmark, row", run.id)
        return [Result(Instance(*row[:width]), Outcome(*row[width:])) for row in rows]

    def begin(self, run: Run) -> Run:
        """The stored run with the same name, tool, version, settings and machine, which goes on; else this one, stored."""
        values = {**vars(run), "settings": _json(run.settings), "machine": _json(run.machine)}
        same = ("name", "tool", "version", "settings", "machine")
        with self._transaction():
            self._insert("run", {name: value for name, value in values.items() if name != "id"}, "DO NOTHING")
            wanted = " AND ".join(f"{name} = ?" for name in same)
            [row] = self._rows(f"SELECT {_columns(Run)} FROM run WHERE {wanted}", *(values[name] for name in same))
        return _run(row)

    def record(self, run: Run, result: Result) -> None:
        """Keeps a result of a run; one of the same instance in the same run is replaced. When this returns it is on the disk."""
        instance = vars(result.instance)
        same = ("benchmark", "row", "model", "property", "timeout", "model_hash", "property_hash")
        with self._transaction():
            moved = "DO UPDATE SET folder = excluded.folder, expected = excluded.expected"
            self._insert("instance", instance, f"({', '.join(same)}) {moved}")
            wanted = " AND ".join(f"{name} = ?" for name in same)
            number = self._value(f"SELECT id FROM instance WHERE {wanted}", *(instance[name] for name in same))
            self._db.execute("DELETE FROM outcome WHERE run_id = ? AND instance_id = ?", (run.id, number))
            self._insert("outcome", {"run_id": run.id, "instance_id": number, **vars(result.outcome)}, "DO NOTHING")

    def _insert(self, table: str, values: Mapping[str, Any], conflict: str) -> None:
        names, places = ", ".join(values), ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) ON CONFLICT {conflict}", tuple(values.values()))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    def _value(self, query: str, *values: Any) -> Any:
        [[value]] = self._rows(query, *values)
        return value

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def now() -> str:
    """The time as the store writes it: UTC, ISO 8601, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def is_store(path: str | Path) -> bool:
    """Whether a file begins like one of ours: SQLite, with our application number."""
    with open(path, "rb") as file:
        head = file.read(72)
    return head.startswith(b"SQLite format 3\0") and head[68:72] == APPLICATION.to_bytes(4, "big")


def _reading(path: Path) -> str:
    """How SQLite is to open a file for reading.

    With write-ahead logging readers, too, keep an index beside the file. Where we may not make one, as in a read-only folder, and no
    log is left, nobody is writing, and the file is read as it lies.
    """
    frozen = not os.access(path.absolute().parent, os.W_OK) and not Path(f"{path}-wal").exists()
    return "mode=ro&immutable=1" if frozen else "mode=ro"


def _columns(record: type, table: str = "") -> str:
    prefix = f"{table}." if table else ""
    return ", ".join(prefix + field.name for field in fields(record))


def _run(row: tuple[Any, ...]) -> Run:
    run = Run(*row)
    return Run(**{**vars(run), "settings": json.loads(row[4]), "machine": json.loads(row[5])})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
