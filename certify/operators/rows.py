"""Rows of linear coefficients over one node, in whichever form is smallest: one interface for dense rows, unit rows and windows.

All that is being bounded at once forms one row axis; `owner[r]` (int64) is the batch element that row r belongs to. Every form can be
pulled back through an affine operator, relaxed, dotted with vectors that belong to the owners, and made dense; which form comes out is
its own business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.graph import Node, Shape
from certify.kernels import autograd as kernels


class Rows(Protocol):
    """(rows, *shape) coefficients, not necessarily stored as such."""

    def dense(self) -> Tensor:
        """The coefficients as one tensor (rows, *shape)."""

    def pull_back(self, rule: Any, node: Node, params: Any, shapes: Sequence[Shape]) -> tuple[Rows, ...]:
        """The rows over each input of the affine `node` that equal these rows over its output, constants aside."""

    def relax(
        self, slopes: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], owners: tuple[Tensor, Tensor]
    ) -> tuple[Rows, Tensor]:
        """Replaces y by its (lower, upper) lines in x: see `kernels.reference.relax`. Lines are (owners, *shape)."""

    def choose(self, choice: Choice, owner: Tensor, shape: Shape) -> tuple[Rows, Tensor]:
        """Replaces y by bounds each of which reads a single element of a tensor of `shape`."""

    def minimise(self, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        """min of each row over the box (owners, *shape) of its owner: (rows,)."""

    def magnitude(self, weight: Tensor, owner: Tensor) -> Tensor:
        """sum |row| * weight[owner]: (rows,)."""

    def norm(self, order: float) -> Tensor:
        """The l_2 norm of each row, or for the order infinity its largest |coefficient|: (rows,)."""

    def dot(self, constant: Tensor) -> Tensor:
        """Each row times one constant tensor that broadcasts to the node's shape: (rows,)."""

    def plus(self, other: Rows) -> Rows:
        """The sum of two sets of rows over the same node."""

    def plus_window(self, other: WindowRows) -> Rows:
        """`plus` of rows known to be windows."""

    def select(self, rows: slice | Tensor) -> Rows:
        """Some of the rows."""


