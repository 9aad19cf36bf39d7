"""Base classifiers whose smoothed probabilities are known."""

from __future__ import annotations

import torch
from torch import Tensor


class HalfSpace:
    """Class 0 where the mean of the inputs times sqrt(d) lies above `offset`, else class 1: p_0 = Phi(distance / sigma)."""

    def __init__(self, dimension: int, offset: float) -> None:
        self.weight = torch.full((dimension,), dimension**-0.5)
        self.offset = offset

    def __call__(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight - self.offset
        return torch.stack((score, -score), dim=1)

    def distance(self, x: Tensor) -> float:
        """Signed l_2 distance of one input from the boundary."""
        return float(x.double().flatten() @ self.weight.double() - self.offset)


def ball(x: Tensor) -> Tensor:
    """Class 0 inside the ball of radius 1 around the origin, else class 1."""
    score = 1 - x.flatten(1).norm(dim=1)
    return torch.stack((score, -score), dim=1)
