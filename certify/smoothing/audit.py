"""Checks logs of anybody. Radii of n samples at error alpha lie on a lattice of n + 1 values, which gives n and alpha away.

From a TSV file alone: impossible radii, the n and alpha that the radii speak of, counts that were multiplied, duplicate and missing
rows, a `correct` column that is a running total. From JSON lines: every radius is calculated again from its counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
from scipy.special import betaincinv, ndtri

from certify.smoothing.logs import Log, Row
from certify.smoothing.run import certificate_of

SAMPLES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000)
ALPHAS = tuple(map(Fraction, ("0.05", "0.01", "0.005", "0.002", "0.001", "0.0005", "0.0001")))
REPEATS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
TOP = 40
"""Lattice points looked at below the largest radius: further down they lie closer than three digits can tell."""
TOTALS = (360, 500, 1_000, 1_797, 5_000, 10_000, 26_032, 50_000, 60_000)
"""Sizes of common data sets."""


@dataclass(frozen=True)
class Finding:
    """`fault` says whether the log contradicts what it claims; otherwise it is worth knowing only."""

    fault: bool
    text: str


@dataclass(frozen=True)
class Claim:
    """n samples at error alpha, of which each was counted `repeat` times."""

    n: int
    alpha: Fraction
    repeat: int = 1

    def __str__(self) -> str:
        repeated = f", each sample counted {self.repeat} times" if self.repeat > 1 else ""
        return f"n = {self.n // self.repeat}, alpha = {float(self.alpha):g}{repeated}"


def audit(log: Log, sigma: float | None = None, n: int | None = None, alpha: Fraction | None = None) -> list[Finding]:
    """What is wrong with a log, faults first. `sigma`, `n` and `alpha` are what its author states; JSON lines know theirs."""
    findings = [*_rows(log.rows), *_records(log)]
    if sigma is not None:
        findings += _lattice(log, sigma, n, alpha)
    return sorted(findings, key=lambda finding: not finding.fault)


def _rows(rows: Sequence[Row]) -> Iterator[Finding]:
    if not rows:
        yield Finding(True, "no rows")
        return
    repeated = [idx for idx, count in Counter(row.idx for row in rows).items() if count > 1]
    if repeated:
        yield Finding(True, f"{len(repeated)} inputs appear more than once, the first is idx {repeated[0]}")
    yield from _gaps(sorted({row.idx for row in rows}))
    wrong = [row for row in rows if row.correct != int(row.hit)]
    if len(wrong) > 0:
        totals = all(b.correct >= a.correct for a, b in pairwise(rows)) and rows[-1].correct > 1
        kind = "is a running total" if totals else "is not label == predict"
        yield Finding(True, f"the column `correct` {kind} ({len(wrong)} rows, the first is idx {wrong[0].idx})")
    kept = [row for row in rows if row.predict == -1 and row.radius > 0]
    if kept:
        yield Finding(True, f"{len(kept)} abstentions have a positive radius, the first is idx {kept[0].idx}")


def _gaps(indices: Sequence[int]) -> Iterator[Finding]:
    steps = Counter(b - a for a, b in pairwise(indices))
    if not steps:
        return
    stride = steps.most_common(1)[0][0]
    missing = sum((step // stride - 1) * count for step, count in steps.items())
    if missing:
        yield Finding(True, f"{missing} rows are missing between idx {indices[0]} and {indices[-1]} (every {stride}. input)")
    following = indices[-1] + stride
    if not any(indices[-1] < total <= following for total in TOTALS):
        yield Finding(False, f"the rows end at idx {indices[-1]}; no common data set ends before {following}: cut off?")


def _records(log: Log) -> Iterator[Finding]:
    """JSON lines: the whole calculation again."""
    for entry in log.records:
        if "counts" not in entry:
            continue
        certificate = certificate_of(entry)
        label, radius = certificate.recomputed()
        if (label, radius) != (entry["predict"], entry["radius"]):
            said, is_ = f"{entry['predict']}, {entry['radius']:.6g}", f"{label}, {radius:.6g}"
            yield Finding(True, f"idx {entry['idx']}: the counts give class and radius {is_}, the log says {said}")
        settings = (log.header or {}).get("settings", {})
        if settings and (certificate.n != settings["n"] or certificate.alpha != Fraction(settings["alpha"])):
            yield Finding(True, f"idx {entry['idx']}: {certificate.n} samples at alpha {certificate.alpha}, not as the header says")


def _lattice(log: Log, sigma: float, n: int | None, alpha: Fraction | None) -> Iterator[Finding]:
    written = [text for row, text in zip(log.rows, log.radii_as_written, strict=True) if row.radius > 0]
    if not written:
        yield Finding(False, "no positive radius: nothing to infer n and alpha from")
        return
    largest = max(map(float, written))
    if n is not None and alpha is not None:
        cap = _radii(Claim(n, alpha), sigma)[0]
        if largest > _ceiling(cap):
            over = sum(float(text) > _ceiling(cap) for text in written)
            yield Finding(True, f"{over} radii exceed {cap:.6g}, the most that n = {n} at alpha = {float(alpha):g} can show")
    found = infer(written, sigma, n, alpha)
    if not found:
        yield Finding(
            False, f"the radii lie on no lattice of sigma = {sigma:g}: another formula, another sigma, or uncommon n and alpha"
        )
    elif n is not None and alpha is not None and Claim(n, alpha) in found:
        yield Finding(False, f"the radii agree with {Claim(n, alpha)}")
    else:
        stated = n is not None and alpha is not None
        yield Finding(stated or found[0].repeat > 1, f"the radii are those of {' or of '.join(map(str, found[:3]))}")


def infer(written: Sequence[str], sigma: float, n: int | None = None, alpha: Fraction | None = None) -> list[Claim]:
    """The claims whose lattice holds the written radii, those that say most first; empty where none does.

    A lattice is judged by its `TOP` largest values, as they look when written with three digits, rounded down or to the nearest.
    """
    samples = sorted({*SAMPLES, *([n] if n else [])})
    alphas = sorted({*ALPHAS, *([alpha] if alpha else [])})
    claims = [Claim(m, a, r) for m, a, r in product(samples, alphas, REPEATS) if m % r == 0 and m // r >= 100]
    scored = [(evidence, claim) for claim in claims if (evidence := _evidence(written, claim, sigma)) is not None]
    best = max((evidence for evidence, _ in scored), default=0.0)
    return [claim for evidence, claim in sorted(scored, key=lambda pair: (-pair[0], pair[1].repeat)) if evidence > best / 2 > 0]


def _evidence(written: Sequence[str], claim: Claim, sigma: float) -> float | None:
    """How much the radii above the lattice's `TOP` last value speak for a claim; None where one of them contradicts it.

    Each radius on the lattice counts for the share of values that are not on it, so that a fine lattice gains nothing.
    """
    lattice = _radii(claim, sigma)
    floor = lattice[-1]
    window = [text for text in written if float(text) > floor * 1.002]
    places = {value for radius in lattice for value in _as_written(radius)}
    off = sum(float(text) not in places for text in _three_digits(window))
    if not window or off > len(window) // 50 or float(max(window, key=float)) > _ceiling(lattice[0]):
        return None
    possible = max(1.0, (lattice[0] - floor) / 10.0 ** (_exponent(lattice[0]) - 2))
    return len(window) * max(0.0, 1 - len(places) / possible)


@lru_cache(maxsize=4096)
def _radii(claim: Claim, sigma: float) -> tuple[float, ...]:
    """The largest values of the lattice, descending: i of the n real samples missed. To three digits and more, not rounded down."""
    real = claim.n // claim.repeat
    hits = (real - np.arange(min(TOP, real // 4))) * claim.repeat
    return tuple((sigma * ndtri(betaincinv(hits, claim.n - hits + 1, float(claim.alpha)))).tolist())


def _as_written(radius: float) -> set[float]:
    unit = 10.0 ** (_exponent(radius) - 2)
    return {float(f"{radius:.3g}"), float(f"{(radius // unit) * unit:.3g}")}


def _three_digits(written: Sequence[str]) -> list[str]:
    return [f"{float(text):.3g}" for text in written]


def _ceiling(radius: float) -> float:
    """The radius as rounding to the nearest three digits may have written it."""
    return max(radius, float(f"{radius:.3g}"))


def _exponent(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
