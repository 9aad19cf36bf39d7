"""The text of a property file, a cursor in it, and errors that say where."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import NoReturn

from certify.io.text import decoded

SKIP = r"\s*(?:;[^\n]*(?:\n|\Z)\s*)*"
"""White space and comments."""


def pattern(expression: str) -> re.Pattern[str]:
    """A compiled expression that skips white space and comments first; in it, a space stands for what may be skipped."""
    return re.compile(SKIP + expression.replace(" ", SKIP))


END = pattern(r"\Z")
_WORD = pattern(r"([()\[\],]|[^\s()\[\],;]+)")


class Cursor:
    """A position in a text that moves forward over what was recognised."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0

    def match(self, expected: re.Pattern[str]) -> re.Match[str] | None:
        """Moves over a match of the pattern here and returns it; None, without moving, where there is none."""
        found = expected.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def expect(self, expected: re.Pattern[str], what: str) -> re.Match[str]:
        """Like `match`, but an error names `what` should have been here."""
        found = self.match(expected)
        return found if found else self.fail(f"expected {what}, found {self.next_word()}")

    def next_word(self) -> str:
        """What stands here, for messages."""
        found = _WORD.match(self.text, self.at)
        return repr(found.group(1)[:40]) if found else "the end of the file"

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raises a ValueError with file, line and column: of offset `at`, else of the next word."""
        if at is None:
            found = _WORD.match(self.text, self.at)
            at = found.start(1) if found else len(self.text)
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        raise ValueError(f"{self.name}:{line}:{column}: {message}")


def read_text(path_or_text: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a property, and a name for messages: of a file (gzipped or not), or of a string that is a property itself.

    Lines end as in SMT-LIB, by a line feed or a carriage return, and so do comments; in what is returned, by a line feed.
    """
    if isinstance(path_or_text, str) and "(" in path_or_text and not os.path.exists(path_or_text[:4096]):
        return _with_line_feeds(path_or_text.removeprefix("\ufeff")), "property"
    path = Path(path_or_text)
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is damaged ({error}); copy it again") from None
    return _with_line_feeds(decoded(data, path, errors="replace")), str(path)  # comments may be in any code


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
