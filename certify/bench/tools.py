"""Verifiers as commands: how one is called on an instance, and how its answer is read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import certify
from certify.report.store import VERDICTS

PLACES = ("model", "property", "timeout", "result")
PREFIXES: Mapping[str, str] = {
    "unsat": "unsat",
    "holds": "unsat",
    "sat": "sat",
    "violated": "sat",
    "timed-out": "timed-out",
    "timeout": "timed-out",
    "unknown": "unknown",
    "out-of-memory": "out-of-memory",
    "error": "error",
}
"""What the first line of a result begins with, and the verdict: the normalisation of the competition's scorer."""
_OTHER_PACKAGES = {"bench", "poisoning", "report", "smoothing", "training"}


@dataclass(frozen=True)
class Answer:
    """What a tool said: a verdict, and what it says beside it."""

    verdict: str
    witness: str | None = None
    message: str = ""
    plan: str | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Tool:
    """A verifier.

    command  words of its command line, with `{model}`, `{property}`, `{timeout}` and `{result}` in them where these belong
    version  changes when the tool does: results of other versions are not taken for results of this one
    packed   whether it reads gzipped files; others get unpacked copies
    read     its answer from what it printed and from the result file, both as text
    """

    name: str
    version: str
    command: tuple[str, ...]
    packed: bool
    read: Callable[[str, str], Answer]

    def call(self, **values: str) -> list[str]:
        """The command line with these values in their places."""
        return [_PLACE.sub(lambda match: values[match[1]], word) for word in self.command]


_PLACE = re.compile(rf"\{{({'|'.join(PLACES)})\}}")


def certify_tool(options: Sequence[str] = ()) -> Tool:
    """The `certify verify` of this installation."""
    words = ("verify", "{model}", "{property}", "--timeout", "{timeout}", "--json", "--witness", "{result}", *options)
    version = f"{certify.__version__}+{_source_hash()[:10]}"
    return Tool("certify", version, (sys.executable, "-m", "certify", *words), packed=True, read=read_record)


def other_tool(template: str, name: str | None = None) -> Tool:
    """The verifier that a command line calls, which is split into words as a shell would and run without one.

    It writes a result to `{result}` or prints it: the verdict on the first line, a witness on those below. Its version is a hash of
    the files that the command names. A ValueError says what the command line lacks.
    """
    try:
        command = tuple(shlex.split(template))
    except ValueError as error:
        raise ValueError(f"--tool-cmd cannot be split into words ({error}): {template}") from None
    used = set(re.findall(r"\{(\w+)\}", template))
    if unknown := sorted(used - set(PLACES)):
        raise ValueError(f"--tool-cmd has {{{unknown[0]}}} in it, which is none of {', '.join(f'{{{place}}}' for place in PLACES)}")
    if missing := {"model", "property"} - used:
        raise ValueError(
            f"--tool-cmd names no {{{min(missing)}}}; write such as 'tool {{model}} {{property}} {{timeout}} {{result}}'"
        )
    if shutil.which(command[0]) is None:
        raise ValueError(f"--tool-cmd: there is no program {command[0]}")
    read = _written if "result" in used else _printed
    return Tool(name or Path(command[0]).name, _files_hash(command)[:10], command, packed=False, read=read)


def read_record(output: str, result: str) -> Answer:
    """The answer of `certify verify --json --witness RESULT`: a JSON record, and a result file where there is a witness."""
    try:
        record = json.loads(output)
        verdict = VERDICTS[VERDICTS.index(record["verdict"])]
        bound = None if record["bound"] is None else float(record["bound"])
        return Answer(verdict, read_result(result).witness, "; ".join(record["notes"]), record["plan"] or None, bound)
    except (ValueError, KeyError, TypeError):
        return Answer("error", message=f"printed no record of a verification: {_shortened(output)}" if output.strip() else "")


def read_result(text: str) -> Answer:
    """The answer in a result of the competition's form; nothing at all is `unknown`, and what is no verdict an error that quotes it."""
    first, _, rest = text.lstrip().partition("\n")
    word = first.strip().lower()
    verdict = next((verdict for prefix, verdict in PREFIXES.items() if word.startswith(prefix)), None)
    if not word:
        return Answer("unknown", message="wrote no result")
    if verdict is None:
        return Answer("error", message=f"not a verdict: {_shortened(text)}")
    return Answer(verdict, rest.strip() or None if verdict == "sat" else None, "" if word in PREFIXES else _shortened(first))


def _written(output: str, result: str) -> Answer:
    return read_result(result)


def _printed(output: str, result: str) -> Answer:
    return read_result(output)


def _shortened(text: str, most: int = 500) -> str:
    text = " ".join(text[: 2 * most].split())
    return text if len(text) <= most else f"{text[:most]}..."


def _source_hash() -> str:
    """Of the source of this package, as far as verification can depend on it."""
    root = Path(certify.__file__).parent
    digest = hashlib.sha256()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if Path(folder) != root or name not in _OTHER_PACKAGES)
        for path in (Path(folder, name) for name in sorted(names) if name.endswith((".py", ".cu"))):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files_hash(command: Sequence[str]) -> str:
    """Of the words, and of the files that they name: the program, a script."""
    digest = hashlib.sha256("\0".join(command).encode())
    for word in (shutil.which(command[0]) or "", *command[1:]):
        if Path(word).is_file():
            digest.update(Path(word).read_bytes())
    return digest.hexdigest()
