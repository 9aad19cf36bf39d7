"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Test processes run side by side, one per core: more threads in each would only wait for each other. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# Compilation and first imports take longer than any deadline that would be useful; CI draws the same examples every time.
settings.register_profile("certify", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.load_profile("certify")

ROOT = Path(__file__).resolve().parents[1]


FOREIGN = ("could not broadcast", "zero-size array", "need at least one array", "must match the size", "unpack", "cannot reshape")
"""What numpy, torch and Python say where nobody thought of a user's mistake."""


@pytest.fixture(scope="session", autouse=True)
def only_mistakes_are_explained() -> Iterator[None]:
    """In all tests: an exception that leaves a command and is no user's mistake, or reads as if it were none, fails the test."""
    from certify.cli import main as entry

    explain = entry._explain

    def strict(error: Exception) -> str:
        said = explain(error)
        if not isinstance(error, entry.MISTAKES) or any(words in said for words in FOREIGN):
            raise AssertionError(f"a command ended by an error of ours: {said}") from error
        return said

    entry._explain = strict
    yield
    entry._explain = explain


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets and competition instances; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CERTIFY_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set CERTIFY_DATA")
    return folder
