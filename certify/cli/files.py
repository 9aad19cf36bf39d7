"""Files that commands write: what an earlier run left is gone before the work starts, and what is there is whole."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes a text file in one step: a reader finds the old one or the new one, never a part.

    A pipe or a device, and a file in a folder that may not be written to, is written in place.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        if target.exists() and not target.is_file():
            raise PermissionError
        partial.write_text(text, encoding="utf-8")
    except PermissionError:
        target.write_text(text, encoding="utf-8")
        return
    os.replace(partial, target)


RESULT = re.compile(rb"(unsat|sat|unknown|timed-out|error)\b|\s*\Z")
RECORD = re.compile(rb'\s*\{\s*"schema": "certify\.|\s*\Z')
"""How files begin that we write."""


def forget(argv: Sequence[str], option: str, ours: re.Pattern[bytes], left: str | None = None) -> None:
    """Removes what an earlier run wrote to the file of `option`, first thing, or leaves `left` in it: no later failure, not even bad
    usage, can be taken for that run's success.

    A file that does not begin as `ours` do, such as a model named there by mistake, stays.
    """
    path = _named(argv, option)
    with suppress(OSError, ValueError):  # what cannot be written, or be a name at all, is refused by the option itself
        if path is None or not path.parent.is_dir() or (path.exists() and not path.is_file()):
            return
        if path.exists() and not ours.match(path.read_bytes()[:200]):
            return
        if left is not None:
            write_whole(path, left)
        elif path.exists():
            Path(os.path.realpath(path)).unlink()


def refuse_overwriting(option: str, path: Path | None, read: Sequence[str | None]) -> None:
    """A ValueError where the file that `option` names to be written is one of those that are read."""
    for name in read:
        if path is not None and name is not None and path.exists() and os.path.exists(name) and os.path.samefile(path, name):
            raise ValueError(f"{option} {path} would overwrite a file that is read; name another")


def _named(argv: Sequence[str], option: str) -> Path | None:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument(option, type=Path, dest="path")
    if {"-h", "--help"} & set(argv):
        return None
    try:
        return parser.parse_known_args(argv)[0].path
    except argparse.ArgumentError:
        return None
