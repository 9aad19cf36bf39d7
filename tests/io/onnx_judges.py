"""Who says what a node computes: onnxruntime in double precision where it has the kernel, else it in single precision and the standard's
reference implementation in double precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from certify.graph import Graph
from certify.graph.evaluate import evaluate
from tests.io.onnx_samples import Array, Case, model_of

onnxruntime.set_default_logger_severity(4)

SINGLE, DOUBLE = float(np.finfo(np.float32).eps), float(np.finfo(np.float64).eps)
KINDS = {np.dtype(np.float64): TensorProto.DOUBLE, np.dtype(np.float32): TensorProto.FLOAT}


def session_of(case: Case, dtype: Any) -> Any:
    """The case in onnxruntime, None where it has no kernel of that precision for it, or refuses it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        data = model_of(case, KINDS[np.dtype(dtype)]).SerializeToString()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:
        return None


def run(case: Case, session: Any, x: Array) -> Array | None:
    """The output at a point, None where the session refuses it after all."""
    try:
        return np.asarray(session.run(None, {"x": x})[0])
    except Exception:
        return None


class Judges:
    """The sessions of one case, opened once: each gives the output at a point, with the precision that it was computed in."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.double = session_of(case, np.float64)
        self.single = None if self.double else session_of(case, np.float32)
        self.exact = None if self.double and case.op not in ROUNDED else ReferenceEvaluator(model_of(case, TensorProto.DOUBLE))

    @property
    def accepts(self) -> bool:
        """Whether onnxruntime runs the model at all."""
        return self.double is not None or self.single is not None

    def __call__(self, x: Array) -> Iterator[tuple[Array, float]]:
        if self.double is not None:
            wanted = run(self.case, self.double, x.astype(np.float64))
            if wanted is not None:
                yield wanted, SINGLE if self.case.op in ROUNDED else DOUBLE
            if self.case.op not in ROUNDED:
                return
        elif self.single is not None:
            wanted = run(self.case, self.single, x)
            if wanted is not None:
                yield wanted, SINGLE
        if self.case.op not in UNTRUSTED and self.exact is not None:
            with np.errstate(all="ignore"):
                yield np.asarray(self.exact.run(None, {"x": x.astype(np.float64)})[0]), DOUBLE


ROUNDED = ("Gelu", "Sigmoid", "Tanh")
"""Operators whose kernels in double precision have constants of single precision, or ends beyond which they are flat."""

UNTRUSTED: Mapping[str, str] = {
    "AveragePool": "windows of ceil_mode that reach beyond the padding",
    "ConvTranspose": "fails with groups",
    "Erf": "computes in single precision",
    "Gelu": "computes erf in single precision",
    "GlobalMaxPool": "reduces one axis only, of three",
    "HardSwish": "rounds 1/6 to single precision",
    "Mean": "fails where operands broadcast",
    "Resize": "finds the nearest in double precision, and lacks version 10",
    "Pow": "rounds to the integer type of exponents",
    "Upsample": "lacks scales that are no whole numbers",
}
"""Operators whose reference implementation is not what the standard says, and how it differs."""


ULPS = 16.0


def complaints(case: Case, graph: Graph, imported: Graph, judges: Judges, points: list[Array]) -> list[str]:
    """Where a graph, evaluated in double precision, differs from a judge by more than a few units of rounding of the terms that are
    summed; which these are says the graph as it was imported, before it is normalised."""
    found = []
    for x in points:
        exact = x.astype(np.float64)
        got, terms = evaluate(graph, exact), magnitude(imported, exact) + magnitude(graph, exact)
        if case.op in ("Resize", "Upsample"):  # positions between elements are rounded: each has a small part of the next one
            terms = terms + np.abs(exact).max()
        for wanted, eps in judges(x):
            if wanted.shape != got.shape:
                found.append(f"{case}: shape {got.shape}, wanted {wanted.shape}")
                continue
            with np.errstate(all="ignore"):
                limit = np.finfo(np.float32).max if eps == SINGLE else np.inf
                tiny = eps if case.op in ROUNDED and eps == SINGLE else np.finfo(np.float32).tiny if eps == SINGLE else 0.0
                beyond = ~np.isfinite(wanted) & ~(terms < limit)
                near = np.abs(got - wanted) <= ULPS * (eps * (terms + np.abs(got)) + tiny)
                bad = ~(near | (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | beyond)
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                found.append(f"{case}: at {x.ravel()[:8]}, output {at} is {got[at]!r}, wanted {wanted[at]!r} ({eps:.1g})")
    return found


def magnitude(graph: Graph, x: Array) -> Array:
    """The size of the terms that each output sums, so that rounding can be told from error."""
    from certify.graph.evaluate import AFFINE, DEFINITIONS, bound_constants

    values, sizes = {graph.input: x}, {graph.input: np.abs(x)}
    constants = bound_constants(graph, x.dtype)
    with np.errstate(all="ignore"):
        for node in graph.nodes[1:]:
            params = {role: constants[name] for role, name in node.params.items()}
            attrs = {**node.attrs, "value": abs(node.attrs["value"])} if node.op == "pad" else node.attrs
            inputs = [values[name] for name in node.inputs]
            values[node.name] = np.asarray(DEFINITIONS[node.op](*inputs, params=params, attrs=node.attrs))
            before = [sizes[name] for name in node.inputs]
            if node.op in (*AFFINE, "mul", "reduce_max"):
                op = "add" if node.op == "sub" else node.op
                absolute = {role: np.abs(value) for role, value in params.items()}
                sizes[node.name] = np.asarray(DEFINITIONS[op](*before, params=absolute, attrs=attrs))
            else:
                y = np.abs(values[node.name])
                sizes[node.name] = y * (1 + GROWTH.get(node.op, lambda x: 0.0)(before[0])) + CANCELS.get(node.op, lambda x: 0.0)(
                    before[0]
                )
    return sizes[graph.output]


# How the error of a function's argument shows in its value, relatively; and what functions sum themselves.
GROWTH: Mapping[str, Any] = {
    "exp": lambda x: x,
    "pow": lambda x: np.abs(np.log(x)),
    "softplus": lambda x: x,
    "silu": lambda x: x,
    "sigmoid": lambda x: x,
}
CANCELS: Mapping[str, Any] = {
    **dict.fromkeys(("gelu", "gelu_tanh", "mish", "elu", "selu", "celu", "hard_swish"), lambda x: 3 + x),
    "hard_sigmoid": lambda x: 1 + 3 * np.minimum(x, 1e6),
    **dict.fromkeys(("log", "sin", "cos"), lambda x: 1.0),
}
