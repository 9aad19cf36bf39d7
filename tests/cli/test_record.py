"""JSON records are strict JSON and say what they were made from."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from math import inf
from pathlib import Path

import numpy as np
import pytest

from certify.cli.record import file_entry, to_json, versions


def test_a_file_is_identified_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights" * 100_000)
    assert file_entry(path) == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_arrays_fractions_and_infinities_survive() -> None:
    text = to_json({"a": np.array([[1.5, -inf]]), "eps": Fraction(2, 255), "n": np.int64(3), "none": None, "ok": np.bool_(True)})
    assert json.loads(text) == {"a": [[1.5, "-inf"]], "eps": "2/255", "n": 3, "none": None, "ok": True}


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("nan")})


def test_versions_name_what_results_depend_on() -> None:
    assert {"certify", "python", "torch", "numpy", "onnx"} <= versions().keys()
