"""What reports consist of: headings, tables, drawings and warnings, each of which knows its HTML and its Markdown.

All text is escaped here and nowhere else; only `Figure.image` and `Key.mark` are markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, Protocol


class Block(Protocol):
    """A part of a report."""

    def html(self) -> str:
        """As it stands in the page."""

    def markdown(self) -> str:
        """As it stands in a Markdown file; empty where there is nothing to say without a drawing."""


@dataclass(frozen=True)
class Cell:
    """A text with a tone ("bad", "faint", "warn", "flagged" or none) and a link to an anchor of the page.

    `more` stands below it, smaller, and `note` below that, in red where the cell is flagged.
    """

    text: str
    tone: str = ""
    link: str = ""
    more: str = ""
    note: str = ""

    def html(self) -> str:
        """The text, linked, and the lines below it."""
        said = f'<a href="#{escape(self.link)}">{escape(self.text)}</a>' if self.link else escape(self.text)
        below = ((name, text) for name, text in (("more", self.more), ("more note", self.note)) if text)
        return said + "".join(f'<span class="{name}">{escape(text)}</span>' for name, text in below)

    def markdown(self) -> str:
        """All in one line, without the link."""
        return plain("; ".join(filter(None, (self.text, self.more, self.note))))


@dataclass(frozen=True)
class Column:
    """A column's heading; a "number" stands on the right, a "word" is not broken."""

    name: str
    style: Literal["", "number", "word"] = ""


@dataclass(frozen=True)
class Row:
    """A row of a table; `anchor` is what links lead to. `total` sets it apart."""

    cells: tuple[Cell, ...]
    anchor: str = ""
    total: bool = False


@dataclass(frozen=True)
class Heading:
    """The title of a section, or of a part of it at level 3."""

    text: str
    level: int = 2
    anchor: str = ""

    def html(self) -> str:
        """h2 or h3."""
        return f"<h{self.level}{_attribute('id', self.anchor)}>{escape(self.text)}</h{self.level}>"

    def markdown(self) -> str:
        """## or ###."""
        return f"{'#' * self.level} {plain(self.text)}"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str

    def html(self) -> str:
        """p."""
        return f"<p>{escape(self.text)}</p>"

    def markdown(self) -> str:
        """The text."""
        return plain(self.text)


@dataclass(frozen=True)
class Items:
    """A list; with a `title`, a warning that nobody overlooks."""

    items: tuple[Cell, ...]
    title: str = ""

    def html(self) -> str:
        """ul, in a red box with its title."""
        listed = "<ul>" + "".join(f"<li>{item.html()}</li>" for item in self.items) + "</ul>"
        if not self.title:
            return listed
        return f'<section class="alert" role="alert"><h2>{escape(self.title)}</h2>{listed}</section>'

    def markdown(self) -> str:
        """A list below its bold title."""
        listed = "\n".join(f"- {item.markdown()}" for item in self.items)
        return f"**{plain(self.title)}**\n\n{listed}" if self.title else listed


@dataclass(frozen=True)
class Tiles:
    """A few large numbers: name, number, tone."""

    tiles: tuple[tuple[str, str, str], ...]

    def html(self) -> str:
        """A list of definitions."""
        return (
            '<dl class="tiles">'
            + "".join(
                f"<div{_attribute('class', tone)}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
                for name, value, tone in self.tiles
            )
            + "</dl>"
        )

    def markdown(self) -> str:
        """One line."""
        return ", ".join(f"{plain(name)}: **{plain(value)}**" for name, value, _ in self.tiles)


@dataclass(frozen=True)
class Table:
    """A table. `label` says what it is to who cannot see it; `caption`, if any, stands above it."""

    label: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str = ""

    def html(self) -> str:
        """table, in a box that scrolls where the screen is narrow."""
        head = "".join(f'<th scope="col"{_side(column)}>{escape(column.name)}</th>' for column in self.columns)
        body = "\n".join(self._row(row) for row in self.rows)
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(self.label)}">'
            f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        )

    def markdown(self) -> str:
        """The caption, and the table with columns of equal width."""
        cells = [[cell.markdown() for cell in row.cells] for row in self.rows]
        lines = aligned(
            [plain(column.name) for column in self.columns], cells, [column.style == "number" for column in self.columns]
        )
        return f"{plain(self.caption)}:\n\n{lines}" if self.caption else lines

    def _row(self, row: Row) -> str:
        head, *cells = ((_side(column, cell.tone), cell.html()) for column, cell in zip(self.columns, row.cells, strict=True))
        body = f'<th scope="row"{head[0]}>{head[1]}</th>' + "".join(f"<td{side}>{said}</td>" for side, said in cells)
        return f"<tr{_attribute('id', row.anchor)}{_attribute('class', 'total' if row.total else '')}>{body}</tr>"


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a small drawing and its name."""

    mark: str
    name: str


@dataclass(frozen=True)
class Figure:
    """A drawing (SVG) with title, legend and caption."""

    title: str
    image: str
    keys: tuple[Key, ...] = ()
    caption: str = ""

    def html(self) -> str:
        """figure."""
        legend = "".join(f"<li>{key.mark} {escape(key.name)}</li>" for key in self.keys)
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f'<figure><h3>{escape(self.title)}</h3><ul class="legend">{legend}</ul>{self.image}{caption}</figure>'

    def markdown(self) -> str:
        """Nothing: the numbers are in the tables."""
        return ""


@dataclass(frozen=True)
class Figures:
    """Drawings side by side, below each other where the screen is narrow; `title` is that of their section."""

    figures: tuple[Figure, ...]
    title: str = ""

    def html(self) -> str:
        """A grid."""
        title = Heading(self.title).html() if self.title else ""
        return f'{title}<div class="figures">{"".join(figure.html() for figure in self.figures)}</div>'

    def markdown(self) -> str:
        """Nothing, as for each of them."""
        return ""


def plain(text: str) -> str:
    """Text that means itself in Markdown, in one line: no markup, no links, no cells of a table."""
    return re.sub(r"([|`\[\]\\])", r"\\\1", escape(" ".join(text.split()), quote=False))


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """A Markdown table with lines of equal length; `right` says which columns stand on the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    padded = [
        [cell.rjust(width) if number else cell.ljust(width) for cell in column]
        for column, width, number in zip(columns, widths, right, strict=True)
    ]
    first, *others = ("| " + " | ".join(cells) + " |" for cells in zip(*padded, strict=True))
    rule = ["-" * (width + 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)]
    return "\n".join((first, f"|{'|'.join(rule)}|", *others))


def _side(column: Column, tone: str = "") -> str:
    return _attribute("class", " ".join(filter(None, (column.style, tone))))


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""
