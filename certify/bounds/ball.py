"""Intervals of affine functions of a ball from the norms of their rows: exact where the domain cuts nothing off.

z = L x + b over ||x - c||_p <= eps lies within eps ||L_i||_q of L_i c + b, q being dual to p, and reaches both ends. The norms of all rows
are one pass of the operator itself (`certify.operators.row_norms`), as long as the elements of its input are coordinates of the ball,
scaled and moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from certify.bounds.interval import Interval, affine_interval, affine_scale, largest_sum
from certify.bounds.rounding import Rounding
from certify.graph import Node
from certify.operators.base import Affine, Params
from certify.operators.row_norms import RowNorms, row_norms
from certify.sets import LpBall


@dataclass(frozen=True)
class Image:
    """A node whose elements are center + scale * step, each with a coordinate of its own of a step ||step||_p <= eps, or constant.

    `center` is (batch, *shape) and at most `error` off, `scale` (1, *shape) and not less than the real one. `cut`, (batch, *shape), is
    positive where the coordinate ends at the domain before it ends at the ball; None where the domain cuts nothing.
    """

    center: Tensor
    scale: Tensor
    error: Tensor
    cut: Tensor | None


@dataclass
class BallImages:
    """What is known of affine functions of a ball, by node, in the order in which nodes are visited.

    `affine` are their names; `loose` are masks, (batch, *shape), of the elements whose interval is not exact but for rounding.
    """

    ball: LpBall
    rounding: Rounding
    images: dict[str, Image] = field(default_factory=dict)
    affine: set[str] = field(default_factory=set)
    loose: dict[str, Tensor] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Notes the network's input."""
        ball = self.ball
        low, high = ball.domain  # type: ignore[misc]
        cut = (low > ball.center - ball.radius) | (high < ball.center + ball.radius)
        scale = torch.ones_like(ball.center[:1].detach())
        error = torch.zeros_like(ball.center.detach())
        self.images[name] = Image(ball.center, scale, error, cut.to(scale.dtype) if bool(cut.any()) else None)
        self.affine.add(name)

    def interval(
        self, rule: Affine, node: Node, params: Params, inputs: Sequence[Interval]
    ) -> tuple[Interval, Tensor | None] | None:
        """`affine_interval` over the ball in place of its box; None where this is no affine function of it, or no better is known."""
        if not all(name in self.affine for name in node.inputs):
            return None
        self.affine.add(node.name)
        image = self.images.get(node.inputs[0]) if len(node.inputs) == 1 else None
        norms = None if image is None else row_norms(rule, node, params, image.scale, self.ball.p)
        if image is None or norms is None:
            self.loose[node.name] = torch.ones(len(self.ball.eps), *node.shape, dtype=torch.bool, device=self.ball.eps.device)
            return None
        terms = affine_scale(rule, node, params, inputs) if self.rounding.active else None
        gamma = self.rounding.gamma(largest_sum(node, inputs), image.center.dtype)
        moved = self._moved(rule, node, params, image, norms, None if terms is None else gamma * terms, gamma)
        if rule.separable:
            self.images[node.name] = moved
        size = norms.values if terms is None else norms.values * (1 + gamma) + norms.least
        found = self._around(moved, size)
        if moved.cut is None:
            return found, terms
        with torch.no_grad():
            loose = moved.cut > 0
            if bool(loose.any()):
                self.loose[node.name] = loose
        return intersection(affine_interval(rule, node, params, inputs, self.rounding)[0], found), terms

    def _moved(
        self, rule: Affine, node: Node, params: Params, image: Image, norms: RowNorms, own: Tensor | None, gamma: float
    ) -> Image:
        """The node as an image of the ball, as far as each element has a coordinate of its own; `own` is the error of its own sums."""
        absolute = rule.magnitude or rule.linear
        with torch.no_grad():
            cut = None if image.cut is None else absolute(image.cut, node=node, params=params)
        center, scale, error = rule.value(image.center, node=node, params=params), norms.values, image.error
        if own is not None:
            error = absolute(error, node=node, params=params) * (1 + gamma) + own
            if rule.magnitude is not None:  # else nothing but moves and shifts: the scale is as it was
                scale = scale * (1 + self.rounding.gamma(1, center.dtype)) + norms.least
        return Image(center, scale, error, cut)

    def _around(self, image: Image, size: Tensor) -> Interval:
        """center +- eps * size, rounded outward."""
        radius = self.ball.eps.reshape(-1, *(1,) * (image.center.ndim - 1)) * size
        if not self.rounding.active:
            return image.center - radius, image.center + radius
        gamma = self.rounding.gamma(1, radius.dtype)
        reach = radius + image.error + gamma * (image.center.detach().abs() + radius.detach())
        return image.center - reach, image.center + reach


def intersection(first: Interval, second: Interval) -> Interval:
    """The points of both; where there are none, which holds of no point either, the first."""
    lower, upper = torch.maximum(first[0], second[0]), torch.minimum(first[1], second[1])
    empty = lower > upper
    return torch.where(empty, first[0], lower), torch.where(empty, first[1], upper)
