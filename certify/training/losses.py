"""Losses on certified margins: cross entropy of the worst logits that the bounds allow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def certified_cross_entropy(lower_margins: Tensor) -> Tensor:
    """Mean over the batch of an upper bound of the cross entropy at any point of the set.

    `lower_margins` is (batch, classes - 1), lower bounds of y_label - y_other. Cross entropy is log(1 + sum exp(-margin)),
    decreasing in every margin, so that its maximum is at most its value at the lower bounds (arXiv 1711.00851, theorem 2).
    """
    own = lower_margins.new_zeros(lower_margins.shape[0], 1)
    return torch.cat([own, -lower_margins], dim=1).logsumexp(dim=1).mean()


def mixed_cross_entropy(logits: Tensor, labels: Tensor, lower_margins: Tensor, kappa: float) -> Tensor:
    """kappa * clean cross entropy + (1 - kappa) * certified cross entropy (arXiv 1810.12715)."""
    return kappa * cross_entropy(logits, labels) + (1.0 - kappa) * certified_cross_entropy(lower_margins)


def mix(tight: Tensor, cheap: Tensor, beta: float) -> Tensor:
    """beta * tight + (1 - beta) * cheap: of two lower bounds a lower bound again (CROWN-IBP, arXiv 1906.06316)."""
    return beta * tight + (1.0 - beta) * cheap
