"""Which files can be reported on: each kind is known by its content, and has its own summary."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certify.io.text import read_json
from certify.report.formats import Report

Options = Mapping[str, Any]
"""What the user asked for, by name; only what was given."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how far work with a title and so many steps is: gives a function that is told of steps done."""


def silent(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Shows nothing."""
    return nullcontext(lambda steps: None)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it begins, which options it has, and its report on one or several files."""

    name: str
    begins: re.Pattern[bytes]
    options: tuple[str, ...]
    report: Callable[[Sequence[Path], Options, Progress], Report]


def report(paths: Sequence[Path], options: Options, progress: Progress = silent) -> Report:
    """The report on files of one kind; a ValueError where they are of several kinds or of none, or an option does not apply."""
    kinds = {kind.name: kind for kind in map(kind_of, paths)}
    if len(kinds) > 1:
        raise ValueError(f"these files cannot be in one report: {' and '.join(kinds)}; name files of one kind")
    [kind] = kinds.values()
    foreign = [f"--{name.replace('_', '-')}" for name in options if name not in kind.options]
    if foreign:
        raise ValueError(f"{', '.join(foreign)} does not apply to {kind.name}")
    return kind.report(paths, options, progress)


def kind_of(path: Path) -> Kind:
    """The kind of a file; a ValueError that lists all kinds where it is none of them."""
    with open(path, "rb") as file:
        head = file.read(256).removeprefix(codecs.BOM_UTF8)
    found = next((kind for kind in KINDS if kind.begins.match(head)), None)
    if found is None:
        raise ValueError(f"{path}: not a file to report on; there are {', '.join(kind.name for kind in KINDS)}")
    return found


def _verification(paths: Sequence[Path], options: Options, progress: Progress) -> Report:
    from certify.report.store import Store
    from certify.report.verification import summarise
    from certify.report.verification_page import report

    if len(paths) > 1:
        raise ValueError("one file of verification runs at a time; --baseline OTHER.sqlite puts another beside it")

    def results(path: Path, name: str | None) -> Any:
        with Store(path) as store:
            run = store.run(name)
            return run, store.results(run)

    baseline = options.get("baseline") or (paths[0] if "baseline_run" in options else None)
    other = results(baseline, options.get("baseline_run")) if baseline else None
    own = results(paths[0], options.get("run"))
    with progress("checking witnesses", len(own[1])) as advance:
        return report(summarise(own, other, advance))


def _smoothing(paths: Sequence[Path], options: Options, progress: Progress) -> Report:
    from certify.report.smoothing import report, summary
    from certify.smoothing.logs import read_log

    stated = {name: f"{float(options[name]):g}" for name in ("sigma", "n", "alpha") if name in options}
    radii = [float(radius) for radius in options["radii"]] if "radii" in options else None
    rounded = len({path.suffix for path in paths}) > 1
    note = "Radii of .tsv files are rounded to three digits, those of .jsonl files are not." if rounded else ""
    return report([summary(read_log(path), radii, stated) for path in paths], note)


def _poisoning(paths: Sequence[Path], options: Options, progress: Progress) -> Report:
    from certify.report.poisoning import report, summary

    return report([summary(path.stem, read_json(path)) for path in paths], options.get("edits"))


KINDS: Sequence[Kind] = (
    Kind(
        "verification runs (of `certify bench`)",
        re.compile(rb"SQLite format 3\0"),
        ("run", "baseline", "baseline_run"),
        _verification,
    ),
    Kind(
        "poisoning certificates (of `certify poison certify --json`)",
        re.compile(rb'\s*\{\s*"schema":\s*"certify\.poison/'),
        ("edits",),
        _poisoning,
    ),
    Kind(
        "smoothing logs (of `certify smooth`, or with Cohen's columns)",
        re.compile(rb'\{".*|idx\tlabel\tpredict\tradius'),
        ("sigma", "n", "alpha", "radii"),
        _smoothing,
    ),
)
