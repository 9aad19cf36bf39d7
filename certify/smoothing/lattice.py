"""The lattices that radii lie on: n samples at error alpha allow few values, which gives n, alpha and the formula away.

A lattice is judged by its largest values, those further apart than the three digits that logs are written with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product

import numpy as np
from scipy.special import betaincinv, ndtri

SAMPLES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000)
ALPHAS = tuple(map(Fraction, ("0.05", "0.01", "0.005", "0.002", "0.001", "0.0005", "0.0001")))
REPEATS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
TOPS = (5, 10, 20, 40)
"""How many values to look at, from the largest down: whichever says most, as small ones may lie closer than three digits."""
CONCLUSIVE = 15.0
"""Evidence, in nats, that outweighs the choice among all claims (some 3,000) and leaves a chance of one in a thousand."""


@dataclass(frozen=True)
class Formula:
    """How a radius follows from bounds on one probability, or on those of two halves; `sound` says whether it is a certificate.

    `share` is each bound's error probability in units of alpha, `combine` gives the radius in units of sigma from one probit each.
    """

    summary: str
    halves: int
    share: Fraction
    combine: Callable[[np.ndarray], np.ndarray]
    sound: bool = True


FORMULAS: Mapping[str, Formula] = {
    "pa": Formula("one probability at alpha", 1, Fraction(1), lambda probits: probits[0]),
    "dual": Formula("two halves at alpha/2", 2, Fraction(1, 2), lambda probits: probits.sum(axis=0) / np.sqrt(2)),
    "dual, alpha not split": Formula(
        "two halves at alpha each, which may err twice as often as stated",
        2,
        Fraction(1),
        lambda p: p.sum(axis=0) / np.sqrt(2),
        False,
    ),
    "root of squares": Formula(
        "the root of the sum of two halves' squared radii, which is no certificate", 2, Fraction(1), lambda p: np.hypot(*p), False
    ),
}
"""Dual smoothing (Xia et al. 2024) is the second; the code published with it takes the last one."""


@dataclass(frozen=True)
class Claim:
    """n samples at error alpha, of which each was counted `repeat` times, in one of `FORMULAS`."""

    n: int
    alpha: Fraction
    repeat: int = 1
    formula: str = "pa"

    @property
    def sound(self) -> bool:
        """Whether radii found so are certificates at this alpha."""
        return self.repeat == 1 and FORMULAS[self.formula].sound

    def __str__(self) -> str:
        formula = "" if self.formula == "pa" else f", {FORMULAS[self.formula].summary}"
        repeated = f", each sample counted {self.repeat} times" if self.repeat > 1 else ""
        return f"n = {self.n // self.repeat}, alpha = {float(self.alpha):g}{formula}{repeated}"


@dataclass(frozen=True)
class Inference:
    """Which claims the radii speak for (those that say most first; none where they say too little) and which they agree with."""

    claims: list[Claim]
    contradicted: bool
    outweighed: bool


def infer(written: Sequence[str], sigma: float, stated: Claim | None = None) -> Inference:
    """What written radii, all of them positive, say of n, alpha and the formula, and of what was stated about them.

    `stated` is contradicted where radii lie beyond or beside its lattice, and outweighed where they speak for another claim.
    """
    ranks = _ranks(np.array(written, dtype=float), np.round)
    evidence = {claim: found for claim in _claims(stated) if (found := _evidence(ranks, claim, sigma)) is not None}
    best = max(evidence.values(), default=0.0)
    claims = [claim for claim in evidence if best >= CONCLUSIVE and evidence[claim] > best - CONCLUSIVE / 2]
    return Inference(
        sorted(claims, key=lambda claim: (-evidence[claim], claim.repeat)),
        contradicted=stated is not None and stated not in evidence,
        outweighed=stated is not None and stated in evidence and evidence[stated] < best - CONCLUSIVE,
    )


def _claims(stated: Claim | None) -> set[Claim]:
    every = product(SAMPLES, ALPHAS, REPEATS, FORMULAS)
    common = {Claim(n, alpha, repeat, formula) for n, alpha, repeat, formula in every if n % repeat == 0 and n // repeat >= 100}
    return common if stated is None else common | {stated}


@lru_cache(maxsize=16384)
def largest(claim: Claim, sigma: float) -> float:
    """The radius of unanimous samples, as rounding to the nearest three digits may have written it."""
    formula = FORMULAS[claim.formula]
    unanimous = np.full((formula.halves, 1), ndtri(float(claim.alpha * formula.share) ** (1 / claim.n)))
    cap = float(sigma * formula.combine(unanimous)[0])
    return max(cap, float(f"{cap:.3g}"))


def _evidence(ranks: np.ndarray, claim: Claim, sigma: float) -> float | None:
    """How much radii of these ranks speak for a claim, in nats; None where they contradict it."""
    if ranks.max() > _ranks(np.array([largest(claim, sigma)]), np.round)[0]:
        return None
    fits = [fit for places in _places(claim, sigma) if (fit := _fit(ranks, places)) is not None]
    return max(fits, default=None)


def _fit(ranks: np.ndarray, places: np.ndarray) -> float | None:
    """The same for one way of rounding; one radius in fifty may be a slip."""
    window = ranks[ranks > places[-1] + 1]
    if np.isin(window, places, invert=True).sum() > len(window) // 50:
        return None
    return max(_surprise(np.unique(window), places[:top]) for top in TOPS)


def _surprise(ranks: np.ndarray, places: np.ndarray) -> float:
    """Each different radius above the lattice's last value counts by how unlikely it is to meet the lattice by chance."""
    possible = max(1, places[0] - places[-1])
    return float((ranks > places[-1] + 1).sum() * max(0.0, math.log(possible / len(np.unique(places)))))


@lru_cache(maxsize=16384)
def _places(claim: Claim, sigma: float) -> np.ndarray:
    """Ranks of the lattice's largest values, descending: a row for those rounded down, one for those rounded to the nearest."""
    formula, real = FORMULAS[claim.formula], claim.n // claim.repeat
    hits = (real - np.arange(TOPS[-1])) * claim.repeat
    probits = ndtri(betaincinv(hits, claim.n - hits + 1, float(claim.alpha * formula.share)))
    probits = probits[probits > 0]
    pairs = np.stack([part.ravel() for part in np.meshgrid(*[probits] * formula.halves)])
    values = np.unique(sigma * formula.combine(pairs))[::-1][: TOPS[-1]]
    return np.stack([_ranks(values, rounding) for rounding in (np.floor, np.round)])


def _ranks(radii: np.ndarray, rounding: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The numbers of positive values, written with three digits, among all numbers of three digits."""
    exponents = np.floor(np.log10(radii))
    return (900 * exponents + rounding(radii / 10.0 ** (exponents - 2))).astype(int)
