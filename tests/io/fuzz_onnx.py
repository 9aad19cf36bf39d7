"""Every ONNX operator that is imported, with random attributes at several versions, against those who say what it computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from certify.graph import GraphError
from certify.graph.evaluate import evaluate
from certify.io.onnx import load_onnx, read_onnx
from certify.io.onnx.importer import import_model
from tests.io.onnx_judges import Judges, complaints
from tests.io.onnx_mutations import damaged
from tests.io.onnx_samples import SAMPLES, Case, model_of, points


def disagreements(operators: Iterable[str], seeds: Iterable[int]) -> Iterator[str]:
    """What is wrong, one line each: a graph, as imported or normalised, that computes something else than the model, and a node that
    is refused but not in `REFUSED_FORMS`."""
    for op in operators:
        for seed in seeds:
            random = np.random.default_rng([seed, *map(ord, op)])
            case = SAMPLES[op](random)
            yield from examined(case, random)


def examined(case: Case, random: np.random.Generator) -> list[str]:
    """What is wrong with one case."""
    model, judges = model_of(case), Judges(case)
    if not judges.accepts:
        return []
    try:
        imported, graph = import_model(model), read_onnx(model)
    except GraphError as error:
        known = any(reason in str(error) for reason in REFUSED_FORMS)
        return [] if known else [f"{case}: refused, though onnxruntime runs it: {error}"]
    at = points(random, case)
    return [line for found in (imported, graph) for line in complaints(case, found, imported, judges, at)]


def mishaps(seeds: Iterable[int]) -> Iterator[str]:
    """What damaged files do wrong, one line each: no one-line error and no model that agrees with its runtime, or too late."""
    for seed in seeds:
        start = time.process_time()
        try:
            message = outcome(damaged(np.random.default_rng(seed)))
        except Exception as error:  # whatever else comes out is what is looked for
            message = f"please report {type(error).__name__}: {error}"
        if "\n" in message or "please report" in message:
            yield f"{seed}: {message}"
        if time.process_time() - start > SLOW:
            yield f"{seed}: takes {time.process_time() - start:.1f} s"


SLOW = 10.0
"""Seconds of processor time for what may be a large model in earnest."""


def outcome(data: bytes) -> str:
    """What loading does: "loaded", or the message of the error. An AssertionError where the model differs from its runtime."""
    try:
        model = load_onnx(data)
    except GraphError as error:
        return str(error)
    x = np.random.default_rng(0).normal(size=model.graph.input_shape).astype(np.float32)
    assert model.reference is not None
    wanted, found = np.asarray(model.reference(x), np.float64), evaluate(model.graph, x.astype(np.float64))
    finite = np.isfinite(wanted) & np.isfinite(found)
    assert np.allclose(found[finite], wanted[finite], rtol=1e-3, atol=1e-3 * np.abs(found[finite]).max(initial=1e-6))
    return "loaded"


REFUSED_FORMS = (
    "has auto_pad and dilations",  # onnxruntime does not do what the standard says
    "leaves nothing of an axis",  # tensors without elements
    "is a constant: it does not depend on the model's input",  # nothing to verify
    "auto_pad wants more than the full output",  # nor here
)
"""Forms of operators that are refused on purpose: parts of the messages."""
