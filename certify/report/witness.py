"""Checks a witness again: the point as the tool wrote it, run in onnxruntime, held against the property by each year's rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np
from numpy.typing import NDArray

from certify.io.witness import read_assignment
from certify.report.replay import Files, UnreadableError
from certify.report.score import RULES, Finding, Findings, Rule
from certify.report.store import Result
from certify.specification import Specification
from certify.specification.inputs import Boxes
from certify.specification.specification import Clause


@dataclass(frozen=True)
class Replay:
    """A point as written with the outputs as `said`, and onnxruntime's outputs `y` for it; all flat and finite but for `said`.

    `rounded` is the point in float32, or in the model's format where that is coarser: what was run in truth.
    """

    x: NDArray[np.float64]
    said: NDArray[np.float64]
    y: NDArray[np.floating]
    rounded: NDArray[np.float64]


def check(result: Result, files: Files) -> Findings:
    """What every rule says of the witness of a result that is `sat`."""
    if not result.outcome.witness:
        return _all(Finding("missing", "the result has no witness"))
    try:
        specification, network = files.open(result.instance)
    except UnreadableError as error:
        return _all(Finding("unchecked", str(error)))
    try:
        x, said = read_assignment(specification, result.outcome.witness)
    except ValueError as error:
        return _all(Finding("malformed", str(error)))
    if not (np.abs(x) <= np.finfo(np.float32).max).all():
        return _all(Finding("invalid", "not all inputs are finite float32 numbers"))
    try:
        y = network(x)
    except Exception as error:  # onnxruntime's errors have no common class
        return _all(Finding("unchecked", f"the model cannot be run ({' '.join(str(error).split())[:200]})"))
    if y.size != specification.outputs:
        return _all(Finding("unchecked", f"the property speaks of {specification.outputs} outputs, the model has {y.size}"))
    if not np.isfinite(y).all():
        return _all(Finding("invalid", "onnxruntime's output is not finite"))
    rounded = x.astype(min(network.dtype, np.dtype(np.float32), key=lambda dtype: dtype.itemsize)).astype(np.float64)
    return {name: judge(rule, specification, Replay(x, said, y, rounded)) for name, rule in RULES.items()}


def judge(rule: Rule, specification: Specification, replay: Replay) -> Finding:
    """What one rule says. Inside and true is exact arithmetic; what a tolerance allows is compared in float64."""
    apart = _deviation(replay)
    if rule.outputs is not None and not apart <= rule.outputs:
        return Finding(
            "invalid", f"the outputs differ from onnxruntime's by {apart:.2g} of the largest, {rule.outputs:g} is allowed"
        )
    x = replay.rounded if rule.rounded else replay.x
    if any(specification.holds(clause, x, replay.y) for clause in specification.clauses):
        return Finding("correct")
    outside = _distances(specification, x)
    near = [clause for clause in specification.clauses if outside[clause.region] <= rule.box]
    if not near:
        return Finding("invalid", f"the point lies outside the input set, by {outside.min():.2g} in some coordinate")
    if any(_holds(clause, x, replay.y, Fraction(rule.atoms)) for clause in near):
        return Finding("tolerance", f"outside the input set by {outside.min():.2g}" if outside.min() > 0 else "conditions missed")
    return Finding("invalid", "the output satisfies no clause of the property")


def _all(finding: Finding) -> Findings:
    return dict.fromkeys(RULES, finding)


def _deviation(replay: Replay) -> float:
    """The largest difference of the tool's outputs from onnxruntime's, relative to the largest of these; NaN where one is NaN."""
    y = replay.y.astype(np.float64)
    return float(np.abs(replay.said - y).max() / max(np.abs(y).max(), np.finfo(np.float32).tiny))


def _distances(specification: Specification, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the point lies outside each input box, in its worst coordinate; 0 inside."""
    lower, upper = cast(Boxes, specification.inputs).outward()  # files declare nothing else
    return np.maximum(lower - x, x - upper).max(axis=1, initial=0.0)


def _holds(clause: Clause, x: NDArray[np.float64], y: NDArray[np.floating], tolerance: Fraction) -> bool:
    return all(replace(atom, rhs=atom.rhs + tolerance).holds(x, y) for atom in clause.atoms)
