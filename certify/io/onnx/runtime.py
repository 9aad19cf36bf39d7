"""onnxruntime, the judge: it replays witnesses, and every imported graph is held against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from certify.graph import Graph, GraphError, Shape
from certify.graph.evaluate import bound_constants, evaluate

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
        """The output at one point."""
        return np.asarray(self.session.run(None, {self.name: np.asarray(x, self.dtype).reshape(self.shape)})[0])


def open_reference(model: ModelProto, graph: Graph) -> Reference:
    """The original of a graph in onnxruntime, on one thread; a `GraphError` where onnxruntime does not accept the model."""
    import onnxruntime  # slow to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common class
        raise GraphError(f"onnxruntime cannot run this model: {str(error).splitlines()[0]}") from error
    entry = session.get_inputs()[0]
    return Reference(session, entry.name, graph.input_shape, np.dtype(ELEMENT_TYPES[entry.type]))


# How far onnxruntime may be from the graph in float64: this many times what rounding does to our evaluation in the model's own
# precision, plus a small part of the largest output, as onnxruntime approximates exp, tanh and erf to a few units of 1e-7.
ROUNDINGS = 100.0
APPROXIMATION = 1e-5


def compare(graph: Graph, reference: Reference) -> None:
    """Raises a `GraphError` where a graph and its original differ, at a few random points, by more than rounding explains."""
    points = _points(graph.input_shape, reference.dtype)
    original = np.stack([_run(reference, x) for x in points])
    exact, rounded = (_evaluate(graph, points, np.dtype(dtype)) for dtype in (np.float64, reference.dtype))
    if original.shape != exact.shape:
        raise GraphError(f"the imported graph has outputs of shape {list(exact.shape[1:])}, onnxruntime {list(original.shape[1:])}")
    finite = np.isfinite(original)
    if not finite.any():
        raise GraphError("the model's outputs are NaN or infinite at all points tried; it cannot be verified")
    if (finite != np.isfinite(rounded)).any():
        raise GraphError(f"the imported graph and onnxruntime disagree on which outputs are finite{_REPORT}")
    noise, scale = _largest(rounded - exact, finite), _largest(exact, finite)
    difference = _largest(original - exact, finite)
    if not difference <= ROUNDINGS * noise + APPROXIMATION * scale:
        raise GraphError(
            f"the imported graph differs from onnxruntime by {difference:.3g}, where outputs reach {scale:.3g} and rounding "
            f"explains about {noise:.1g}{_REPORT}"
        )


_REPORT = "; this is an error in the importer: please report it with the model"


def _points(shape: Shape, dtype: np.dtype) -> list[Array]:
    """An image, and values of either sign: always the same, so that a model loads always or never."""
    random = np.random.default_rng(0)
    return [draw(shape).astype(dtype) for draw in (random.random, random.standard_normal)]


def _run(reference: Reference, x: Array) -> Array:
    try:
        return reference(x)
    except Exception as error:  # onnxruntime's errors have no common class
        raise GraphError(f"onnxruntime cannot evaluate this model: {str(error).splitlines()[0]}") from error


def _evaluate(graph: Graph, points: list[Array], dtype: np.dtype) -> Array:
    constants = bound_constants(graph, dtype)
    return np.stack([evaluate(graph, x.astype(dtype), constants) for x in points])


def _largest(values: Array, where: Array) -> float:
    return float(np.abs(values[where].astype(np.float64)).max(initial=0.0))
