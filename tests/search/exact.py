"""The truth about chains of one or two inputs in rational arithmetic: every affine piece is visited as a polygon with exact corners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np

from certify.kernels.chain import Layer

Point = tuple[Fraction, ...]
Polygon = list[Point]
"""Corners in order: one for a point, two for a line."""
Form = tuple[list[Fraction], Fraction]
"""Coefficients of the inputs, and a constant."""

ZERO = Fraction(0)


def fractions(values: np.ndarray) -> list[Fraction]:
    """The floats of a vector as they are."""
    return [Fraction(float(value)) for value in values]


def least_violation(
    layers: Sequence[Layer], lower: np.ndarray, upper: np.ndarray, rows: np.ndarray, rhs: Sequence[Fraction]
) -> tuple[Fraction, Point]:
    """The least over the box of max_j (rows_j @ y - rhs_j), and where it is: a clause is satisfied exactly where that is <= 0."""
    found = []
    for piece, outputs in _pieces(layers, _corners(lower, upper), _inputs(len(lower)), 0):
        atoms = [_combine(row, outputs, -right) for row, right in zip(rows, rhs, strict=True)]
        for part in _split_by([_difference(a, b) for a, b in combinations(atoms, 2)], piece):
            found += [(max(_at(atom, corner) for atom in atoms), corner) for corner in part]
    return min(found)


def _inputs(size: int) -> list[Form]:
    return [([Fraction(i == j) for j in range(size)], ZERO) for i in range(size)]


def _corners(lower: np.ndarray, upper: np.ndarray) -> Polygon:
    """Of a box, in order around it."""
    ends = [sorted({Fraction(float(a)), Fraction(float(b))}) for a, b in zip(lower, upper, strict=True)]
    if len(ends) == 1:
        return [(value,) for value in ends[0]]
    first, second = ends
    around = [(x, second[0]) for x in first]
    return around if len(second) == 1 else around + [(x, second[1]) for x in reversed(first)]


def _pieces(layers: Sequence[Layer], piece: Polygon, values: list[Form], layer: int) -> Iterator[tuple[Polygon, list[Form]]]:
    """Polygons that cover the piece, on each of which the outputs are affine, and their forms."""
    if layer == len(layers):
        yield piece, values
        return
    weight, bias, slope = layers[layer]
    before = [_combine(row, values, Fraction(float(b))) for row, b in zip(weight, bias, strict=True)]
    for part in _split_by([form for form, a in zip(before, slope, strict=True) if a != 1.0], piece):
        after = [_activated(form, Fraction(float(a)), part) for form, a in zip(before, slope, strict=True)]
        yield from _pieces(layers, part, after, layer + 1)


def _activated(form: Form, slope: Fraction, piece: Polygon) -> Form:
    """max(z, slope z) on a piece where z has one sign."""
    if all(_at(form, corner) >= 0 for corner in piece):
        return form
    return [slope * c for c in form[0]], slope * form[1]


def _split_by(forms: Sequence[Form], piece: Polygon) -> list[Polygon]:
    """Parts of the piece on each of which every form has one sign."""
    parts = [piece]
    for form in forms:
        parts = [half for part in parts for half in _halves(form, part)]
    return parts


def _halves(form: Form, piece: Polygon) -> list[Polygon]:
    values = [_at(form, corner) for corner in piece]
    if min(values) >= 0 or max(values) <= 0:
        return [piece]
    below, above = [], []
    ends = list(zip(piece, values, strict=True))
    for (p, a), (q, b) in zip(ends, ends[1:] + ends[:1], strict=True):
        below += [p] if a <= 0 else []
        above += [p] if a >= 0 else []
        if a * b < 0:
            crossing = tuple(s + a / (a - b) * (t - s) for s, t in zip(p, q, strict=True))
            below.append(crossing)
            above.append(crossing)
    return [below, above]


def _combine(row: np.ndarray, forms: Sequence[Form], constant: Fraction) -> Form:
    terms = [(Fraction(float(w)), form) for w, form in zip(row, forms, strict=True) if w]
    size = len(forms[0][0])
    return [sum((w * form[0][i] for w, form in terms), ZERO) for i in range(size)], sum(
        (w * form[1] for w, form in terms), constant
    )


def _difference(a: Form, b: Form) -> Form:
    return [x - y for x, y in zip(a[0], b[0], strict=True)], a[1] - b[1]


def _at(form: Form, point: Point) -> Fraction:
    return sum((c * x for c, x in zip(form[0], point, strict=True)), form[1])
