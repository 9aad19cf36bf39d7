"""Text files as users and their editors save them: UTF-8, with or without a byte order mark, and nothing else."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OTHERS: Mapping[bytes, str] = {
    codecs.BOM_UTF32_LE: "UTF-32",  # begins with the mark of UTF-16: comes first
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, without a byte order mark; a ValueError where it is not UTF-8."""
    return decoded(Path(path).read_bytes(), path)


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file; a ValueError where it holds none."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: not JSON ({error})") from None


def decoded(content: bytes, name: str | os.PathLike[str], errors: str = "strict") -> str:
    """Bytes as text; `name` is for the ValueError that says where they are not UTF-8, `errors` as in `bytes.decode`."""
    other = next((encoding for mark, encoding in OTHERS.items() if content.startswith(mark)), None)
    if other is not None:
        raise ValueError(f"{os.fspath(name)}: the text is {other}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(name)}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
