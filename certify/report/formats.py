"""A report in four formats with the same numbers: a page, Markdown, the main table as CSV, everything unrounded as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from certify.report.document import Block, plain


@dataclass(frozen=True)
class Report:
    """A title, what stands below it, the rows of the CSV file (the first is the header), and the JSON record."""

    title: str
    blocks: tuple[Block, ...]
    rows: tuple[tuple[str, ...], ...]
    record: Mapping[str, Any]


def to_html(report: Report) -> str:
    """One page that needs nothing else: styles and drawings are in it, and no script."""
    template = Template(files("certify.report").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(report.title), body="\n".join(block.html() for block in report.blocks))


def to_markdown(report: Report) -> str:
    """Tables and text; drawings are left out."""
    return "\n\n".join(filter(None, (f"# {plain(report.title)}", *(block.markdown() for block in report.blocks)))) + "\n"


def to_csv(report: Report) -> str:
    """The rows."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(report.rows)
    return out.getvalue()


def to_json(report: Report) -> str:
    """The record; infinite numbers are the texts "inf" and "-inf"."""
    return json.dumps(_finite(report.record), indent=2, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Report], str]] = {"md": to_markdown, "html": to_html, "csv": to_csv, "json": to_json}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
