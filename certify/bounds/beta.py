"""Inequalities with multipliers: split neurons (beta-CROWN, arXiv 2103.06624) and assumed conditions on outputs (INVPROP, 2302.01404).

Both are rows a with a bound h such that a @ z <= h holds on the points that matter; `alpha.optimise` adds multiplier times row to what it
bounds, and ascends along the derivative a @ z* - h. Any multiplier >= 0 gives a sound bound, so that the best ones found in float32 can
be used again in float64 with outward rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from certify.bounds.alpha import Adam, Schedule
from certify.bounds.rounding import Rounding
from certify.graph import Shape
from certify.operators.rows import DenseRows, Rows


@dataclass
class Multipliers:
    """One multiplier m >= 0 for each inequality; `row` is the row it belongs to, `unit` the size of a step of 1."""

    row: Tensor
    value: Tensor
    unit: Tensor
    best: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.adam, self.best = Adam(self.value), self.value

    def ascend(self, gradient: Tensor, iteration: int, schedule: Schedule) -> None:
        """One projected step."""
        step = self.adam.direction(gradient, iteration, schedule).mul_(self.unit)
        self.value = (self.value + step).clamp_(min=0)

    def keep(self, improved: Tensor) -> None:
        """See `alpha.Inequality`."""
        self.best = torch.where(improved[self.row], self.value, self.best)


@dataclass
class Splits:
    """sign * (z - point) >= 0 for elements `index` of one node, everything (inequalities,); `reach` bounds |z| over the set."""

    node: str
    shape: Shape
    index: Tensor
    sign: Tensor
    point: Tensor
    reach: Tensor
    place: tuple[Tensor, Tensor]
    """Where the multipliers are kept: row and column of the caller's `table`."""
    multipliers: Multipliers
    rounding: Rounding
    table: ClassVar[str] = "multiplier"

    def start(self, count: int) -> tuple[Mapping[str, Rows], Tensor]:
        """See `alpha.Inequality`. Rounding: sums of multipliers of one neuron err by less than gamma times their terms."""
        m = self.multipliers
        size = torch.Size(self.shape).numel()
        signed = m.value * self.sign
        rows = signed.new_zeros(count * size).index_add_(0, m.row * size + self.index, -signed)
        terms = signed * self.point
        constant = signed.new_zeros(count).index_add_(0, m.row, terms)
        gamma = self.rounding.gamma(len(terms), terms.dtype)
        if gamma:
            lost = gamma * (terms.abs() + m.value * self.reach + torch.finfo(terms.dtype).tiny)
            constant = constant - signed.new_zeros(count).index_add_(0, m.row, lost)
        return {self.node: DenseRows(rows.reshape(count, *self.shape))}, constant

    def ascend(self, values: Mapping[str, Tensor], iteration: int, schedule: Schedule) -> None:
        """See `alpha.Inequality`."""
        z = values[self.node].flatten(1)[self.multipliers.row, self.index]
        self.multipliers.ascend(self.sign * (self.point - z), iteration, schedule)

    def keep(self, improved: Tensor) -> None:
        """See `alpha.Inequality`."""
        self.multipliers.keep(improved)


@dataclass
class Assumed:
    """outputs @ y (+ inputs @ x) <= rhs, one for each multiplier: rows (inequalities, *shape) over the output and the input.

    `magnitude` bounds the sum of |terms| of each over its set; rounding allows for it.
    """

    output: str
    input: str
    outputs: Tensor
    inputs: Tensor | None
    rhs: Tensor
    magnitude: Tensor
    place: tuple[Tensor, Tensor]
    """As in `Splits`."""
    multipliers: Multipliers
    rounding: Rounding
    table: ClassVar[str] = "weight"

    def start(self, count: int) -> tuple[Mapping[str, Rows], Tensor]:
        """See `alpha.Inequality`."""
        m = self.multipliers
        pieces: dict[str, Rows] = {}
        for name, rows in ((self.output, self.outputs), (self.input, self.inputs)):
            if rows is not None:
                weighted = rows * m.value.reshape(-1, *(1,) * (rows.ndim - 1))
                pieces[name] = DenseRows(rows.new_zeros(count, *rows.shape[1:]).index_add_(0, m.row, weighted))
        constant = m.value.new_zeros(count).index_add_(0, m.row, -m.value * self.rhs)
        gamma = self.rounding.gamma(len(m.value), m.value.dtype)
        if gamma:
            # Every product and sum errs by less than gamma times the terms, here and where rows of the objective are added.
            lost = gamma * (m.value * (self.magnitude + self.rhs.abs()) + torch.finfo(m.value.dtype).tiny)
            constant = constant - m.value.new_zeros(count).index_add_(0, m.row, lost)
        return pieces, constant

    def ascend(self, values: Mapping[str, Tensor], iteration: int, schedule: Schedule) -> None:
        """See `alpha.Inequality`."""
        row = self.multipliers.row
        excess = (self.outputs * values[self.output][row]).flatten(1).sum(dim=1) - self.rhs
        if self.inputs is not None:
            excess = excess + (self.inputs * values[self.input][row]).flatten(1).sum(dim=1)
        self.multipliers.ascend(excess, iteration, schedule)

    def keep(self, improved: Tensor) -> None:
        """See `alpha.Inequality`."""
        self.multipliers.keep(improved)
