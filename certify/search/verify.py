"""Verification: stages from the cheapest to the strongest, until every clause is excluded or one is satisfied. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from certify.environment import proving
from certify.graph.formats import FORMATS
from certify.io.witness import Question
from certify.search.comparison import compare_on_sets
from certify.search.evidence import Discard, Evidence
from certify.search.plan import choose
from certify.search.problem import tabulate
from certify.search.result import Result, Verdict
from certify.search.stage import Problem, Progress, Stage, count

if TYPE_CHECKING:
    import torch

    from certify.model import Model


def verify(
    model: Model,
    spec: Question,
    *,
    timeout: float | None = 60.0,
    method: str = "auto",
    device: torch.device | str = "cpu",
    seed: int = 0,
    evidence: Evidence | None = None,
) -> Result:
    """Decides whether the network shows the unsafe behaviour: `unsat` is a proof that it does not, `sat` has a replayed witness.

    `method` is "auto" or one of `plan.METHODS`; `timeout` is in seconds and checked between steps; `evidence` receives what a proof needs
    of every closed domain. Time limits apart, the verdict is deterministic for a seed; which witness is found and what margin is proved
    may depend on timing, where threads share a search.
    ValueError where the property does not fit the network, where something is NaN, or where the graph of which all was proved differs
    from the original model on the sets: there is no verdict then.
    """
    with proving(device=device):
        return _verify(model.frozen(), spec, timeout, method, device, seed, evidence or Discard())


def _verify(
    model: Model,
    spec: Question,
    timeout: float | None,
    method: str,
    device: torch.device | str,
    seed: int,
    evidence: Evidence,
) -> Result:
    started = time.monotonic()
    bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
    bound = replace(bound, inputs=bound.inputs.on_grid(FORMATS[model.precision].grid))
    deadline = inf if timeout is None else started + timeout
    problem = Problem(model, bound, tabulate(bound), deadline, device, seed, evidence)
    why, stages = choose(problem, method)
    progress, notes = _start(problem)
    progress, finished = _run(problem, progress.noted(why), stages)
    if progress.witness is None and not progress.open.any():
        progress = progress.noted(compare_on_sets(problem))
    return _conclude(problem, progress, finished, notes, time.monotonic() - started)


def _start(problem: Problem) -> tuple[Progress, tuple[str, ...]]:
    """All clauses open, but those whose input set is empty."""
    spec = problem.spec
    nonempty = spec.nonempty()
    notes, empty = spec.notes, int((~nonempty).sum())
    if empty:
        notes = (*notes, f"{empty} of {count(len(nonempty))} have an empty input set (a lower bound above its upper bound)")
    regions = np.unique([clause.region for clause, some in zip(spec.clauses, nonempty, strict=True) if some]).astype(np.intp)
    barren = int((~spec.inputs.attackable()[regions]).sum())
    if barren:
        consequence = "a witness there is a decimal point" if problem.model.takes_decimals else "no witness can be run there"
        grid = np.dtype(spec.inputs.grid).name
        notes = (*notes, f"{barren} of {len(regions)} input sets hold no {grid} point: {consequence}")
    return Progress(nonempty, np.where(nonempty, -inf, inf), log=notes), notes


def _run(problem: Problem, progress: Progress, plan: Sequence[Stage]) -> tuple[Progress, bool]:
    """Goes through the stages until the question is decided or the time is up; the second value says that time did not stop it."""
    for stage in plan:
        if progress.decided:
            break
        if problem.remaining() <= 0:
            return replace(progress, log=(*progress.log, f"time is up before {stage.name}")), False
        started = time.monotonic()
        progress = stage.run(problem, progress)
        progress = replace(progress, seconds=(*progress.seconds, (stage.name, time.monotonic() - started)))
    return progress, progress.decided or problem.remaining() > 0


def _conclude(problem: Problem, progress: Progress, finished: bool, notes: tuple[str, ...], seconds: float) -> Result:
    verdict: Verdict = "unknown" if finished else "timed-out"
    if progress.witness is not None:
        verdict = "sat"
    elif not progress.open.any():
        verdict = "unsat"
    least = float(progress.margin.min(initial=inf))
    stats = {
        "seconds": seconds,
        "stages": progress.seconds,
        "clauses": len(progress.open),
        "open": int(progress.open.sum()),
        "atoms": len(problem.table.rhs),
    }
    return Result(verdict, progress.witness, least if np.isfinite(least) else None, "\n".join(progress.log), stats, notes)
