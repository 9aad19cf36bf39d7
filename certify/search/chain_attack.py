"""Looks for counterexamples of a chain: descent from random points of the input sets, and from points that the search comes across."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from certify.io.witness import Witness, replay
from certify.kernels import chain_cpu
from certify.kernels.chain import Clauses, Net
from certify.model import Model
from certify.search.chain_pool import Pool
from certify.specification import Specification

STEPS = 60
FACES = 0.6
"""Share of the coordinates that start at an end of their interval: counterexamples are often at the border."""
NEAR = 1e-6
"""Points whose worst atom is violated by no more than this (times the right-hand side's size) are replayed: rounding may help."""
REPLAYS = 8


class Attack:
    """The state of the attack: random numbers, and the float32 sets rounded inward, so that what is found is in the exact set."""

    def __init__(self, model: Model, spec: Specification, net: Net, clauses: Clauses, number: NDArray[np.intp], seed: int) -> None:
        """`number` gives the specification's number of every one of `clauses`."""
        self._model, self._spec, self._net, self._clauses, self._number = model, spec, net, clauses, number
        self._random = np.random.default_rng(seed)
        region = np.array([spec.clauses[c].region for c in number], dtype=np.intp)
        lower, upper = spec.inputs.inward(np.float32)  # type: ignore[union-attr]
        self._lower, self._upper = lower[region].astype(np.float64), upper[region].astype(np.float64)
        self._possible = np.asarray((self._lower <= self._upper).all(axis=1))

    def random(self, open_: NDArray[np.bool_], count: int, pool: Pool) -> Witness | None:
        """Descends from so many random points, spread over the open clauses."""
        candidates = np.flatnonzero(open_ & self._possible)
        if not len(candidates):
            return None
        clause = self._random.permutation(np.resize(self._random.permutation(candidates), count))
        lower, upper = self._lower[clause], self._upper[clause]
        points = lower + (upper - lower) * self._random.random(lower.shape)
        face = self._random.random(lower.shape)
        points = np.where(face < FACES / 2, lower, np.where(face < FACES, upper, points))
        return self._descend(clause, points, STEPS, pool)

    def near(
        self, clause: NDArray[np.int64], points: NDArray[np.float64], values: NDArray[np.float64], pool: Pool
    ) -> Witness | None:
        """Descends from the few best of the points that a search found, each for its clause."""
        best = np.argsort(values, kind="stable")[:REPLAYS]
        best = best[self._possible[clause[best]]]
        return self._descend(
            clause[best], np.clip(points[best], self._lower[clause[best]], self._upper[clause[best]]), STEPS // 4, pool
        )

    def _descend(self, clause: NDArray[np.int64], points: NDArray[np.float64], steps: int, pool: Pool) -> Witness | None:
        values = np.empty(len(clause))
        lower, upper = self._lower[clause], self._upper[clause]

        def run(part: slice) -> None:
            fields = (clause[part], lower[part], upper[part], points[part], values[part])
            chain_cpu.descend(self._net, self._clauses, *fields, steps)

        pool.map(run, len(clause), 16)
        order = np.argsort(values, kind="stable")[:REPLAYS]
        for i in order[values[order] <= NEAR]:
            inside = np.clip(points[i].astype(np.float32), lower[i].astype(np.float32), upper[i].astype(np.float32))
            found = replay(self._model, self._spec, inside, self._number[clause[i : i + 1]])
            if found.ok:
                return found.witness
        return None
