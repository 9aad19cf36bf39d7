"""Checks logs of anybody. Radii of n samples at error alpha lie on a lattice of n + 1 values, which gives n and alpha away.

From a TSV file alone: impossible radii, the n and alpha that the radii speak of, counts that were multiplied, duplicate and missing
rows, a `correct` column that is a running total. From JSON lines: every radius is calculated again from its counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from certify.smoothing.lattice import Claim, infer, largest
from certify.smoothing.logs import Log, Row
from certify.smoothing.run import certificate_of, decision_of
from certify.smoothing.run_exact import vote_of

Record = Mapping[str, Any]
TOTALS = (360, 500, 1_000, 1_797, 5_000, 10_000, 26_032, 50_000, 60_000)
"""Sizes of common data sets."""


@dataclass(frozen=True)
class Finding:
    """`fault` says whether the log contradicts what it claims; otherwise it is worth knowing only."""

    fault: bool
    text: str


def audit(
    log: Log, sigma: float | None = None, n: int | None = None, alpha: Fraction | None = None, formula: str = "pa"
) -> list[Finding]:
    """What is wrong with a log, faults first.

    `sigma`, `n`, `alpha` and `formula` (one of `lattice.FORMULAS`) are what its author states; JSON lines know theirs.
    """
    findings = [*_rows(log.rows), *_records(log)]
    if sigma is not None:
        findings += _lattice(log, sigma, n, alpha, formula)
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
    settings = (log.header or {}).get("settings", {})
    for entry in log.records:
        for field, check in CHECKS.items():
            if field in entry:
                yield from (Finding(True, f"idx {entry['idx']}: {text}") for text in check(entry, settings))


def _certificate(entry: Record, settings: Record) -> Iterator[str]:
    certificate = certificate_of(entry)
    label, radius = certificate.recomputed()
    if (label, radius) != (entry["predict"], entry["radius"]):
        said, found = f"{entry['predict']}, {entry['radius']:.6g}", f"{label}, {radius:.6g}"
        yield f"the counts give class and radius {found}, the log says {said}"
    if settings and (certificate.n != settings["n"] or certificate.alpha != Fraction(settings["alpha"])):
        yield f"{certificate.n} samples at alpha {certificate.alpha}, not as the header says"


def _decision(entry: Record, settings: Record) -> Iterator[str]:
    decision = decision_of(entry)
    test, verdict = decision.test, decision.recomputed()
    if verdict != decision.verdict:
        yield f"{list(decision.hits)} hits in {decision.n} samples mean {verdict!r}, the log says {decision.verdict!r}"
    answer = (decision.label, decision.radius) if verdict == "yes" else (-1, 0.0)
    if answer != (entry["predict"], entry["radius"]):
        yield f"the class and radius {entry['predict']}, {entry['radius']:g} are not those of the answer {verdict!r}"
    if decision.drawn < decision.n * len(decision.hits):
        yield f"{decision.drawn} evaluations cannot have given {decision.n} samples"
    asked = (settings["n"], Fraction(settings["alpha"]), float(Fraction(settings["radius"]))) if settings else None
    if asked not in (None, (test.budget, test.alpha, test.radius)):
        yield f"radius {test.radius:g}, at most {test.budget} samples and alpha {test.alpha} are not what the header says"


def _vote(entry: Record, settings: Record) -> Iterator[str]:
    vote = vote_of(entry)
    if (vote.label, vote.radius) != (entry["predict"], entry["radius"]):
        said, found = f"{entry['predict']}, {entry['radius']:.6g}", f"{vote.label}, {vote.radius:.6g}"
        yield f"the votes give class and radius {found}, the log says {said}"
    if settings and sum(vote.counts) != settings["n"]:
        yield f"{sum(vote.counts)} votes, but the header says {settings['n']}"


CHECKS: Mapping[str, Callable[[Record, Record], Iterator[str]]] = {"counts": _certificate, "verdict": _decision, "votes": _vote}
"""By the field that tells the kind of a record."""


def _lattice(log: Log, sigma: float, n: int | None, alpha: Fraction | None, formula: str) -> Iterator[Finding]:
    written = [text for row, text in zip(log.rows, log.radii_as_written, strict=True) if row.radius > 0]
    if not written:
        yield Finding(False, "no positive radius: nothing to infer n and alpha from")
        return
    stated = None if n is None or alpha is None else Claim(n, alpha, 1, formula)
    found = infer(written, sigma, stated)
    speaking = " or of ".join(map(str, found.claims[:3]))
    if stated is not None and max(map(float, written)) > (cap := largest(stated, sigma)):
        yield Finding(True, f"{sum(float(text) > cap for text in written)} radii exceed {cap:.6g}, the most that {stated} can show")
    if stated is not None and not (found.contradicted or found.outweighed):
        yield Finding(False, f"the radii agree with {stated}")
    elif found.claims:
        yield Finding(stated is not None or not found.claims[0].sound, f"the radii are those of {speaking}")
    else:
        yield Finding(
            False,
            f"at sigma = {sigma:g} the radii speak for no common n and alpha: another formula, another sigma, or too few large radii",
        )
