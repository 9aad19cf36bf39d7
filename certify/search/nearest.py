"""Keeps the points that came nearest to being witnesses: there a mistake about the network would matter first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 4


class Nearest:
    """The few points of least value that were offered, whichever search came across them; flat, in float64."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[float, NDArray[np.float64]], ...] = ()

    def offer(self, points: NDArray[Any], values: NDArray[Any]) -> None:
        """Considers points, (count, *input), by how far they are from satisfying their clauses, (count,). Safe among threads: what is
        offered at the same moment may be lost."""
        some = np.argsort(values, kind="stable")[:MOST]
        new = [(float(values[i]), np.asarray(points[i], np.float64).ravel()) for i in some if np.isfinite(values[i])]
        self._kept = tuple(sorted([*self._kept, *new], key=lambda pair: pair[0])[:MOST])

    @property
    def points(self) -> list[NDArray[np.float64]]:
        """What is kept, the nearest first."""
        return [point for _, point in self._kept]
