"""What a proof needs of every closed domain, handed over as the search closes it: one interface, which by default keeps nothing.

A search over domains ends a clause by closing every domain it was cut into. The reasons below are all there are; each is a claim about
one domain that can be checked from the recorded data alone, without running the search again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Reason = Literal["bound", "infeasible", "leaf"]
"""An atom of the clause is bounded away from its right-hand side; the domain holds no point; the linear program of a domain without
unstable neurons decides (its multipliers are the proof of either)."""

Split = tuple[str, int, float, int]
"""(node, flat index of the neuron in it, point, sign): the half where sign * (neuron - point) >= 0."""


@dataclass(frozen=True)
class ClosedDomains:
    """Domains closed at once, as arrays whose first axis counts them; what does not apply is left out of `data`.

    clause  numbers into the bound specification. `reason` holds for all of them.
    splits  for every domain its split path. Input splitting leaves it empty and has the boxes, `lower` and `upper`, in `data`.
    data    by name: `atom` (number in the table), `bound` (rigorous), `slope/NODE` and `shift/NODE` (lower lines),
            `multiplier` (of the splits), `interval/NODE` where not the root's.
    """

    clause: NDArray[np.intp]
    reason: Reason
    splits: Sequence[Sequence[Split]] = ()
    data: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Evidence(Protocol):
    """Receives closed domains. `wanted` is asked first, so that nobody gathers what nobody keeps."""

    @property
    def wanted(self) -> bool:
        """Whether `close` keeps anything."""

    def close(self, domains: ClosedDomains) -> None:
        """Takes note of domains that are closed."""


@dataclass(frozen=True)
class Discard:
    """Keeps nothing: the default."""

    wanted: bool = False

    def close(self, domains: ClosedDomains) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Keep:
    """Keeps everything in memory, in the order of closing."""

    closed: list[ClosedDomains] = field(default_factory=list)
    wanted: bool = True

    def close(self, domains: ClosedDomains) -> None:
        """Appends the domains."""
        self.closed.append(domains)
