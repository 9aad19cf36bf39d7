"""Scores of smoothing logs: certified accuracy against radius, average certified radius, abstentions.

An average certified radius (ACR) says nothing without n, alpha and sigma, so it is never shown without what is known of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from certify.report.curves import Curve, accuracy_curves
from certify.report.document import Block, Cell, Column, Figures, Paragraph, Row, Table
from certify.report.formats import Report
from certify.smoothing.logs import Log

SCHEMA = "certify.report.smoothing/1"
TITLE = "Certified accuracy by randomized smoothing"
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
UNKNOWN = "-"


@dataclass(frozen=True)
class Summary:
    """`accuracy[r]` is the share of all inputs that are right and certified to at least r; `curve` the same at every radius.

    `curve` holds (radius, share from there to the next). `acr` averages the radius over all inputs, 0 for wrong answers and
    abstentions; None for a run that asked about one radius. `sigma`, `n` and `alpha` are texts, from the log's header or from who
    asked for the report.
    """

    name: str
    inputs: int
    accuracy: Mapping[float, float]
    acr: float | None
    abstained: float
    sigma: str
    n: str
    alpha: str
    seconds: float | None
    curve: tuple[tuple[float, float], ...] = ()


def summary(log: Log, radii: Sequence[float] | None = None, stated: Mapping[str, str] | None = None) -> Summary:
    """The scores of one log; a ValueError where it has no rows. `correct` columns are not believed but calculated."""
    if not log.rows:
        raise ValueError(f"{log.path}: no rows to report")
    count = len(log.rows)
    right = [row.radius for row in log.rows if row.hit]
    settings = {name: _text(value) for name, value in (log.header or {}).get("settings", {}).items()} | dict(stated or {})
    seconds = [row.seconds for row in log.rows if row.seconds is not None]
    return Summary(
        name=Path(log.path).stem,
        inputs=count,
        accuracy={float(r): sum(radius >= r for radius in right) / count for r in radii or RADII},
        acr=None if settings.get("sequential") == "True" else sum(right) / count,
        abstained=sum(row.predict == -1 for row in log.rows) / count,
        sigma=settings.get("sigma", UNKNOWN),
        n=settings.get("n", UNKNOWN),
        alpha=settings.get("alpha", UNKNOWN),
        seconds=sum(seconds) if seconds else None,
        curve=_curve(right, count),
    )


def report(summaries: Sequence[Summary], note: str = "") -> Report:
    """The runs side by side: a table, and the curves of all."""
    figure = accuracy_curves("Certified accuracy against radius", "radius", [Curve(s.name, s.curve) for s in summaries])
    header, *rows = _cells(summaries)
    table = _table(summaries)
    blocks: tuple[Block, ...] = (table, Figures((figure,)), *([Paragraph(note)] if note else []))
    record = {"schema": SCHEMA, "runs": [asdict(s) for s in summaries]}
    return Report(TITLE, blocks, tuple(map(tuple, (header, *rows))), record)


def markdown(summaries: Sequence[Summary]) -> str:
    """A table with a row for every run, in per cent."""
    return _table(summaries).markdown()


def _table(summaries: Sequence[Summary]) -> Table:
    header, *rows = _cells(summaries)
    columns = tuple(Column(name, "" if name == "run" else "number") for name in header)
    return Table("Scores in per cent of inputs, by run", columns, tuple(Row(tuple(map(Cell, row))) for row in rows))


def _curve(right: Sequence[float], count: int) -> tuple[tuple[float, float], ...]:
    """The share that is left beyond each certified radius, from the share of all right answers on."""
    ordered = sorted(right)
    left = {0.0: len(ordered)} | {radius: len(ordered) - number for number, radius in enumerate(ordered, 1)}
    return ((0.0, len(ordered) / count), *((radius, number / count) for radius, number in left.items() if radius > 0))


def _cells(summaries: Sequence[Summary]) -> list[list[str]]:
    radii = sorted({r for s in summaries for r in s.accuracy})
    head = ["run", "sigma", "n", "alpha", "inputs", *(f"r = {r:g}" for r in radii), "abstained", "ACR"]
    return [
        head,
        *(
            [s.name, s.sigma, s.n, s.alpha, str(s.inputs), *_shares(s, radii), UNKNOWN if s.acr is None else f"{s.acr:.4f}"]
            for s in summaries
        ),
    ]


def _shares(s: Summary, radii: Sequence[float]) -> list[str]:
    return [f"{100 * share:.1f}" for share in (*(s.accuracy.get(r, 0.0) for r in radii), s.abstained)]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
