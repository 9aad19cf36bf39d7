"""Reads a written certificate and counts again: what a gate in a training pipeline relies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from certify.poisoning.certificate import SCHEMA


def certified_accuracy(record: Mapping[str, Any], edits: int) -> float:
    """The share of inputs that are right and certified for so many edits, counted from answers, labels and radii of a record.

    A ValueError where the record is of another kind, has no labels, or its lists do not belong together.
    """
    schema = record.get("schema") if isinstance(record, Mapping) else None
    if schema != SCHEMA:
        raise ValueError(f"not a certificate of this version: schema {schema!r}, expected {SCHEMA!r}")
    answers, labels, radii = (record.get(name) for name in ("answers", "labels", "radii"))
    if labels is None:
        raise ValueError("the certificate has no labels; without them there is no accuracy")
    answers, labels, radii = (_whole_numbers(entries) for entries in (answers, labels, radii))
    if not answers or not len(answers) == len(labels) == len(radii):
        raise ValueError("answers, labels and radii of the certificate do not belong together")
    held = sum(answer == label and radius >= edits for answer, label, radius in zip(answers, labels, radii, strict=True))
    return held / len(radii)


def _whole_numbers(entries: Any) -> list[int]:
    if not isinstance(entries, list) or not all(type(entry) is int for entry in entries):
        raise ValueError("answers, labels and radii of the certificate must be lists of whole numbers")
    return entries
