"""Runs of a network that is the identity on positive inputs, with a property whose witnesses are known by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from certify.report.store import Instance, Outcome, Result, Store
from tests.report.runs import PROPERTY, a_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark with a model m.onnx and a property p.vnnlib."""
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", declared[:1], declared[1:])
    place = tmp_path / "bench"
    place.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), place / "m.onnx")
    (place / "p.vnnlib").write_text(PROPERTY)
    return place


@pytest.fixture
def answer(folder: Path) -> Callable[..., Result]:
    """Makes the result of a row: `answer(3, "sat", witness=GOOD, expected="unsat")`."""

    def make(
        row: int,
        verdict: str,
        *,
        witness: str | None = None,
        expected: str | None = None,
        seconds: float = 1.0,
        benchmark: str = "small",
        model: str = "m.onnx",
    ) -> Result:
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "m.onnx", folder / "p.vnnlib")]
        instance = Instance(benchmark, row, str(folder), model, "p.vnnlib", 10.0, *hashes, expected)
        return Result(instance, Outcome(f"key {row}", verdict, seconds, "2026-11-20T10:00:00+00:00", 2_000_000, witness))

    return make


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Path]:
    """Writes results into a file of their own and returns it."""

    def write(name: str, *results: Result) -> Path:
        path = tmp_path / f"{name}.sqlite"
        with Store(path, create=True) as store:
            run = store.begin(a_run(name))
            for result in results:
                store.record(run, result)
        return path

    return write
