"""Bounds of a network's outputs, of rows of an objective, or of any node: every method behind one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.alpha import optimised_lower_bound, tighten_optimised
from certify.bounds.backward import lower_bound, over_intervals, pull_back, rows_per_chunk, tighten_backward
from certify.bounds.budget import DEFAULT_BUDGET, DEFAULT_MEMORY, Budget
from certify.bounds.forward import ForwardForms
from certify.bounds.interval import Interval
from certify.bounds.relaxed import Region, Relaxed, Tighten, is_affine, refuse_nan, relax_network
from certify.bounds.rounding import NEAREST, Rounding
from certify.environment import own_settings, proving
from certify.graph import Node
from certify.operators.program import Program
from certify.operators.rows import DenseRows, Rows, UnitRows
from certify.operators.table import OPS


@dataclass(frozen=True)
class Objective:
    """Rows to be bounded from below: row r is `outputs[r] @ node (+ inputs[r] @ x)` on the set of batch element `owner[r]`."""

    owner: Tensor
    outputs: Rows
    inputs: Rows | None = None

    def chunks(self, size: int) -> list[Objective]:
        """The same rows in pieces of at most `size`."""
        count = len(self.owner)
        if count <= size:
            return [self]
        pieces = [slice(i, min(i + size, count)) for i in range(0, count, size)]
        return [Objective(self.owner[p], self.outputs.select(p), self.inputs.select(p) if self.inputs else None) for p in pieces]


@dataclass(frozen=True)
class Method:
    """How intermediate bounds are tightened, and how the rows of the objective are bounded on the relaxed network."""

    tighten: Callable[[Region], Tighten | None]
    """For one set; None where interval bounds stay as they are."""
    bound: Callable[[Relaxed, Mapping[str, Rows], Tensor], Tensor]


def _first_affine(relaxed: Relaxed, node: Node, mask: Tensor) -> Interval:
    """Keeps interval bounds, but for affine functions of a ball, which get their exact bounds."""
    return tighten_backward(relaxed, node, mask) if is_affine(relaxed, node.name) else relaxed.intervals[node.name]


def _intervals(region: Region) -> Tighten | None:
    """Interval bounds of affine functions of a box are exact already."""
    return None if region.box is region else _first_affine


def _interval_bound(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor) -> Tensor:
    """Interval arithmetic that counts the affine maps behind the last nonlinear nodes as part of the objective (arXiv 1810.12715)."""
    left, constant, _ = pull_back(relaxed, start, owner, relaxed.steps, through=lambda node: OPS[node.op].affine)
    return over_intervals(relaxed, left, constant, owner)


_MOST_DIRECT = 1 << 22
"""Coefficients of rows that are also bounded where they start."""


def _at_ends(relaxed: Relaxed, start: Mapping[str, Rows], owner: Tensor) -> Tensor:
    """The rows bounded by the intervals of the very nodes they are over, without any loss where nothing is rounded.

    An interval may end exactly where the function's range does: a ReLU at 0, a clip at its limit. A product with 0 is exact, and so is
    one with 1 or -1; a sum of zeros and of one number more is that number. Else the sum of products errs by gamma times its own terms.
    """
    terms, exact = [], []
    for name, rows in start.items():
        a = rows.dense().flatten(1)
        l, u = (end.flatten(1)[owner] for end in relaxed.intervals[name])
        ends = torch.where(a > 0, l, torch.where(a < 0, u, 0.0))
        terms.append(a * ends)
        exact.append((a.abs() == 1) | (ends == 0))
    products = torch.cat(terms, dim=1)
    several = ((products != 0) | ~torch.cat(exact, dim=1)).sum(dim=1) > 1
    rounded = several | ~torch.cat(exact, dim=1).all(dim=1)
    lost = relaxed.rounding.gamma(products.shape[1], products.dtype) * (
        products.abs().sum(dim=1) + torch.finfo(products.dtype).tiny
    )
    return products.sum(dim=1) - torch.where(rounded, lost, 0.0)


METHODS: Mapping[str, Method] = {
    "ibp": Method(_intervals, _interval_bound),
    "crown-ibp": Method(_intervals, lower_bound),
    "crown": Method(lambda region: tighten_backward, lower_bound),
    "forward": Method(lambda region: ForwardForms(), lower_bound),
    "alpha-crown": Method(lambda region: tighten_optimised, optimised_lower_bound),
}


def relax(
    program: Program,
    region: Region,
    method: str,
    *,
    target: str | None = None,
    rounding: Rounding = NEAREST,
    budget: Budget = DEFAULT_BUDGET,
) -> Relaxed:
    """Relaxes the network up to `target` (default: its output) over `region`, with the intermediate bounds of `method`."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    region = region.simplest
    relaxed = relax_network(program, region, target or program.graph.output, METHODS[method].tighten(region), rounding, budget)
    refuse_nan(relaxed.intervals)
    return relaxed


