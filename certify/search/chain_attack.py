"""Looks for counterexamples of a chain: descent from random points of the input sets, and from points that the search comes across."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from certify.io.witness import Witness, replay
from certify.search.chain_engine import Engine
from certify.search.stage import Problem
from certify.specification import Boxes

DRAWS = 8
"""A descent starts from the best of so many random points: where gradients vanish, points are what counts."""
STEPS, LONG_STEPS, LONG_AFTER = 16, 64, 1000
"""Steps of a descent, and those once so many boxes have been examined."""
FACES = 0.6
"""Share of the coordinates that start at an end of their interval: counterexamples are often at the border."""
NEAR = 1e-6
"""Points whose worst atom is violated by no more than this are replayed: rounding may help."""
REPLAYS = 8


class Attack:
    """The state of the attack: random numbers, and the float32 sets rounded inward, so that what is found is in the exact set."""

    def __init__(self, problem: Problem, engine: Engine, number: NDArray[np.intp]) -> None:
        """`number` gives the specification's number of every clause of the engine."""
        assert isinstance(problem.spec.inputs, Boxes)
        self._problem, self._engine, self._number = problem, engine, number
        self._random = np.random.default_rng(problem.seed)
        region = np.array([problem.spec.clauses[c].region for c in number], dtype=np.intp)
        lower, upper = problem.spec.inputs.inward()
        self._lower, self._upper = lower[region].astype(np.float64), upper[region].astype(np.float64)
        self._possible = np.asarray((self._lower <= self._upper).all(axis=1))

    def random(self, clauses: NDArray[np.int64], count: int) -> Witness | None:
        """Descends from so many random points, spread over the clauses."""
        candidates = clauses[self._possible[clauses]]
        if not len(candidates):
            return None
        clause = np.resize(self._random.permutation(candidates), count)
        draws = np.tile(clause, DRAWS)
        points = self._draw(draws)
        values = self._engine.descend(draws, self._lower[draws], self._upper[draws], points, 1).reshape(DRAWS, count)
        best = values.argmin(axis=0) * count + np.arange(count)
        return self._descend(clause, points[best])

    def _draw(self, clause: NDArray[np.int64]) -> NDArray[np.float64]:
        """A random point of each clause's set; some coordinates at an end."""
        lower, upper = self._lower[clause], self._upper[clause]
        points = lower + (upper - lower) * self._random.random(lower.shape)
        face = self._random.random(lower.shape)
        return np.where(face < FACES / 2, lower, np.where(face < FACES, upper, points))

    def near(self, clause: NDArray[np.int64], points: NDArray[np.float64], values: NDArray[np.float64]) -> Witness | None:
        """Descends from the few best of the points that a search found, each for its clause."""
        best = np.argsort(values, kind="stable")[:REPLAYS]
        best = best[self._possible[clause[best]]]
        if not len(best):
            return None
        clause = clause[best]
        return self._descend(clause, np.clip(points[best], self._lower[clause], self._upper[clause]))

    def _descend(self, clause: NDArray[np.int64], points: NDArray[np.float64]) -> Witness | None:
        """Descends, and replays what comes near a counterexample."""
        lower, upper = self._lower[clause], self._upper[clause]
        steps = STEPS if self._engine.boxes < LONG_AFTER else LONG_STEPS
        values = self._engine.descend(clause, lower, upper, points, steps)
        self._problem.nearest.offer(points, values)
        order = np.argsort(values, kind="stable")[:REPLAYS]
        for i in order[values[order] <= NEAR]:
            point = np.clip(points[i].astype(np.float32), lower[i].astype(np.float32), upper[i].astype(np.float32))
            found = replay(self._problem.model, self._problem.spec, point, self._number[clause[i : i + 1]])
            if found.ok:
                return found.witness
        return None
