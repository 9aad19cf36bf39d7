"""Reads properties in VNN-LIB, versions 1.0 and 2.0, with every decimal kept exactly."""

from __future__ import annotations

import os

from certify.io.vnnlib.source import Cursor, pattern, read_text
from certify.io.vnnlib.version1 import read_version1
from certify.io.vnnlib.version2 import element, read_version2
from certify.specification import Specification

__all__ = ["VERSIONS", "element", "read_vnnlib"]

VERSIONS = ("1.0", "2.0")
_VERSION = pattern(r"\( vnnlib-version <([0-9]+\.[0-9]+)> \)")


def read_vnnlib(path_or_text: str | os.PathLike[str]) -> Specification:
    """The property in a VNN-LIB file, gzipped or not, or in a string that holds one.

    Version 2.0 starts with (vnnlib-version <2.0>); a text without a version is 1.0. A malformed or unsupported property is
    a ValueError of one line: file, line, column, what is wrong.
    """
    text, name = read_text(path_or_text)
    cursor = Cursor(text, name)
    found = cursor.match(_VERSION)
    if not found:
        return read_version1(cursor)
    if found.group(1) not in VERSIONS[1:]:
        cursor.fail(f"VNN-LIB {found.group(1)} is not known here; versions {' and '.join(VERSIONS)} are", found.start(1))
    return read_version2(cursor, found.group(1))
