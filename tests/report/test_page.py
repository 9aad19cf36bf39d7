"""Pages: well formed, in need of nothing else, and safe from hostile names. Markdown, CSV and JSON likewise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.report.document import Cell, Column, Row, Table, plain
from certify.report.formats import Report, to_csv, to_html, to_json, to_markdown
from certify.report.kinds import report
from certify.report.poisoning import report as poisoning_report
from certify.report.poisoning import summary as poisoning_summary
from certify.report.store import Result
from tests.report.runs import GOOD, certificate

HOSTILE = '<script>alert("&1")</script>|`x`[a](b)\n'
VOID = {"meta", "br"}


class Structure(HTMLParser):
    """Fails where elements are not closed in the order they were opened; collects names, ids and links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attributes if name == "id"]
        self.links += [value or "" for name, value in attributes if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def structure(page: str) -> Structure:
    found = Structure()
    found.feed(page)
    found.close()
    assert not found.open
    return found


@pytest.fixture
def pages(answer: Callable[..., Result], stored: Callable[..., Path]) -> list[str]:
    """A page of each kind, with hostile names wherever a name can stand."""
    results = [
        answer(0, "unsat", expected="sat", model=HOSTILE, benchmark=HOSTILE),
        answer(1, "sat", expected="unsat", witness=HOSTILE, benchmark=HOSTILE),
        answer(2, "sat", witness=GOOD, model="gone" + HOSTILE, benchmark=HOSTILE),
    ]
    path = stored("mine", *results)
    run = report([path], {"baseline": path})
    poisoned = poisoning_report([poisoning_summary(HOSTILE, certificate([3, 1, -1]))])
    return [to_html(run), to_html(poisoned), to_markdown(run), to_markdown(poisoned)]


def test_pages_are_well_formed_and_links_lead_somewhere(pages: list[str]) -> None:
    for page in pages[:2]:
        found = structure(page)
        assert {"h1", "table", "th", "svg", "figure", "style"} <= found.tags
        assert len(set(found.ids)) == len(found.ids)
        assert {link.removeprefix("#") for link in found.links} <= set(found.ids)


def test_pages_need_nothing_else(pages: list[str]) -> None:
    for page in pages[:2]:
        assert not structure(page).tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
        assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", page)


def test_hostile_names_are_text(pages: list[str]) -> None:
    for page in pages:
        assert "<script" not in page
        assert "&lt;script&gt;" in page


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_any_text_stays_in_its_cell(text: str) -> None:
    table = Table("label", (Column("name"), Column("value", "number")), (Row((Cell(text, more=text), Cell("1"))),))
    found = structure(table.html())
    assert found.tags == {"div", "table", "thead", "tbody", "tr", "th", "td"} | ({"span"} if text else set())
    assert len(table.markdown().splitlines()) == 3
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", table.markdown().splitlines()[2])) == 3


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_plain_text_has_no_tags_and_one_line(text: str) -> None:
    assert "<" not in plain(text)
    assert len(plain(text).splitlines()) <= 1


def test_infinite_numbers_are_texts_and_nan_is_an_error() -> None:
    made = Report("title", (), (("a",), ("1,2",)), {"x": [float("inf"), 1.0], "y": {1: -float("inf")}})
    assert json.loads(to_json(made)) == {"x": ["inf", 1.0], "y": {"1": "-inf"}}
    assert to_csv(made) == 'a\n"1,2"\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Report("title", (), (), {"x": float("nan")}))
