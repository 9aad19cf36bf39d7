"""How far computed bounds may be from the real numbers they stand for.

Every quantity that bound propagation computes is a sum of products, and a row of coefficients is only ever used as the claim
"f(x) >= A z + c for all x in the set", with z the exact values of a node. If A is replaced by a computed A' with
|A' - A| <= gamma |A''| ..., the claim stays true when c is lowered by gamma * sum_i |A_i| m_i, where m_i bounds the terms that went
into z_i. For a sum of n products in any order gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability, 3.1); with n at least the
number of elements of the tensors involved, `gamma` below is more than 2 gamma_(n + 8), the factor covering the rounding of the
allowance itself and of weights that were folded together when the model was loaded (a few units each).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Rounding:
    """The allowance per unit of gamma_n: 1 makes every bound hold in real arithmetic, 0 leaves the computed values as they are."""

    weight: float

    def gamma(self, terms: int, dtype: torch.dtype) -> float:
        """The relative allowance for sums of `terms` products in `dtype`."""
        return self.weight * (terms + 16) * torch.finfo(dtype).eps

    @property
    def active(self) -> bool:
        """Whether there is anything to allow for."""
        return self.weight > 0


NEAREST = Rounding(0.0)
"""Bounds as computed, within rounding of the real ones: for training and exploration."""
OUTWARD = Rounding(1.0)
"""Bounds that hold in real arithmetic: for verdicts."""
