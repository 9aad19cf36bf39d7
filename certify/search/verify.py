"""Verification: attack, then bounds from the cheapest to the tightest, until every clause is excluded or one is satisfied."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf

import numpy as np
import torch

from certify.bounds.compute import METHODS
from certify.graph import GraphError
from certify.io.witness import Question
from certify.model import Model
from certify.search.attack import find_witness
from certify.search.descent import Effort
from certify.search.problem import tabulate
from certify.search.proving import lower_bounds
from certify.search.result import Result, Verdict
from certify.search.stage import Problem, Progress, Stage, count


def _attack(problem: Problem, progress: Progress, *, effort: Effort, share: float, most: int = 1 << 30) -> Progress:
    """Looks for a witness of the open clauses (at most so many, spread evenly) for a share of the time left."""
    open_ = np.flatnonzero(progress.open)
    clauses = open_[:: -(-len(open_) // most)]
    witness = find_witness(
        problem.model,
        problem.spec,
        clauses,
        effort,
        seed=problem.seed,
        deadline=time.monotonic() + share * problem.remaining(),
        device=problem.device,
    )
    outcome = "no witness found" if witness is None else "found a witness, replayed in the original model"
    line = f"attack ({effort.steps} steps, {effort.restarts} restarts) on {count(len(clauses))}: {outcome}"
    return replace(progress, witness=witness, log=(*progress.log, line))


def _bound(problem: Problem, progress: Progress, *, method: str) -> Progress:
    """Excludes clauses one of whose atoms is bounded away from its right-hand side."""
    table = problem.table
    atoms = table.of_clauses(progress.open)
    before = int(progress.open.sum())
    try:
        lower = lower_bounds(problem.model, problem.spec, table, atoms, method, deadline=problem.deadline, device=problem.device)
    except GraphError as error:
        return replace(progress, log=(*progress.log, f"{method}: gives no bounds here: {error}"))
    excluded = (lower > table.rhs[atoms]) | (table.strict[atoms] & (lower >= table.rhs[atoms]))
    open_ = progress.open.copy()
    open_[table.clause[atoms[excluded]]] = False
    margin = progress.margin.copy()
    # Rounded down, so that the figure is as safe as the verdict.
    np.maximum.at(margin, table.clause[atoms], np.nextafter(lower - table.rhs[atoms], -inf))
    line = f"{method} on {count(before)}: {before - int(open_.sum())} excluded, least margin {margin[progress.open].min():.6g}"
    return replace(progress, open=open_, margin=margin, log=(*progress.log, line))


_QUICK = Stage("attack", partial(_attack, effort=Effort(steps=20, restarts=4), share=0.1, most=256))
_THOROUGH = Stage("attack", partial(_attack, effort=Effort(steps=100, restarts=16), share=0.2))
# Many random draws are what finds small unsafe regions in few dimensions, where gradients lead elsewhere.
_LAST = Stage("attack", partial(_attack, effort=Effort(steps=50, restarts=256, draws=100), share=0.5))
_BOUNDS = {method: Stage(method, partial(_bound, method=method)) for method in METHODS}

PLANS: Mapping[str, Sequence[Stage]] = {
    "auto": (_QUICK, _BOUNDS["ibp"], _BOUNDS["crown"], _THOROUGH, _BOUNDS["alpha-crown"], _LAST),
    **{method: (_QUICK, stage, _THOROUGH) for method, stage in _BOUNDS.items()},
}
"""What each method does, in order; a stage sees only what the earlier ones left open."""


def verify(
    model: Model,
    spec: Question,
    *,
    timeout: float | None = 60.0,
    method: str = "auto",
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Result:
    """Decides whether the network shows the unsafe behaviour: `unsat` is a proof that it does not, `sat` has a replayed witness.

    `method` is a key of `PLANS`; `timeout` is in seconds and checked between steps. Deterministic for a seed, time limits apart.
    ValueError where the property does not fit the network, or where something is NaN: there is no verdict then.
    """
    if method not in PLANS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(PLANS)}")
    started = time.monotonic()
    bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
    model.program(torch.float64, device)  # refuses operators without a rule, by name, before any work
    deadline = inf if timeout is None else started + timeout
    problem = Problem(model, bound, tabulate(bound), deadline, device, seed)
    progress, notes = _start(problem)
    progress, finished = _run(problem, progress, PLANS[method])
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
        notes = (*notes, f"{barren} of {len(regions)} input sets hold no float32 point: no witness from them can be replayed")
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
