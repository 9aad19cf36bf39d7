"""The attack: the upper limit of robustness on batches of inputs, and the search for witnesses of a specification."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.io.witness import Witness, replay
from certify.model import Model
from certify.search.descent import Effort, Loss, descend
from certify.search.nearest import Nearest
from certify.search.stage import Problem, Progress, count
from certify.sets import Box, LpBall
from certify.specification import Specification


def pgd(
    model: Model,
    region: Box | LpBall,
    rows: Tensor,
    limits: Tensor | float = 0.0,
    *,
    steps: int = 40,
    restarts: int = 4,
    seed: int = 0,
    deadline: float = inf,
) -> Tensor:
    """Points of the set, one per batch element, that make the least of `rows @ y - limits` as small as the search could: (batch, *input).

    rows is (batch, specs, outputs), such as the margins y_label - y_c, limits (batch, specs): a negative value breaks one. Stops early
    when every batch element is broken. Deterministic for a seed; `deadline` is a time.monotonic() value.
    """

    shift = limits[:, None] if isinstance(limits, Tensor) else limits

    def least_margin(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        value = (torch.einsum("bso,bro->brs", rows, y) - shift).amin(dim=2)
        return value, value

    return descend(model, region, least_margin, Effort(steps, restarts), seed=seed, deadline=deadline)[0]


def attack(
    problem: Problem,
    progress: Progress,
    *,
    steps: int,
    restarts: int,
    share: float,
    draws: int = 1,
    leak: float = 0.0,
    most: int = 1 << 30,
) -> Progress:
    """A stage: looks for a witness of the open clauses (at most so many, spread evenly) for a share of the time left."""
    open_ = np.flatnonzero(progress.open)
    clauses = open_[:: -(-len(open_) // most)]
    witness = find_witness(
        problem.model,
        problem.spec,
        clauses,
        Effort(steps, restarts, draws, leak),
        seed=problem.seed,
        deadline=time.monotonic() + share * problem.remaining(),
        device=problem.device,
        nearest=problem.nearest,
    )
    outcome = "no witness found" if witness is None else "found a witness, replayed in the original model"
    gradients = ", gradients through flat activations" if leak else ""
    line = f"attack ({steps} steps, {restarts} restarts{gradients}) on {count(len(clauses))}: {outcome}"
    return replace(progress, witness=witness).noted(line)


def find_witness(
    model: Model,
    spec: Specification,
    clauses: Sequence[int] | NDArray[np.intp],
    effort: Effort,
    *,
    seed: int = 0,
    deadline: float = inf,
    device: torch.device | str = "cpu",
    nearest: Nearest | None = None,
) -> Witness | None:
    """A point that satisfies one of the clauses (numbers into a bound specification), strictly replayed in the original; or None.

    The search runs inside the sets rounded inward, so that what it finds is a point of the exact set. `nearest` is offered the others.
    """
    attackable = spec.inputs.attackable()
    candidates = np.array([i for i in clauses if attackable[spec.clauses[i].region]], dtype=np.intp)
    most = max(1, min(_MAX_POINTS, _MAX_ELEMENTS // sum(prod(node.shape) for node in model.graph.nodes)))
    effort = replace(effort, restarts=min(effort.restarts, most))
    size = most // effort.restarts
    for start in range(0, len(candidates), size):
        if time.monotonic() > deadline:
            return None
        part = candidates[start : start + size]
        region = spec.inputs.attack_region([spec.clauses[i].region for i in part])
        region = region.map(lambda t: model.to_input(t.reshape(len(t), *model.graph.input_shape)).to(device))
        loss = conjunction(spec, part, device)
        points, values = descend(model, region, loss, effort, seed=seed + start, deadline=deadline)
        if nearest is not None:
            nearest.offer(points.cpu().numpy(), values.cpu().numpy())
        order = values.argsort()[:_MAX_REPLAYS]
        for i in order[values[order] <= _NEAR].tolist():
            found = replay(model, spec, points[i].cpu().numpy(), part[i : i + 1])
            if found.ok:
                return found.witness
    return None


_MAX_POINTS = 8192
_MAX_ELEMENTS = 1 << 26  # node values of all points of one batch
_MAX_REPLAYS = 16
_NEAR = 1e-5  # the original may round the other way


def conjunction(spec: Specification, clauses: Sequence[int] | NDArray[np.intp], device: torch.device | str) -> Loss:
    """The loss of satisfying all atoms of a clause, one clause per batch element.

    With v_j = C_j y + G_j x - rhs_j it descends sum_j max(v_j, 0), and max_j v_j where that has vanished; the value is max_j v_j,
    raised by what float32 evaluation may be off, so that a value below zero is worth a replay.
    """
    rows = [spec.rows(spec.clauses[i]) for i in clauses]
    most = max(1, max(len(r.rhs) for r in rows))

    def stack(parts: Sequence[NDArray[Any]], *width: int) -> Tensor:
        """The parts, one per clause, as one float32 tensor (clauses, most, *width), filled up with zeros."""
        result = torch.zeros(len(parts), most, *width)
        for k, part in enumerate(parts):
            result[k, : len(part)] = torch.from_numpy(part)
        return result.to(device)

    C, rhs = stack([r.outputs for r in rows], spec.outputs), stack([r.rhs for r in rows])[:, None]
    present = stack([np.ones(len(r.rhs)) for r in rows])[:, None] > 0
    mixed = any(r.inputs is not None for r in rows)
    empty = np.zeros((0, spec.inputs.size))
    G = stack([empty if r.inputs is None else r.inputs for r in rows], spec.inputs.size) if mixed else None

    def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.einsum("bao,bro->bra", C, y) - rhs
        if G is not None:
            value = value + torch.einsum("bai,bri->bra", G, x)
        value = value + _ROUNDING * (torch.einsum("bao,bro->bra", C.abs(), y.detach().abs()) + rhs.abs())
        worst = torch.where(present, value, -inf).amax(dim=2)
        hinge = torch.where(present, torch.relu(value), 0.0).sum(dim=2)
        return hinge + _BEYOND * torch.where(torch.isfinite(worst), worst, 0.0), worst

    return loss


_ROUNDING = 1e-6
_BEYOND = 0.01  # weight of going on once all atoms hold: a strict replay wants more than equality
