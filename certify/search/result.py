"""What a verification returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from certify.io.witness import Witness

Verdict = Literal["unsat", "sat", "unknown", "timed-out"]


@dataclass(frozen=True)
class Result:
    """The verdict on a specification, and what it rests on.

    verdict  "unsat": proved, in real arithmetic on the stored weights, for every point of every input set. "sat": `witness`
             satisfies a clause exactly when it is run in the original model. "unknown": neither, with all that was allowed.
             "timed-out": neither, in the time allowed.
    bound    the least proved margin over clauses, max over atoms of (lower bound of the left side) - rhs. Not negative where all
             clauses are excluded: a search that cuts off what is unsafe proves zero and no more. None where nothing was bounded.
    plan     what was done and why, one line a step. `notes` say what a reader of the verdict should know about the property.
    stats    figures: seconds by step, number of clauses, ...
    """

    verdict: Verdict
    witness: Witness | None = None
    bound: float | None = None
    plan: str = ""
    stats: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
