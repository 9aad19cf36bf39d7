"""Whole networks: those of the competition, and those that come with the project."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from certify.graph.evaluate import evaluate
from certify.io.load import load

MODELS = sorted((Path(__file__).resolve().parents[2] / "models").rglob("*.onnx"))
LARGEST_MB = 0.5


def smallest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("vnncomp/*/onnx/*.onnx.gz"), key=lambda path: path.stat().st_size)


def test_every_network_of_the_competition_loads_and_evaluates_as_in_onnxruntime(data_dir: Path) -> None:
    """Loading compares; the largest, of the same kind as others, would only take time."""
    paths = [path for path in smallest_first(data_dir) if path.stat().st_size < LARGEST_MB * 2**20]
    if not paths:
        pytest.skip(f"no networks under {data_dir}/vnncomp")
    for path in paths:
        graph = load(path).graph
        assert {node.op for node in graph.nodes} <= {"input", "linear", "conv", "relu", "reshape", "add"}, path
        assert math.prod(graph.output_shape) > 0


def test_the_program_computes_what_the_graph_defines(data_dir: Path) -> None:
    for path in smallest_first(data_dir)[:3] + [path for path in smallest_first(data_dir) if "resnet" in path.name]:
        model = load(path)
        x = np.random.default_rng(0).random(model.graph.input_shape)
        with torch.no_grad():
            computed = model.program(torch.float64).evaluate(torch.tensor(x)[None])[0].numpy()
        np.testing.assert_allclose(computed, evaluate(model.graph, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_shipped_network_loads(path: Path) -> None:
    assert load(path).name == path.stem
