"""How far computed bounds may be from the real numbers they stand for.

Every quantity that bound propagation computes is a sum of products, and a row of coefficients is only ever used as the claim
"f(x) >= A z + c for all x in the set", with z the exact values of a node. If A is replaced by a computed A' with
|A' - A| <= gamma |A''| ..., the claim stays true when c is lowered by gamma * sum_i |A_i| m_i, where m_i bounds the terms that went
into z_i. For a sum of n products in any order gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability, 3.1); with n at least the
number of elements of the tensors involved, `gamma` below is more than 2 gamma_(n + 8), the factor covering the rounding of the
allowance itself and of constants that were computed when the model was loaded, by the model or by a pass: fixed ones are within two
units, 2 * 2^-53, of relative error of their real values, whatever cancels (`certify.graph.passes.fold_affine`), or the model is refused.
Those of affine maps, that is; numbers that a nonlinear rule reads are exact, and it accounts for their conversion. Constants derived
from live parameters in each evaluation are not bounded in this way: those are for training, and a module that is verified is read with
its present numbers as fixed ones.

That is the part relative to the terms. A product that underflows, or a constant below the normal numbers, errs by at most eps * tiny
besides, the spacing of the subnormal numbers; gamma * tiny is more than n + 16 times that. In a coefficient of x_j it
counts |x_j| times, so `underflow` gives what gamma is multiplied with to cover it: tiny * (1 + sum_j |x_j|).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.operators.rows import Rows


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


@dataclass(frozen=True)
class Allowance:
    """What a claim loses where its rows pass a node: gamma * (sum_i |A_i| scale_i + least).

    `scale` is (owners, *shape) and `least` (batch,); `own` numbers the scale of each row where that is not its owner's.
    """

    gamma: float
    scale: Tensor
    least: Tensor
    own: Tensor | None = None

    def of(self, rows: Rows, owner: Tensor) -> Tensor:
        """The allowance of each row, (rows,)."""
        return self.gamma * (rows.magnitude(self.scale, owner if self.own is None else self.own) + self.least[owner])


def underflow(magnitudes: Sequence[Tensor]) -> Tensor:
    """tiny * (1 + sum of |x_j| over all inputs), (batch,), from upper bounds (batch, *shape) of the |x_j|."""
    tiny = torch.finfo(magnitudes[0].dtype).tiny
    return tiny + sum((tiny * magnitude).flatten(1).sum(dim=1) for magnitude in magnitudes)  # type: ignore[return-value]


def per_element(least: Tensor, like: Tensor) -> Tensor:
    """(batch,) shaped to broadcast against (batch, *shape)."""
    return least.reshape(-1, *(1,) * (like.ndim - 1))


NEAREST = Rounding(0.0)
"""Bounds as computed, within rounding of the real ones: for training and exploration."""
OUTWARD = Rounding(1.0)
"""Bounds that hold in real arithmetic: for verdicts."""
