"""Objective rows: the linear functions of the logits that a classifier's certificate is about."""

from __future__ import annotations

import torch
from torch import Tensor


def margin_rows(labels: Tensor, classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows c with c @ logits = y_label - y_other, others in ascending order: (batch, classes - 1, classes).

    `labels` is (batch,), integers in [0, classes), of two classes at least; anything else is a ValueError. Where the lower bounds of all
    rows are positive, the label is certified.
    """
    if classes < 2:
        raise ValueError(
            f"margin_rows: {classes} classes have no margins; where one score tells two classes apart, bound that score"
        )
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"margin_rows: labels must be integers of shape (batch,), got {labels.dtype}, shape {list(labels.shape)}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        span = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(f"margin_rows: labels run from {span}, outside the {classes} classes 0 to {classes - 1}")
    identity = torch.eye(classes, dtype=dtype, device=labels.device)
    others = torch.arange(classes - 1, device=labels.device)
    others = others + (others >= labels[:, None])
    return identity[labels][:, None] - identity[others]
