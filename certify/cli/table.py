"""Tables as aligned Markdown: readable in a terminal, and pasted into a README as they are."""

from __future__ import annotations

from collections.abc import Sequence

from certify.report.document import aligned


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`header` and `rows` as lines of equal length; columns of numbers are set to the right."""
    columns = zip(header, *rows, strict=True)
    return aligned(header, rows, [all(map(_is_number, cells)) for _, *cells in columns])


def _is_number(cell: str) -> bool:
    return cell.removesuffix(" %").replace(".", "", 1).isdigit()
