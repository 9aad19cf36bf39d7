"""JSON records of runs: what was asked, of which files, with which versions, and what came out.

Every record has a `schema`, "certify.COMMAND/VERSION"; the version rises when a field changes its meaning or disappears.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

from certify import __version__

PACKAGES = ("torch", "numpy", "numba", "onnx", "onnxruntime")


def versions() -> dict[str, str]:
    """Versions of the engine, of Python and of the packages that results depend on, without importing them."""
    found = {"certify": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def file_entry(path: str | Path) -> dict[str, str]:
    """Path and SHA-256 of a file, as it lies on disk (a gzipped file is hashed gzipped)."""
    import hashlib

    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"path": str(path), "sha256": digest.hexdigest()}


def run_record(arguments: argparse.Namespace, files: Sequence[str], started: float, **results: Any) -> str:
    """The record of one run of a command as JSON: `results`, hashes of `files`, settings, versions, seconds since `started`."""
    settings = {name: value for name, value in vars(arguments).items() if name not in ("command", "json", "debug")}
    return to_json(
        {"schema": f"certify.{arguments.command}/1"}
        | results
        | {"time_s": time.perf_counter() - started, "files": [file_entry(name) for name in files]}
        | {"settings": settings, "versions": versions()}
    )


def to_json(record: Mapping[str, Any]) -> str:
    """The record as JSON: arrays become lists, fractions text, and infinite numbers the texts "inf" and "-inf"."""
    return json.dumps(_plain(record), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Fraction | Path):
        return str(value)
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
