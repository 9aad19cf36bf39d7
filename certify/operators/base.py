"""What an operator is to the engine: an affine map, an elementwise function, or a multi-input nonlinearity with lines of its own.

Every tensor carries the engine's batch axis in front: values are `(batch, *node.shape)`, rows of linear coefficients
`(rows, *node.shape)`. Rules take the node (for shapes and attributes) and its parameters as tensors of the working dtype and device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from certify.graph import Node, Shape
from certify.operators.relaxation import Lines, LinesRelaxation, Relaxation
from certify.operators.rows import PickedRows, Rows, UnitRows, WindowRows

__all__ = ["Affine", "Elementwise", "Line", "Lines", "Params", "Relaxation", "Shapes"]

Params = Mapping[str, Tensor]
Shapes = Sequence[Shape]


class Line(NamedTuple):
    """One member of a family of sound lines, and its derivatives in the family's parameter t."""

    slope: Tensor
    intercept: Tensor
    slope_dt: Tensor
    intercept_dt: Tensor


@dataclass(frozen=True)
class Elementwise:
    """f applied to each element; what the engine needs to know of f on an interval [l, u], l <= u, both finite.

    value     f itself, as `(x, node, params) -> y`, the torch function the framework itself would call.
    interval  `(l, u, node, params) -> (lower, upper)`: lower <= f(x) <= upper for every *real* x in [l, u], rounded outward.
    lines     `(l, u, node, params) -> Lines`: sound for every real x in [l, u] in exact arithmetic (slopes and intercepts are the
              floating-point numbers returned; the inequality between exact real numbers holds with tolerance 0). Differentiable.
    linear    `(l, u, node, params) -> bool mask`: f is affine on [l, u], so that `lines` are exact there whatever the width; tighter
              bounds l, u would be wasted. Zero-width intervals are handled by the engine.
    lower_family, upper_family
              `(t, l, u, node, params) -> Line` for t in [0, 1] (values outside are clamped by the caller): every t gives a sound
              line; what alpha-crown optimises. None where the default line is the only sensible one. t broadcasts against l: t is
              `(rows, ...)` with l, u already gathered per row.
    lower_start, upper_start
              `(l, u, node, params) -> t`: the t whose line is the default of `lines` (or as near as the family has it).
    """

    value: Callable[..., Tensor]
    interval: Callable[[Tensor, Tensor, Node, Params], tuple[Tensor, Tensor]]
    lines: Callable[[Tensor, Tensor, Node, Params], Lines]
    linear: Callable[[Tensor, Tensor, Node, Params], Tensor]
    lower_family: Callable[[Tensor, Tensor, Tensor, Node, Params], Line] | None = None
    upper_family: Callable[[Tensor, Tensor, Tensor, Node, Params], Line] | None = None
    lower_start: Callable[[Tensor, Tensor, Node, Params], Tensor] | None = None
    upper_start: Callable[[Tensor, Tensor, Node, Params], Tensor] | None = None
    lower_everywhere: bool = False
    """The lines of `lower_family` lie below f on all of the real line, for every t in [0, 1], whatever l and u."""
    domain: Callable[[Tensor, Tensor, Node, Params], Tensor] | None = None
    """`(l, u, ...) -> bool mask` of the intervals on which f is defined and finite; None: everywhere. Outside it the engine refuses."""
    kinks: tuple[float, ...] = ()
    """Where f is not differentiable or jumps, for tests; a function of attributes is left out."""
    breaks: Callable[[Node], tuple[float, ...]] | None = None
    """The points between which f is affine, where that is what f is: splitting a neuron there makes it linear. None: a curve, or jumps."""
    examples: tuple[tuple[Mapping[str, object], Mapping[str, float]], ...] = (({}, {}),)
    """(attrs, params) pairs that the generated tests run through."""
    affine: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def split_point(self, l: Tensor, u: Tensor, node: Node) -> Tensor:
        """Where to cut [l, u] so that both parts have tighter lines: at the kink nearest the middle, else in the middle."""
        middle = 0.5 * l + 0.5 * u
        point, distance = middle, torch.full_like(middle, torch.inf)
        for kink in self.breaks(node) if self.breaks else self.kinks:
            off = torch.where((l < kink) & (kink < u), (middle - kink).abs(), torch.inf)
            point, distance = torch.where(off < distance, kink, point), torch.minimum(off, distance)
        return point

    def relax(self, l: Tensor, u: Tensor, node: Node, params: Params) -> Relaxation:
        """The node replaced by its lines on [l, u]."""
        return LinesRelaxation(self.lines(l, u, node, params))


@dataclass(frozen=True)
class Affine:
    """y = L(x, ...) + constant, with L linear jointly in its inputs.

    value      `(*inputs, node, params) -> y`: the map itself.
    linear     the same without the constant.
    magnitude  |L|, the map whose matrix holds the absolute values: what interval arithmetic and rounding analysis need. None where L
               has no negative entry, and `linear` serves.
    transpose  `(rows, node, params, shapes) -> one tensor per input`: pulls rows of coefficients, (rows, *node.shape), back to each
               input, (rows, *shape). `shapes` are the shapes of the inputs.
    constant   `(node, params) -> tensor that broadcasts to node.shape`, or None where the map is linear.
    unit_rows  `(UnitRows, node, params, shapes) -> tuple of Rows`, one per input: the transpose of unit rows, without building them.
               None, or a result None, where building them is as good.
    windows    `(WindowRows, node, params, shapes) -> tuple of Rows`: the transpose of rows in window form, likewise.
    picked     `(PickedRows, node, params, shapes) -> tuple of Rows`: the transpose of coefficients at single positions, likewise.
    largest    `(x, node, params) -> y`: max over j of |L_ij| x_j in place of the sum, for x >= 0. None where nobody has written it.
    """

    value: Callable[..., Tensor]
    linear: Callable[..., Tensor]
    transpose: Callable[[Tensor, Node, Params, Shapes], tuple[Tensor, ...]]
    magnitude: Callable[..., Tensor] | None = None
    constant: Callable[[Node, Params], Tensor | None] = lambda node, params: None
    unit_rows: Callable[[UnitRows, Node, Params, Shapes], tuple[Rows, ...] | None] | None = None
    windows: Callable[[WindowRows, Node, Params, Shapes], tuple[Rows, ...] | None] | None = None
    picked: Callable[[PickedRows, Node, Params, Shapes], tuple[Rows, ...] | None] | None = None
    largest: Callable[..., Tensor] | None = None
    separable: bool = False
    """Each output depends on one input at most and each input feeds one output: independent inputs stay independent."""
    moves: bool = False
    """The map only copies elements to other places: nothing is computed, so that nothing is rounded."""
    entries: tuple[str, Callable[[Tensor], Tensor]] | None = None
    """Where `magnitude` is needed: the role of the parameter that holds the entries of L, and `bool mask over it -> mask that broadcasts to
    node.shape`: whether all entries behind an element of y are in the mask."""
    affine: ClassVar[bool] = True
