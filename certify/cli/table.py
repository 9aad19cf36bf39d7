"""Tables as aligned Markdown: readable in a terminal, and pasted into a README as they are."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`header` and `rows` as lines of equal length; columns of numbers are set to the right."""
    columns = list(zip(header, *rows, strict=True))
    numeric = [all(map(_is_number, cells)) for _, *cells in columns]
    widths = [max(map(len, column)) for column in columns]
    padded = [
        [cell.rjust(width) if right else cell.ljust(width) for cell in column]
        for column, width, right in zip(columns, widths, numeric, strict=True)
    ]
    first, *others = ("| " + " | ".join(cells) + " |" for cells in zip(*padded, strict=True))
    rule = ["-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, numeric, strict=True)]
    return "\n".join((first, f"|{'|'.join(rule)}|", *others))


def _is_number(cell: str) -> bool:
    return cell.removesuffix(" %").replace(".", "", 1).isdigit()
