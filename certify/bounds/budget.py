"""What a computation of bounds may take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf

DEFAULT_MEMORY = 1 << 28


@dataclass(frozen=True)
class Budget:
    """`memory`: bytes that the coefficients of one chunk of rows may take; peak use is a small multiple.

    `deadline`: the time.monotonic() value from which on nothing is improved any more. Bounds are sound at every moment, so those known
    by then are returned: a deadline costs tightness only.
    """

    memory: int = DEFAULT_MEMORY
    deadline: float = inf

    @property
    def spent(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline


DEFAULT_BUDGET = Budget()
