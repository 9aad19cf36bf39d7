"""Verifies two small networks made here, so that all kernels are compiled and kept on the disk, and libraries are in memory.

Both compute a linear function the long way round, sum_i relu(z_i) - relu(-z_i) with z = W x, so that its maximum is known. Whether
it exceeds that by a fiftieth is a question that bounds alone leave open and a short search settles.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from certify.cli.main import main

INPUTS = (3, 40)
"""Few inputs are split themselves, of many the neurons: different code."""
PAIRS, SECONDS = 4, 20


def write_question(folder: Path, inputs: int) -> list[str]:
    """The files of a network and of a property: whether the network exceeds its maximum on [-1, 1]^inputs."""
    model, question = folder / f"{inputs}.onnx", folder / f"{inputs}.vnnlib"
    weight = np.random.default_rng(inputs).standard_normal((inputs, PAIRS)).astype(np.float32)
    signs = np.repeat([[1], [-1]], PAIRS, axis=0).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "both"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("MatMul", ["h", "signs"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", inputs), ("y", 1))]
    stored = [numpy_helper.from_array(np.hstack([weight, -weight]), "both"), numpy_helper.from_array(signs, "signs")]
    graph = helper.make_graph(nodes, "warm", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)

    threshold = 1.02 * np.abs(weight.sum(1)).sum()
    box = [f"(declare-const X_{i} Real) (assert (>= X_{i} -1.0)) (assert (<= X_{i} 1.0))" for i in range(inputs)]
    question.write_text("\n".join([*box, "(declare-const Y_0 Real)", f"(assert (>= Y_0 {threshold:.6f}))"]))
    return [str(model), str(question)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        codes = [main(["verify", *write_question(Path(folder), inputs), "--timeout", str(SECONDS)]) for inputs in INPUTS]
    raise SystemExit(max(codes))