class Choice(NamedTuple):
    """x[lower_index] <= y <= slope * x[upper_index] + shift, elementwise: (owners, *shape of y), indices flat positions in x."""

    lower_index: Tensor
    upper_index: Tensor
    slope: Tensor
    shift: Tensor

    def of(self, values: Tensor, place: Tensor | slice, owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What coefficients (rows, k) of y at flat places (rows, k) become: coefficients, positions in x, and shifts (rows,)."""
        start = owner[:, None] * self.slope[0].numel()
        flat = (start + place) if isinstance(place, Tensor) else start + torch.arange(values.shape[1], device=owner.device)
        below = values > 0
        new = torch.where(below, values, values * self.slope.take(flat))
        index = torch.where(below, self.lower_index.take(flat), self.upper_index.take(flat))
        return new, index, (values.clamp(max=0) * self.shift.take(flat)).sum(dim=1)


_NORMS: Mapping[float, Callable[[Tensor], Tensor]] = {2.0: kernels.norm, inf: lambda rows: rows.abs().amax(dim=1)}


def _memory_order(rows: Tensor) -> list[int]:
    """The axes of (rows, *shape) in the order in which they lie in memory: convolutions leave their channels last."""
    if rows.is_contiguous():
        return list(range(rows.ndim))
    return [0, *sorted(range(1, rows.ndim), key=lambda axis: -rows.stride()[axis])]


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


@dataclass(frozen=True)
class DenseRows:
    """Coefficients stored as they are, in whatever order of the axes: (rows, *shape)."""

    values: Tensor

    def dense(self) -> Tensor:
        return self.values

    def pull_back(self, rule: Any, node: Node, params: Any, shapes: Sequence[Shape]) -> tuple[Rows, ...]:
        return tuple(DenseRows(values) for values in rule.transpose(self.values, node, params, shapes))

    def relax(
        self, slopes: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], owners: tuple[Tensor, Tensor]
    ) -> tuple[Rows, Tensor]:
        order = _memory_order(self.values)
        (ls, us), (lb, ub) = ([line.permute(order).flatten(1) for line in pair] for pair in (slopes, shifts))
        rows = self.values.permute(order)
        values, shift = kernels.relax(rows.flatten(1), ls, lb, owners[0], us, ub, owners[1])
        return DenseRows(values.reshape(rows.shape).permute(_inverse(order))), shift

    def choose(self, choice: Choice, owner: Tensor, shape: Shape) -> tuple[Rows, Tensor]:
        values, index, shift = choice.of(self.values.flatten(1), slice(None), owner)
        return PickedRows(values, index, shape), shift

    def minimise(self, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        order = _memory_order(self.values)
        values, low, high = (t.permute(order).flatten(1) for t in (self.values, lower, upper))
        return kernels.minimise(values, low, high, owner)

    def magnitude(self, weight: Tensor, owner: Tensor) -> Tensor:
        order = _memory_order(self.values)
        return kernels.magnitude(self.values.permute(order).flatten(1), weight.permute(order).flatten(1), owner)

    def norm(self, order: float) -> Tensor:
        return _NORMS[order](self.values.permute(_memory_order(self.values)).flatten(1))

    def dot(self, constant: Tensor) -> Tensor:
        # Only the axes along which the constant varies are worth a product: a convolution's bias needs sums over space first.
        shape = (1,) * (self.values.ndim - 1 - constant.ndim) + tuple(constant.shape)
        summed = [axis + 1 for axis, n in enumerate(shape) if n == 1 and self.values.shape[axis + 1] != 1]
        values = self.values.sum(dim=summed, keepdim=True) if summed else self.values
        return values.flatten(1) @ constant.flatten()

    def plus(self, other: Rows) -> Rows:
        return DenseRows(self.values + other.dense())

    def plus_window(self, other: WindowRows) -> Rows:
        return self.plus(other)

    def select(self, rows: slice | Tensor) -> Rows:
        return DenseRows(self.values[rows])


@dataclass(frozen=True)
class UnitRows:
    """Row r is sign[r] times the unit vector e_index[r] of a tensor of `shape`: where bounding a node's own neurons starts.

    The sign is any number: rows keep this form through whatever maps elements to elements.
    """

    index: Tensor
    sign: Tensor
    shape: Shape

    def dense(self) -> Tensor:
        values = self.sign.new_zeros(len(self.index), prod(self.shape))
        values[torch.arange(len(self.index), device=self.index.device), self.index] = self.sign
        return values.reshape(-1, *self.shape)

    def pull_back(self, rule: Any, node: Node, params: Any, shapes: Sequence[Shape]) -> tuple[Rows, ...]:
        pulled = rule.unit_rows(self, node, params, shapes) if rule.unit_rows else None
        return pulled if pulled is not None else DenseRows(self.dense()).pull_back(rule, node, params, shapes)

    def relax(
        self, slopes: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], owners: tuple[Tensor, Tensor]
    ) -> tuple[Rows, Tensor]:
        lower, upper = self.sign.clamp(min=0), self.sign.clamp(max=0)
        at = [
            (lines[0].flatten(1)[owners[0], self.index], lines[1].flatten(1)[owners[1], self.index]) for lines in (slopes, shifts)
        ]
        sign, shift = (lower * below + upper * above for below, above in at)
        return UnitRows(self.index, sign, self.shape), shift

    def choose(self, choice: Choice, owner: Tensor, shape: Shape) -> tuple[Rows, Tensor]:
        sign, index, shift = choice.of(self.sign[:, None], self.index[:, None], owner)
        return UnitRows(index.squeeze(1), sign.squeeze(1), shape), shift

    def minimise(self, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        low, high = (end.flatten(1)[owner, self.index] for end in (lower, upper))
        return torch.where(self.sign > 0, self.sign * low, self.sign * high)

    def magnitude(self, weight: Tensor, owner: Tensor) -> Tensor:
        return self.sign.abs() * weight.flatten(1)[owner, self.index]

    def norm(self, order: float) -> Tensor:
        return self.sign.abs()

    def dot(self, constant: Tensor) -> Tensor:
        return self.sign * constant.expand(self.shape).flatten()[self.index]

    def plus(self, other: Rows) -> Rows:
        return DenseRows(self.dense() + other.dense())

    def plus_window(self, other: WindowRows) -> Rows:
        return self.plus(other)

    def select(self, rows: slice | Tensor) -> Rows:
        return UnitRows(self.index[rows], self.sign[rows], self.shape)


def _three(space: Sequence[int]) -> tuple[int, int, int]:
    """Spatial axes padded in front to three, the number the kernels know."""
    return (1,) * (3 - len(space)) + tuple(space)  # type: ignore[return-value]


@dataclass(frozen=True)
class WindowRows:
    """Coefficients over (1, channels, *space) that vanish outside a window of each row's own position: what convolutions leave.

    `values` is (rows, channels, *window), `origin` (rows, axes) the position of the window's first cell, which may lie outside the
    space. Cells outside stand for padding; whoever reads the values skips them, unless `clean` says that they hold zeros.
    """

    values: Tensor
    origin: Tensor
    shape: Shape
    clean: bool = False

    @property
    def _space(self) -> tuple[int, int, int]:
        return _three(self.shape[2:])

    def _kernel_form(self) -> tuple[Tensor, Tensor]:
        values = self.values.reshape(*self.values.shape[:2], *_three(self.values.shape[2:]))
        return values, F.pad(self.origin, (3 - self.origin.shape[1], 0))

    def _over_space(self, vector: Tensor) -> Tensor:
        return vector.reshape(vector.shape[0], self.shape[1], *self._space)

    def compact(self) -> Rows:
        """Itself while the window is smaller than the space, else dense rows."""
        return self if prod(self.values.shape[2:]) < prod(self.shape[2:]) else DenseRows(self.dense())

    def masked(self) -> WindowRows:
        """The same rows with zeros stored in the cells outside the space: what a convolution may read."""
        if self.clean:
            return self
        values, origin = self._kernel_form()
        inside = kernels.window_mask(values, origin, self._space)
        return WindowRows(inside.reshape(self.values.shape), self.origin, self.shape, clean=True)

    def dense(self) -> Tensor:
        values, origin = self._kernel_form()
        return kernels.window_dense(values, origin, self._space).reshape(-1, *self.shape)

    def pull_back(self, rule: Any, node: Node, params: Any, shapes: Sequence[Shape]) -> tuple[Rows, ...]:
        pulled = rule.windows(self, node, params, shapes) if rule.windows else None
        return pulled if pulled is not None else DenseRows(self.dense()).pull_back(rule, node, params, shapes)

    def relax(
        self, slopes: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], owners: tuple[Tensor, Tensor]
    ) -> tuple[Rows, Tensor]:
        if owners[0] is not owners[1]:
            return DenseRows(self.dense()).relax(slopes, shifts, owners)
        values, origin = self._kernel_form()
        (ls, us), (lb, ub) = ([self._over_space(line) for line in pair] for pair in (slopes, shifts))
        new, shift = kernels.window_relax(values, origin, ls, lb, us, ub, owners[0])
        return WindowRows(new.reshape(self.values.shape), self.origin, self.shape, clean=True), shift

    def choose(self, choice: Choice, owner: Tensor, shape: Shape) -> tuple[Rows, Tensor]:
        clean = self.masked()
        place = kernels.window_places(*self._kernel_form(), self._space)
        values, index, shift = choice.of(clean.values.flatten(1), place.flatten(1), owner)
        return PickedRows(values, index, shape), shift

    def minimise(self, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        values, origin = self._kernel_form()
        return kernels.window_minimise(values, origin, self._over_space(lower), self._over_space(upper), owner)

    def magnitude(self, weight: Tensor, owner: Tensor) -> Tensor:
        return -self.minimise(-weight, weight, owner)  # min over |x_i| <= w_i of row @ x

    def norm(self, order: float) -> Tensor:
        return _NORMS[order](self.masked().values.flatten(1))

    def dot(self, constant: Tensor) -> Tensor:
        full = constant.expand(self.shape)[None]
        return self.minimise(full, full, torch.zeros(len(self.values), dtype=torch.int64, device=self.values.device))

    def plus(self, other: Rows) -> Rows:
        return other.plus_window(self)

    def select(self, rows: slice | Tensor) -> Rows:
        return WindowRows(self.values[rows], self.origin[rows], self.shape, self.clean)

    def plus_window(self, other: WindowRows) -> Rows:
        """The sum of two sets of windows that lie at a constant offset, as the two branches of a residual block do."""
        offset = self.origin - other.origin
        if not len(offset) or bool((offset != offset[:1]).any()):
            return DenseRows(self.dense() + other.dense())
        start = torch.minimum(self.origin, other.origin)
        end = [
            max(a + m, b + n)
            for a, m, b, n in zip(
                (self.origin - start)[0].tolist(),
                self.values.shape[2:],
                (other.origin - start)[0].tolist(),
                other.values.shape[2:],
                strict=True,
            )
        ]
        total = sum(_placed(rows.values, (rows.origin - start)[0].tolist(), end) for rows in (self, other))
        return WindowRows(total, start, self.shape).compact()  # type: ignore[arg-type]


@dataclass(frozen=True)
class PickedRows:
    """Coefficients `values` at flat positions `index` of a tensor of `shape`, (rows, k): what maxima leave, one member of each group.

    A row may have several coefficients at a position: they add up, and a minimum over a box that takes each for itself is a lower bound.
    """

    values: Tensor
    index: Tensor
    shape: Shape

    def dense(self) -> Tensor:
        flat = self.values.new_zeros(len(self.values), prod(self.shape)).scatter_add(1, self.index, self.values)
        return flat.reshape(-1, *self.shape)

    def _dense(self) -> DenseRows:
        return DenseRows(self.dense())

    def compact(self) -> Rows:
        """As windows around the positions of each row, where that is smaller than all of the space."""
        space = self.shape[2:]
        if not space or self.shape[0] != 1 or not self.values.numel():
            return self._dense()
        used, coordinates = self.values.detach() != 0, _coordinates(self.index, space)
        first = [torch.where(used, c, n).amin(dim=1).clamp(max=n - 1) for c, n in zip(coordinates, space, strict=True)]
        steps = [torch.where(used, c - f[:, None], 0) for c, f in zip(coordinates, first, strict=True)]
        size = [int(step.max()) + 1 for step in steps]
        if prod(size) >= prod(space):
            return self._dense()
        cell, channel = torch.zeros_like(self.index), self.index // prod(space)
        for step, n in zip(steps, size, strict=True):
            cell = cell * n + step
        cell = cell * self.shape[1] + channel  # channels last, as the kernels want them
        values = self.values.new_zeros(len(self.values), self.shape[1] * prod(size)).scatter_add(1, cell, self.values)
        values = values.reshape(-1, *size, self.shape[1]).movedim(-1, 1)
        return WindowRows(values, torch.stack(first, dim=1), self.shape)

    def pull_back(self, rule: Any, node: Node, params: Any, shapes: Sequence[Shape]) -> tuple[Rows, ...]:
        pulled = rule.picked(self, node, params, shapes) if rule.picked else None
        return pulled if pulled is not None else self._dense().pull_back(rule, node, params, shapes)

    def relax(
        self, slopes: tuple[Tensor, Tensor], shifts: tuple[Tensor, Tensor], owners: tuple[Tensor, Tensor]
    ) -> tuple[Rows, Tensor]:
        return self.compact().relax(slopes, shifts, owners)

    def choose(self, choice: Choice, owner: Tensor, shape: Shape) -> tuple[Rows, Tensor]:
        return self._dense().choose(choice, owner, shape)

    def minimise(self, lower: Tensor, upper: Tensor, owner: Tensor) -> Tensor:
        return self._sum(self.values.clamp(min=0), lower, owner) + self._sum(self.values.clamp(max=0), upper, owner)

    def magnitude(self, weight: Tensor, owner: Tensor) -> Tensor:
        return self._sum(self.values.detach().abs(), weight.detach(), owner)

    def _sum(self, values: Tensor, of: Tensor, owner: Tensor) -> Tensor:
        return (values * of.take(owner[:, None] * of[0].numel() + self.index)).sum(dim=1)

    def norm(self, order: float) -> Tensor:
        return self._dense().norm(order)

    def dot(self, constant: Tensor) -> Tensor:
        return (self.values * constant.expand(self.shape).take(self.index)).sum(dim=1)

    def plus(self, other: Rows) -> Rows:
        return DenseRows(self.dense() + other.dense())

    def plus_window(self, other: WindowRows) -> Rows:
        return self.plus(other)

    def select(self, rows: slice | Tensor) -> Rows:
        return PickedRows(self.values[rows], self.index[rows], self.shape)


def _coordinates(index: Tensor, space: Shape) -> list[Tensor]:
    """The coordinates along the last axes of flat positions in a tensor."""
    found = []
    for n in reversed(space):
        found.append(index % n)
        index = index // n
    return found[::-1]


def _placed(values: Tensor, before: Sequence[int], size: Sequence[int]) -> Tensor:
    """The windows inside larger ones of `size`, `before` cells from their start."""
    amounts = [(b, n - b - m) for b, n, m in zip(before, size, values.shape[2:], strict=True)]
    return F.pad(values, [amount for pair in reversed(amounts) for amount in pair])
