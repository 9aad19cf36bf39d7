"""Points by the rules of VNN-COMP: what a witness is worth, and what a verdict.

Both years give 10 points for a right verdict, take 150 for a wrong `unsat` and for a `sat` without a valid witness, and give none
for anything else. They differ in what makes a witness valid, in which witnesses refute an `unsat`, and in late answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from certify.report.store import Result

Status = Literal["correct", "tolerance", "invalid", "malformed", "missing", "unchecked"]

RIGHT, WRONG = 10, -150
ACCEPTED: tuple[Status, ...] = ("correct", "tolerance")


@dataclass(frozen=True)
class Finding:
    """What a rule says of a witness, and why.

    "correct": inside the exact input set, all conditions exactly true. "tolerance": true within the rule's tolerances only.
    "unchecked": the model or the property could not be read, or is not the one of the run; neither accepted nor rejected.
    """

    status: Status
    reason: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the rule takes it for a witness."""
        return self.status in ACCEPTED


@dataclass(frozen=True)
class Rule:
    """A year's rule. `box` and `atoms` are absolute tolerances, of inputs and of conditions.

    The inputs are taken as written, or `rounded` to float32 first (to float16 for a model that takes such). `outputs` is how far the
    tool's own outputs may be from onnxruntime's, relative to the largest; None where nobody asks. Witnesses with a status in
    `refuting` make another tool's `unsat` wrong. `late_counts` is whether an answer after the time limit counts.
    """

    name: str
    box: float
    atoms: float
    rounded: bool
    outputs: float | None
    refuting: tuple[Status, ...]
    late_counts: bool


RULES: Mapping[str, Rule] = {
    "2025": Rule("2025", box=1e-4, atoms=1e-4, rounded=False, outputs=1e-3, refuting=ACCEPTED, late_counts=True),
    "2026": Rule("2026", box=1e-4, atoms=0.0, rounded=True, outputs=None, refuting=("correct",), late_counts=False),
}

STRICT = "2026"
"""The rule under which "correct" means a float32 point of the exact set with all conditions exactly true."""

Findings = Mapping[str, Finding]
"""What each rule says of one witness; empty where the verdict is not `sat`."""


def points(rule: Rule, result: Result, own: Finding | None, other: Finding | None = None) -> int:
    """The points of a verdict; `own` is what the rule says of its witness, `other` of another tool's on the same instance.

    An expected verdict refutes one that contradicts it, unless an accepted witness stands against the expectation. A witness that
    was not checked earns nothing and costs nothing.
    """
    if not result.solved or (result.outcome.seconds > result.instance.timeout and not rule.late_counts):
        return 0
    if result.outcome.verdict == "unsat":
        refuted = result.wrong or (other is not None and other.status in rule.refuting)
        return WRONG if refuted else RIGHT
    if own is None or (own.status == "unchecked" and not result.wrong):
        return 0
    return RIGHT if own.accepted else WRONG


def exact(findings: Findings) -> bool:
    """Whether a witness holds without any tolerance: then the answer is `sat`, whatever anybody expects."""
    return STRICT in findings and findings[STRICT].status == "correct"


def score(earned: int, reachable: int) -> float:
    """Points in per cent of those that could be had, not below 0; 0 where there were none."""
    return max(0.0, 100.0 * earned / reachable) if reachable else 0.0
