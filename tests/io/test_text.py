"""Text files of users: a byte order mark is no part of the text, another encoding is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certify.io.text import decoded, read_json, read_text
from certify.io.vnnlib.source import read_text as read_property

PROPERTY = "(declare-const X_0 Real)\n"


@given(st.text().filter(lambda text: not text.startswith("\ufeff")))
def test_a_mark_is_no_part_of_the_text(text: str) -> None:
    assert decoded(text.encode("utf-8"), "t") == decoded(text.encode("utf-8-sig"), "t") == text


@pytest.mark.parametrize("packed", [False, True])
def test_a_property_is_read_with_and_without_its_mark(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "p.vnnlib"
    for encoding in ("utf-8", "utf-8-sig"):
        content = PROPERTY.encode(encoding)
        path.write_bytes(gzip.compress(content) if packed else content)
        assert read_property(path)[0] == PROPERTY
    assert read_property("\ufeff" + PROPERTY)[0] == PROPERTY


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text(PROPERTY, encoding=encoding)
    for read in (read_property, read_text, read_json):
        with pytest.raises(ValueError, match=f"the text is {encoding.upper()}; save it as UTF-8"):
            read(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match=r"not UTF-8 text .* at byte 3"):
        read_text(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1} x', "hello"])
def test_json_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.json: not JSON"):
        read_json(path)


def test_json_may_have_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"a": 1}), encoding="utf-8-sig")
    assert read_json(path) == {"a": 1}
