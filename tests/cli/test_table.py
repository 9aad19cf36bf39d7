"""Tables are Markdown with columns that line up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from certify.cli.table import table

cells = st.text(st.characters(categories=("L", "N")), max_size=12)


@given(st.lists(st.tuples(cells, cells, cells), max_size=5))
def test_all_lines_are_equally_long_and_hold_their_cells(rows: list[tuple[str, str, str]]) -> None:
    lines = table(("name", "value", "unit"), rows).splitlines()
    assert len(lines) == len(rows) + 2
    assert len({len(line) for line in lines}) == 1
    for line, row in zip(lines[2:], rows, strict=True):
        assert [cell.strip() for cell in line.strip("|").split("|")] == list(row)
