"""Holds the graph against the original model on the very sets that were asked about, before a proof about the graph counts.

At middles, corners, points where functions have their ties, random points, and the points that came nearest to a witness: numbers of
the model's own format, inside the exact sets wherever these hold any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from certify.graph import GraphError
from certify.graph.formats import FORMATS
from certify.graph.noise import work
from certify.io.agreement import require_agreement
from certify.model import Model
from certify.search.stage import Problem, count
from certify.specification import Ball, Boxes

Array = NDArray[np.floating]

_WORK = 100_000_000
_LEAST, _MOST = 4, 24
"""Points of a comparison: as many as take so many products, within limits."""


def compare_on_sets(problem: Problem) -> str:
    """Says in one line at how many points of the input sets the graph agrees with the original; a `GraphError` where it differs."""
    model = problem.model
    if model.reference is None:
        return "the model was built by hand: there is no original to compare the graph with"
    points = set_points(problem, affordable(model))
    if not points:
        return "the input sets are empty: there is no point at which to compare the graph with the original"
    compared = compare_at(model, points)
    silent = int((~compared).sum())
    unknown = f"; {silent} of {compared.size} outputs are not defined or overflow there" if silent else ""
    return f"the graph agrees with the original model at {count(len(points), 'point')} of the input sets{unknown}"


def affordable(model: Model) -> int:
    """How many points a comparison of this model takes."""
    return int(np.clip(_WORK // max(work(model.graph), 1), _LEAST, _MOST))


def compare_at(model: Model, points: Sequence[Array]) -> NDArray[np.bool_]:
    """Which outputs could be compared at some of the points, in any shape of one input; a `GraphError` where the original differs.

    A model without an original has nothing to differ from.
    """
    if model.reference is None:
        return np.zeros(model.graph.output_shape, dtype=bool)
    shaped = [FORMATS[model.precision].round(point).reshape(model.graph.input_shape) for point in points]
    try:
        return require_agreement(model.graph, model.reference, shaped, model.precision, "the original model")
    except GraphError as error:
        raise GraphError(f"{error}; no verdict is given") from error


def set_points(problem: Problem, most: int) -> list[Array]:
    """At most so many points of the input sets of the clauses, flat, in the model's format."""
    inputs, form = problem.spec.inputs, FORMATS[problem.model.precision]
    regions = np.unique([clause.region for clause, some in zip(problem.spec.clauses, problem.spec.nonempty(), strict=True) if some])
    near = problem.nearest.points[: most // 2]
    left = most - len(near)
    random = np.random.default_rng(problem.seed)
    chosen = regions[np.linspace(0, len(regions) - 1, min(len(regions), left)).astype(int)] if len(regions) else regions
    drawn = _drawn(inputs, chosen, left, random)
    return [form.round(point) for point in (*near, *drawn)]


def _drawn(inputs: Boxes | Ball, regions: NDArray[np.intp], most: int, random: np.random.Generator) -> list[Array]:
    """So many points spread over the regions: of every kind one in each, as far as they go."""
    if not len(regions):
        return []
    draw: Callable[..., Array] = _in_ball if isinstance(inputs, Ball) else _in_box
    return [draw(inputs, int(regions[i % len(regions)]), i // len(regions), random) for i in range(most)]


def _in_box(inputs: Boxes, region: int, kind: int, random: np.random.Generator) -> Array:
    """A point of a box; coordinates that hold no number of the grid are the number nearest to them."""
    low, high = inputs.lower[region].up(inputs.grid), inputs.upper[region].down(inputs.grid)
    nearest = inputs.lower.nearest[region].astype(inputs.grid)
    held = low <= high
    low, high = (np.where(held, end, nearest).astype(np.float64) for end in (low, high))
    reach = FORMATS["float32"].largest
    return _KINDS[kind % len(_KINDS)](np.clip(low, -reach, reach), np.clip(high, -reach, reach), random)


Kind = Callable[[Array, Array, np.random.Generator], Array]

_KINDS: Sequence[Kind] = (
    lambda low, high, random: low / 2 + high / 2,
    lambda low, high, random: np.where(random.random(low.shape) < 0.5, low, high),
    lambda low, high, random: np.clip(0.0, low, high),
    lambda low, high, random: low + random.random(low.shape) * (high - low),
    lambda low, high, random: low,
    lambda low, high, random: high,
    lambda low, high, random: np.clip(np.round(low + random.random(low.shape) * (high - low)), low, high),
    lambda low, high, random: np.clip(np.floor(low + random.random(low.shape) * (high - low)) + 0.5, low, high),
)
"""Middle, corner, nearest to zero, anywhere, the two extreme corners, whole numbers, halves."""


def _in_ball(inputs: Ball, region: int, kind: int, random: np.random.Generator) -> Array:
    """The centre, then points in random directions at random distances, the first along one axis."""
    radius, power = float(inputs.eps), int(inputs.p)
    direction = random.standard_normal(inputs.size)
    if kind % 2:
        direction *= np.arange(inputs.size) == random.integers(inputs.size)
    length = max(float(np.linalg.norm(direction, power)), 1e-30)
    share = 0.0 if kind == 0 else (1.0 - 1e-6) * random.random() ** 0.25
    low, high = (end[0].astype(np.float64) for end in inputs.domain.inward(inputs.grid))
    return np.clip(inputs.center + direction * (share * radius / length), np.minimum(low, high), high)
