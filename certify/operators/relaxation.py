"""A nonlinear node replaced by linear lines on known input bounds: what bound propagation does with it, in both directions.

A relaxation of y = f(x) promises lower line <= f(x) <= upper line for every x within the bounds it was made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from certify.kernels import dispatch
from certify.operators.rows import Choice, Rows


class Lines(NamedTuple):
    """lower_slope * x + lower_intercept <= f(x) <= upper_slope * x + upper_intercept on an interval, elementwise."""

    lower_slope: Tensor
    lower_intercept: Tensor
    upper_slope: Tensor
    upper_intercept: Tensor


class Relaxation(Protocol):
    """Lines of one node, for every batch element."""

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[Rows, Tensor]:
        """Rows over y to rows over x and a shift, so that rows @ y >= new @ x + shift."""

    def push(self, x: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
        """y on the lines that `pull_back` chose for these rows, at the points x, (rows, *shape): the tape of closed-form gradients."""

    def envelope(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Images of linear forms: from coefficients and constant (batch, k + 1, *shape) below and above x to those below and above y."""

    def scale(self, magnitude: Tensor) -> Tensor:
        """At least |slope * x| + |intercept| on every line, for |x| <= magnitude, (batch, *shape of y): the scale of rounding errors."""


@dataclass(frozen=True)
class LinesRelaxation:
    """Lines of an elementwise function. A line may belong to a batch element (owners = batch) or to a row of its own."""

    lines: Lines
    rowwise_lower: bool = False
    rowwise_upper: bool = False

    def _owners(self, owner: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.rowwise_lower or self.rowwise_upper):
            return owner, owner
        own = torch.arange(len(owner), device=owner.device)
        return own if self.rowwise_lower else owner, own if self.rowwise_upper else owner

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[Rows, Tensor]:
        ls, lb, us, ub = self.lines
        return rows.relax((ls, us), (lb, ub), self._owners(owner))

    def push(self, x: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
        ls, lb, us, ub = (line.flatten(1) for line in self.lines)
        lower, upper = self._owners(owner)
        return dispatch.follow(x.flatten(1), rows.flatten(1), ls, lb, lower, us, ub, upper).reshape(rows.shape)

    def envelope(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        ls, lb, us, ub = (line[:, None] for line in self.lines)
        below = ls.clamp(min=0) * lower + ls.clamp(max=0) * upper
        above = us.clamp(min=0) * upper + us.clamp(max=0) * lower
        below[:, -1:] += lb
        above[:, -1:] += ub
        return below, above

    def scale(self, magnitude: Tensor) -> Tensor:
        ls, lb, us, ub = (line.abs() for line in self.lines)
        return torch.maximum(ls, us) * magnitude + torch.maximum(lb, ub)


@dataclass(frozen=True)
class MaximumRelaxation:
    """Lines of y = max over groups of x: below by one member, above by a line in one member.

    `lower_index`, `upper_index`: flat positions in x of those members, (batch, *y); y <= slope * x[upper_index] + shift.
    """

    lower_index: Tensor
    upper_index: Tensor
    slope: Tensor
    shift: Tensor
    shape: tuple[int, ...]

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[Rows, Tensor]:
        return rows.choose(Choice(self.lower_index, self.upper_index, self.slope, self.shift), owner, self.shape)

    def push(self, x: Tensor, rows: Tensor, owner: Tensor) -> Tensor:
        flat = x.flatten(1)
        below = flat.gather(1, self.lower_index.flatten(1)[owner])
        above = flat.gather(1, self.upper_index.flatten(1)[owner]) * self.slope.flatten(1)[owner] + self.shift.flatten(1)[owner]
        return torch.where(rows.flatten(1) > 0, below, above).reshape(rows.shape)

    def envelope(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        batch, forms = lower.shape[:2]
        low = self.lower_index.reshape(batch, 1, -1).expand(-1, forms, -1)
        high = self.upper_index.reshape(batch, 1, -1).expand(-1, forms, -1)
        below = lower.flatten(2).gather(2, low)
        above = upper.flatten(2).gather(2, high) * self.slope.reshape(batch, 1, -1)
        above[:, -1] += self.shift.flatten(1)
        shape = (batch, forms, *self.slope.shape[1:])
        return below.reshape(shape), above.reshape(shape)

    def scale(self, magnitude: Tensor) -> Tensor:
        largest = magnitude.flatten(1).amax(dim=1).reshape(-1, *(1,) * (self.shift.ndim - 1))
        return self.shift.abs() + largest  # slopes are in [0, 1]
