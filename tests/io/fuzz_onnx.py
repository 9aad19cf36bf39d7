"""Every ONNX operator that is imported, with random attributes at several versions, against those who say what it computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from certify.graph import GraphError
from certify.io.onnx import read_onnx
from certify.io.onnx.importer import import_model
from tests.io.onnx_judges import Judges, complaints
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


REFUSED_FORMS = (
    "has auto_pad and dilations",  # onnxruntime does not do what the standard says
    "is a constant: it does not depend on the model's input",  # nothing to verify
    "auto_pad wants more than the full output",  # nor here
)
"""Forms of operators that are refused on purpose: parts of the messages."""
