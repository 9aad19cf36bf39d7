"""onnxruntime, the judge: it replays witnesses, and every imported graph is held against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from certify.graph import Graph, GraphError, Shape
from certify.io.agreement import in_agreement

Array = np.ndarray

ELEMENT_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class Reference:
    """A model in onnxruntime on the CPU: maps an array of `shape` to the array of outputs. It computes in `dtype`."""

    session: Any
    name: str
    shape: Shape
    dtype: np.dtype

    def __call__(self, x: Array) -> Array:
        """The output at one point, which is rounded to `dtype`; a `GraphError` where onnxruntime gives none."""
        try:
            return np.asarray(self.session.run(None, {self.name: np.asarray(x, self.dtype).reshape(self.shape)})[0])
        except Exception as error:  # onnxruntime's errors have no common class
            raise GraphError(f"onnxruntime cannot evaluate this model: {str(error).splitlines()[0]}") from error


def open_reference(model: ModelProto, graph: Graph) -> Reference:
    """The original of a graph in onnxruntime, on one thread; a `GraphError` where onnxruntime does not accept the model."""
    import onnxruntime  # slow to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Else activations may be quantised in front of weights that are kept as int8, which is another function.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise GraphError(f"onnxruntime cannot run this model: {str(error).splitlines()[0]}") from error
    entry = session.get_inputs()[0]
    return Reference(session, entry.name, graph.input_shape, np.dtype(ELEMENT_TYPES[entry.type]))


def compare(graph: Graph, reference: Reference, read: Callable[[], Graph]) -> Graph:
    """The graph, held against its original: a `GraphError` where they differ in some output by more than rounding explains.

    No error where the model is defined at none of the points tried: it is compared again on the set that is asked about. `read` makes
    the graph as it was read, before it was rewritten, for the rounding of its operators.
    """
    return in_agreement(graph, read, reference, reference.dtype.name, "onnxruntime")
