"""A chain of affine maps and two-slope activations, laid out flat for kernels, and what kernels say about a box. Imports numpy only.

Neurons are numbered through all layers; the last layer holds the rows of the specification and has no activation. The value of
neuron h is z_h = sum_j weight[base_h + j] y_j + bias_h over begin_h <= j < end_h, y the outputs of the layer before (the inputs x for
the first), and its output is max(z_h, slope_h z_h): slope 0 is ReLU, slope 1 no activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EPS = 2.0**-52
"""Twice the unit roundoff of float64."""
LARGEST = 1e100
"""Values beyond this are treated as an overflow: nothing is said about such a box."""
TINY = 1e-200
"""More than all products that underflow can take from a bound: fewer than 1e16 products, each off by 1e-323 times at most `LARGEST`."""


class Net(NamedTuple):
    """`width` (layers + 1,): numbers of inputs and of each layer's neurons; `first` (layers + 1,): number of a layer's first neuron.

    The others have an entry for every neuron, but for `weight`. Nonzero columns of a neuron are one segment: block-diagonal layers
    cost what their blocks cost.
    """

    width: NDArray[np.int64]
    first: NDArray[np.int64]
    base: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    bias: NDArray[np.float64]
    slope: NDArray[np.float64]
    weight: NDArray[np.float64]


class Clauses(NamedTuple):
    """Atoms `value of row <= rhs`, those of clause c in start[c] : start[c + 1]; `row` counts from the first of the last layer."""

    start: NDArray[np.int64]
    row: NDArray[np.int64]
    rhs: NDArray[np.float64]


class Work(NamedTuple):
    """Boxes to examine, one per entry, changed in place.

    lower, upper  (boxes, inputs). A box that stays open is clipped to where a counterexample can be.
    state         (boxes, neurons) int8: 1 where z >= 0 is proved on the box, -1 where z <= 0 is, 0 where neither.
    root          number of the first clause that the box is about.
    open          bit c says that clause root + c is not excluded on the box.
    stuck         bits that were open, but halving the box will not help: every point satisfies the clause, or what is missing is no
                  more than rounding, or the box is too small to be halved.
    margin        by how much the bounds exceed right-hand sides, the least of the excluded clauses.
    axis          the input to halve; -1 where nothing is open.
    point, value  a point of the box, and the largest of an unsettled clause's atoms there, minus its right-hand side (not rigorous):
                  negative at a counterexample. NaN where values overflow, and nothing is known.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    state: NDArray[np.int8]
    root: NDArray[np.int64]
    open: NDArray[np.int64]
    stuck: NDArray[np.int64]
    margin: NDArray[np.float64]
    axis: NDArray[np.int64]
    point: NDArray[np.float64]
    value: NDArray[np.float64]


def fresh_work(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    state: NDArray[np.int8],
    root: NDArray[np.int64],
    open: NDArray[np.int64],
) -> Work:
    """Boxes that nothing was found out about yet."""
    count = len(root)
    answers = np.zeros(count, np.int64), np.full(count, np.inf), np.full(count, -1)
    return Work(lower, upper, state, root, open, *answers, lower.copy(), np.full(count, np.inf))


class Effort(NamedTuple):
    """`symbols`: relaxation errors that are kept apart; `steps`: of the ascent; `clip`: whether boxes are clipped."""

    symbols: int
    steps: int
    clip: bool


Layer = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Weight (out, in), bias (out,), slopes (out,)."""


def lay_out(layers: Sequence[Layer]) -> Net:
    """The layers as flat arrays; of every row the segment from its first nonzero weight to its last is kept."""
    width = np.array([layers[0][0].shape[1], *(len(bias) for _, bias, _ in layers)], dtype=np.int64)
    begin, end = (
        np.concatenate(ends).astype(np.int64) for ends in zip(*(_segments(weight) for weight, _, _ in layers), strict=True)
    )
    rows = [row for weight, _, _ in layers for row in weight]
    offset = np.concatenate([[0], np.cumsum(end - begin)])[:-1]
    return Net(
        width,
        np.concatenate([[0], np.cumsum(width[1:])]).astype(np.int64),
        (offset - begin).astype(np.int64),
        begin,
        end,
        np.concatenate([bias for _, bias, _ in layers]),
        np.concatenate([slope for _, _, slope in layers]),
        np.concatenate([row[i:j] for row, i, j in zip(rows, begin, end, strict=True)]),
    )


def _segments(weight: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First nonzero column of every row, and the one after the last; equal where there is none."""
    nonzero = weight != 0
    some = nonzero.any(axis=1)
    return np.where(some, nonzero.argmax(axis=1), 0), np.where(some, weight.shape[1] - nonzero[:, ::-1].argmax(axis=1), 0)


def layers(net: Net) -> list[Layer]:
    """The layers that `lay_out` was given."""
    result = []
    for k in range(len(net.width) - 1):
        neurons = slice(net.first[k], net.first[k + 1])
        weight = np.zeros((net.width[k + 1], net.width[k]))
        for row, base, i, j in zip(weight, net.base[neurons], net.begin[neurons], net.end[neurons], strict=True):
            row[i:j] = net.weight[base + i : base + j]
        result.append((weight, net.bias[neurons], net.slope[neurons]))
    return result
