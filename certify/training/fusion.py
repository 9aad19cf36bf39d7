"""Loss fusion: a certified cross entropy that needs one objective row per image instead of one per class.

Cross entropy is log(1 + sum_c exp(-margin_c)). On the interval of a margin exp lies below its chord, so the sum is at most
one linear function of the logits, whose upper bound costs a single row of back-substitution (loss fusion, arXiv 2002.12920).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FusedRow(NamedTuple):
    """exp(-shift) * (1 + sum_c exp(-margin_c)) <= offset - row @ logits, per batch element, on the intervals it was made from."""

    row: Tensor
    """(batch, 1, outputs): the objective row to be bounded from below."""
    offset: Tensor
    """(batch,)"""
    shift: Tensor
    """(batch,): keeps the exponentials in range; carries no gradient."""

    def loss(self, lower: Tensor) -> Tensor:
        """Mean over the batch of an upper bound of the cross entropy; `lower`, (batch, 1), bounds `row @ logits` from below."""
        total = self.offset - lower.squeeze(1)
        return (torch.log(total) + self.shift).mean()


def fuse(rows: Tensor, lower: Tensor, upper: Tensor) -> FusedRow:
    """The one row that bounds the cross entropy from above on the given intervals of the margins.

    `rows` is (batch, classes - 1, outputs), `lower` and `upper` are (batch, classes - 1): cheap bounds of the margins. The row is
    then bounded by a tighter method. Differentiable in the bounds.
    """
    shift = (-lower).amax(dim=1).clamp(min=0.0).detach()
    low, high = -upper - shift[:, None], -lower - shift[:, None]
    slope = _chord_slope(low, high)
    intercept = low.exp() - slope * low
    # -margin = -row @ logits, moved by the shift: sum_c slope * (-margin_c - shift) + intercept.
    offset = (-shift).exp() + (intercept - slope * shift[:, None]).sum(dim=1)
    return FusedRow((slope[:, :, None] * rows).sum(dim=1, keepdim=True), offset, shift)


def _chord_slope(low: Tensor, high: Tensor) -> Tensor:
    """(exp(high) - exp(low)) / (high - low) for high <= 0, without cancellation or overflow; exp(high) on a point."""
    width = high - low
    positive = width > 0
    width = torch.where(positive, width, torch.ones_like(width))
    return high.exp() * torch.where(positive, -torch.expm1(-width) / width, torch.ones_like(width))
