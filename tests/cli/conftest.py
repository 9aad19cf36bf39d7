"""A classifier of two inputs whose robustness is known by hand, and files that speak of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from certify.cli.main import main


def save_model(path: Path, *nodes: onnx.NodeProto, outputs: int = 2, **constants: np.ndarray) -> str:
    """A model of the nodes, from x [N, 2] to y [N, outputs], in a file."""
    sizes = {"x": 2, "y": outputs}
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in sizes.items()]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "g", declared[:1], declared[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """relu(x): class 0 wins where x_0 > x_1 and x_0 > 0."""
    return save_model(tmp_path / "relu.onnx", helper.make_node("Relu", ["x"], ["y"], name="act"))


@pytest.fixture
def score(tmp_path: Path) -> str:
    """x_0 + x_1 - 3/4: class 1 where that is above zero."""
    weight, bias = np.ones((2, 1), np.float32), np.array([-0.75], np.float32)
    return save_model(tmp_path / "score.onnx", helper.make_node("Gemm", ["x", "w", "b"], ["y"]), outputs=1, w=weight, b=bias)


@pytest.fixture
def softmax(tmp_path: Path) -> str:
    """A model with an operator that has no rule."""
    return save_model(
        tmp_path / "softmax.onnx", helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], name="probs")
    )


@pytest.fixture
def point(tmp_path: Path) -> str:
    """(0.75, 0.25), class 0: robust in l_inf up to a radius of exactly 1/4."""
    np.save(tmp_path / "x.npy", np.array([0.75, 0.25], np.float32))
    return str(tmp_path / "x.npy")


@pytest.fixture
def box(tmp_path: Path) -> str:
    """-1 <= x_0 <= 2, 0 <= x_1 <= 1."""
    np.savez(tmp_path / "box.npz", lower=np.array([-1.0, 0.0]), upper=np.array([2.0, 1.0]))
    return str(tmp_path / "box.npz")


@pytest.fixture
def write_property(tmp_path: Path) -> Callable[[str, str], str]:
    """Writes a VNN-LIB 1.0 property: 0 <= x <= 1, and a condition on the outputs."""

    def write(condition: str, name: str = "property.vnnlib") -> str:
        declarations = [f"(declare-const {variable}_{i} Real)" for variable in "XY" for i in (0, 1)]
        inputs = [f"(assert ({relation} X_{i} {value}))" for i in (0, 1) for relation, value in ((">=", 0.0), ("<=", 1.0))]
        (tmp_path / name).write_text("\n".join([*declarations, *inputs, f"(assert {condition})"]))
        return str(tmp_path / name)

    return write


@pytest.fixture
def certify(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command and returns its exit code, standard output and standard error."""

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        done = capsys.readouterr()
        return code, done.out, done.err

    return run
