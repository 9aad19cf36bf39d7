"""Verification: stages from the cheapest to the strongest, until every clause is excluded or one is satisfied. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from certify.environment import proving
from certify.graph import Graph
from certify.graph.formats import FORMATS
from certify.io.witness import Question, replay
from certify.search.chain import is_chain
from certify.search.comparison import compare_on_sets
from certify.search.evidence import Discard, Evidence
from certify.search.exact_point import any_point, witness_at
from certify.search.plan import choose
from certify.search.problem import tabulate
from certify.search.result import Result, Verdict
from certify.search.stage import Problem, Progress, Stage, count
from certify.specification import simplify

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
    _refuse_unsupported(model.graph)
    bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
    simple = simplify(replace(bound, inputs=bound.inputs.on_grid(FORMATS[model.precision].grid)))
    deadline = inf if timeout is None else started + timeout
    problem = Problem(model, simple.spec, tabulate(simple.spec), deadline, device, seed, evidence)
    why, stages = choose(problem, method)
    progress, notes = _start(problem, simple.possible)
    progress = progress.noted(why)
    certain = progress.open & np.array([not clause.atoms for clause in simple.spec.clauses], dtype=bool)
    if certain.any():
        progress = _satisfied(problem, progress, np.flatnonzero(certain))
    # No stage sees a clause without conditions: there is nothing to bound, and nothing to be excluded by.
    progress, finished = _run(problem, replace(progress, open=progress.open & ~certain), stages)
    progress = replace(progress, open=progress.open | certain)
    if progress.witness is None and not progress.open.any():
        progress = progress.noted(compare_on_sets(problem))
    return _conclude(problem, progress, finished, notes, time.monotonic() - started)


def _refuse_unsupported(graph: Graph) -> None:
    """A `GraphError` that names an operator without a rule, whatever the plan. The table of rules is torch's: chains are fine without."""
    if not is_chain(graph):
        from certify.operators.program import refuse_unsupported

        refuse_unsupported(graph)


def _start(problem: Problem, possible: NDArray[np.bool_]) -> tuple[Progress, tuple[str, ...]]:
    """All clauses open, but those whose input set is empty or whose conditions contradict each other."""
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
    contradictory = int((nonempty & ~possible).sum())
    log = (
        *notes,
        *([f"exact arithmetic: the conditions of {count(contradictory)} contradict each other"] if contradictory else []),
    )
    return Progress(possible, np.where(possible, -inf, inf), log=log), notes


def _satisfied(problem: Problem, progress: Progress, clauses: NDArray[np.intp]) -> Progress:
    """With a witness of a clause without conditions, if one can be run: any point of its input set will do."""
    for k in clauses.tolist():
        point = any_point(problem.spec, k)
        tried = replay(problem.model, problem.spec, np.array([float(v) for v in point]), np.array([k], dtype=np.intp))
        witness = tried.witness if tried.ok else witness_at(problem.model, problem.spec, k, point)
        if witness is not None:
            return replace(progress, witness=witness).noted(f"clause {k} has no conditions: a point of its input set satisfies it")
    return progress.noted(
        f"{count(len(clauses))} without conditions: every point of the input set is unsafe, none that can be run was found"
    )


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
