"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Test processes run side by side, one per core: more threads in each would only wait for each other. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

# Compilation and first imports take longer than any deadline that would be useful; CI draws the same examples every time.
settings.register_profile("certify", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.load_profile("certify")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with real data sets and competition instances; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("CERTIFY_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set CERTIFY_DATA")
    return folder