def bound_rows(relaxed: Relaxed, objective: Objective, method: str, *, target: str | None = None) -> Tensor:
    """A lower bound of every row of the objective, (rows,): the better of its method's and of interval arithmetic's."""
    graph = relaxed.program.graph
    name = target or graph.output
    size = rows_per_chunk(relaxed, name)
    found = []
    for part in objective.chunks(size):
        start = {name: part.outputs} if part.inputs is None else {name: part.outputs, graph.input: part.inputs}
        bound = METHODS[method].bound(relaxed, start, part.owner)
        if METHODS[method].bound is not _interval_bound:
            # Coefficients that overflow say nothing, and leave NaN: what interval arithmetic says stands.
            bound = torch.fmax(bound, _interval_bound(relaxed, start, part.owner))
        if relaxed.rounding.active and len(part.owner) * relaxed.intervals[name][0][0].numel() <= _MOST_DIRECT:
            bound = torch.fmax(bound, _at_ends(relaxed, start, part.owner))
        found.append(bound)
    bounds = torch.cat(found) if len(found) != 1 else found[0]
    if bool(torch.isnan(bounds).any()):
        raise ValueError("a bound is NaN: values overflow on this input set; use float64 or a smaller set")
    return bounds


def arithmetic(program: Program, rounding: Rounding) -> AbstractContextManager[None]:
    """What is computed inside is computed in the precision that outward rounding allows for, and in that of the program."""
    if not rounding.active:
        return own_settings()
    if program.graph.derived:
        raise ValueError("constants that are derived from live parameters are rounded by no known amount; bound `Model.frozen()`")
    return proving(program.dtype, program.device)


def compute_bounds(
    program: Program,
    region: Region,
    method: str = "crown",
    objective: Tensor | None = None,
    *,
    node: str | None = None,
    rounding: Rounding = NEAREST,
    memory: int = DEFAULT_MEMORY,
) -> tuple[Tensor, Tensor]:
    """lower <= value <= upper for every point of the set: of a node (default: the output), (batch, *shape), or of rows of an objective.

    `region` is (batch, *graph.input_shape) in the program's dtype; `objective` is (specs, n) or (batch, specs, n) over the n elements
    of the node, and gives bounds (batch, specs). Differentiable in weights and region, alpha-crown excepted. With `rounding=OUTWARD`
    the bounds hold in real arithmetic; with NEAREST they are within rounding of bounds that do.
    """
    with arithmetic(program, rounding):
        return _compute_bounds(program, region, method, objective, node, rounding, Budget(memory))


def _compute_bounds(
    program: Program,
    region: Region,
    method: str,
    objective: Tensor | None,
    node: str | None,
    rounding: Rounding,
    budget: Budget,
) -> tuple[Tensor, Tensor]:
    target = program.graph.node(node or program.graph.output)
    relaxed = relax(program, region, method, target=target.name, rounding=rounding, budget=budget)
    if objective is None and METHODS[method].bound is _interval_bound and not (relaxed.ball and target.name in relaxed.ball.loose):
        return relaxed.intervals[target.name]
    rows, shape = _unit_objective(relaxed, target) if objective is None else _objective(relaxed, target, objective)
    both = bound_rows(relaxed, rows, method, target=target.name)
    lower, negated = both.chunk(2)
    return lower.reshape(shape), -negated.reshape(shape)


def compute_lower_bounds(
    program: Program,
    region: Region,
    method: str,
    objective: Tensor,
    *,
    node: str | None = None,
    rounding: Rounding = NEAREST,
    memory: int = DEFAULT_MEMORY,
) -> Tensor:
    """The lower half of `compute_bounds` of an objective, (batch, specs), without the cost of the upper one."""
    with arithmetic(program, rounding):
        target = program.graph.node(node or program.graph.output)
        relaxed = relax(program, region, method, target=target.name, rounding=rounding, budget=Budget(memory))
        values, owner = objective_rows(objective, relaxed.batch, target, program)
        lower = bound_rows(relaxed, Objective(owner, DenseRows(values)), method, target=target.name)
    return lower.reshape(relaxed.batch, len(owner) // max(relaxed.batch, 1))


def _unit_objective(relaxed: Relaxed, target: Node) -> tuple[Objective, tuple[int, ...]]:
    l, _ = relaxed.intervals[target.name]
    count = l[0].numel()
    owner = torch.arange(relaxed.batch, device=l.device).repeat_interleave(count)
    index = torch.arange(count, device=l.device).repeat(relaxed.batch)
    sign = torch.ones(len(index), dtype=l.dtype, device=l.device)
    rows = UnitRows(index.repeat(2), torch.cat([sign, -sign]), target.shape)
    return Objective(owner.repeat(2), rows), tuple(l.shape)


def _objective(relaxed: Relaxed, target: Node, objective: Tensor) -> tuple[Objective, tuple[int, ...]]:
    values, owner = objective_rows(objective, relaxed.batch, target, relaxed.program)
    rows = DenseRows(torch.cat([values, -values]))
    return Objective(owner.repeat(2), rows), (relaxed.batch, len(owner) // max(relaxed.batch, 1))


def objective_rows(objective: Tensor, batch: int, target: Node, program: Program) -> tuple[Tensor, Tensor]:
    """An objective (specs, n) or (batch, specs, n) as rows (batch * specs, *target.shape) and their owners."""
    values = torch.as_tensor(objective).to(dtype=program.dtype, device=program.device)
    count = 1
    for n in target.shape:
        count *= n
    if values.ndim not in (2, 3) or values.shape[-1] != count or (values.ndim == 3 and values.shape[0] != batch):
        raise ValueError(f"objective must be (specs, {count}) or ({batch}, specs, {count}) for {target}; got {list(values.shape)}")
    specs = values.shape[-2]
    rows = values.expand(batch, specs, count).reshape(batch * specs, *target.shape)
    return rows, torch.arange(batch, device=program.device).repeat_interleave(specs)


__all__ = ["METHODS", "Method", "Objective", "bound_rows", "compute_bounds", "compute_lower_bounds", "objective_rows", "relax"]
