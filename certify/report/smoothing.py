"""Scores of smoothing logs: certified accuracy against radius, average certified radius, abstentions; in four formats.

An average certified radius (ACR) says nothing without n, alpha and sigma, so it is never shown without what is known of them.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from certify.smoothing.logs import Log

RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
UNKNOWN = "-"


@dataclass(frozen=True)
class Summary:
    """`accuracy[r]` is the share of all inputs that are right and certified to at least r.

    `acr` averages the radius over all inputs, 0 for wrong answers and abstentions; None for a run that asked about one radius.
    `sigma`, `n` and `alpha` are texts, from the log's header or from who asked for the report.
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
    )


def markdown(summaries: Sequence[Summary]) -> str:
    """A table with a row for every run, in per cent."""
    head, *rows = _cells(summaries)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in (head, *rows)]
    return "\n".join((lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]))


def to_csv(summaries: Sequence[Summary]) -> str:
    """The same table as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(_cells(summaries))
    return out.getvalue().rstrip("\n")


def to_json(summaries: Sequence[Summary]) -> str:
    """All scores, unrounded."""
    return json.dumps({"schema": "certify.report.smoothing/1", "runs": [asdict(s) for s in summaries]}, indent=2)


def to_html(summaries: Sequence[Summary]) -> str:
    """One self-contained page: the table, and the curves as a drawing."""
    head, *rows = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(summaries)]
    table = "<table><tr>" + "</tr><tr>".join((head, *rows)) + "</tr></table>"
    style = "body{font-family:sans-serif}table{border-collapse:collapse}td,th{padding:.2em .6em;border-bottom:1px solid #ccc}"
    title = "Certified accuracy against radius"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"<h1>{title}</h1>{_curves(summaries)}{table}</html>"
    )


FORMATS: Mapping[str, Callable[[Sequence[Summary]], str]] = {"md": markdown, "csv": to_csv, "json": to_json, "html": to_html}

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDTH, HEIGHT, MARGIN = 640, 320, 40


def _curves(summaries: Sequence[Summary]) -> str:
    last = max((r for s in summaries for r in s.accuracy), default=0.0) or 1.0

    def place(r: float, share: float) -> str:
        return f"{MARGIN + r / last * (WIDTH - 2 * MARGIN):.1f},{HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" font-size="12">']
    axes = f"{place(0, 1)} {place(0, 0)} {place(last, 0)}"
    parts.append(f'<polyline points="{axes}" fill="none" stroke="#444"/>')
    for s, colour in zip(summaries, COLOURS * len(summaries), strict=False):
        points = " ".join(place(r, share) for r, share in sorted(s.accuracy.items()))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    parts += [
        f'<text x="{place(r, 0).split(",")[0]}" y="{HEIGHT - MARGIN / 2}">{r:g}</text>' for r in sorted(summaries[0].accuracy)
    ]
    for i, (s, colour) in enumerate(zip(summaries, COLOURS * len(summaries), strict=False)):
        parts.append(f'<text x="{WIDTH - 5 * MARGIN}" y="{MARGIN / 2 + 14 * i}" fill="{colour}">{html.escape(s.name)}</text>')
    return "".join((*parts, "</svg>"))


def _tagged(summaries: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    head, *rows = _cells(summaries)
    return [("th", head), *(("td", row) for row in rows)]


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
