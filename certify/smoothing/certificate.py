"""A certificate: the answer, and everything that is needed to repeat the calculation and to draw the samples again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import inf
from typing import Any

from certify.smoothing.conclusion import conclude
from certify.smoothing.radius import l1_from_l2, linf_from_l2

ABSTAIN = -1


@dataclass(frozen=True)
class Certificate:
    """`label` is the smoothed classifier's answer at every distance below `radius`, except with probability `alpha` over the
    sampling.

    label         ABSTAIN where nothing could be shown; the radius is then 0.
    candidate     the class whose counts were bounded, whatever came of it.
    counts        raw counts of the estimation samples, one row of all classes per part (one part; two halves of a dual classifier).
    selection     raw counts of the n0 samples that chose the candidate, likewise; empty where none were drawn.
    scales        sigma, or the half width, of each part's noise; slacks: what its drawing may be off by, in total variation.
    arithmetic    "integer" or "real", see `certify.smoothing.noise`.
    seed, index   where in the random streams the samples lie.
    """

    label: int
    radius: float
    norm: float
    candidate: int
    counts: tuple[tuple[int, ...], ...]
    selection: tuple[tuple[int, ...], ...]
    alpha: Fraction
    variant: str
    bound: str
    scales: tuple[float, ...]
    slacks: tuple[float, ...]
    arithmetic: str
    dimension: int
    seed: int
    index: int
    p_lower: tuple[float, ...]
    p_upper: tuple[float, ...]

    @property
    def abstained(self) -> bool:
        """Whether nothing could be shown."""
        return self.label == ABSTAIN

    @property
    def n(self) -> int:
        """Estimation samples of each part."""
        return sum(self.counts[0])

    @property
    def n0(self) -> int:
        """Selection samples of each part."""
        return sum(self.selection[0]) if self.selection else 0

    def radius_in(self, norm: float) -> float:
        """The radius in another norm that follows from this one: l_1 or l_inf from l_2; a ValueError where none does."""
        if norm == self.norm:
            return self.radius
        if self.norm == 2.0 and norm in (1.0, inf):
            return l1_from_l2(self.radius) if norm == 1.0 else linf_from_l2(self.radius, self.dimension)
        raise ValueError(f"no l_{norm:g} radius is derived from an l_{self.norm:g} one")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; alpha as an exact fraction."""
        return asdict(self) | {"alpha": str(self.alpha)}

    @staticmethod
    def from_dict(record: dict[str, Any]) -> Certificate:
        """The certificate of `to_dict`; other fields of the record are ignored, a missing one is a ValueError."""
        try:
            values = {name: _tuples(record[name]) for name in Certificate.__dataclass_fields__}
        except KeyError as error:
            raise ValueError(f"certificate record: field {error} is missing") from None
        return Certificate(**values | {"alpha": Fraction(values["alpha"])})

    def recomputed(self) -> tuple[int, float]:
        """Label and radius that follow from the counts, calculated again."""
        found = conclude(self.counts, self.candidate, self.alpha, self.scales, self.slacks, self.variant, self.bound)
        return (self.candidate, found.radius) if found.radius > 0 else (ABSTAIN, 0.0)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
