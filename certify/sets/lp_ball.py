"""l_p balls, intersected with a data domain."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.environment import subnormals_kept
from certify.sets.box import Box, check_finite
from certify.sets.rounding import as_tensor, outward


@dataclass(frozen=True)
class LpBall:
    """The points x with ||x - center||_p <= eps inside `domain`, one per batch element: center is (batch, *input).

    p is 1, 2 or infinity; eps is one number or one per batch element; domain is (low, high), numbers or tensors that broadcast
    against center, or None. The centre must lie in the domain. The dtype is that of center, float32 or float64; eps, the domain and the
    bounding box are rounded outward to it. Differentiable in center, eps and domain. `arrays` says that the ball was
    made from arrays, so that what is computed from it should be arrays too.
    """

    center: Tensor
    eps: Tensor
    p: float = inf
    domain: tuple[Any, Any] | None = None
    arrays: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        center = as_tensor("LpBall: center", self.center)
        eps = as_tensor("LpBall: eps", self.eps, like=center, end=inf)
        p = float(self.p)
        if p not in (1.0, 2.0, inf):
            raise ValueError(f"LpBall: p must be 1, 2 or inf, not {self.p}")
        if eps.ndim > 1 or (eps.ndim == 1 and eps.shape[0] not in (1, center.shape[0])):
            raise ValueError(f"LpBall: eps must be one number or one per batch element, got shape {list(eps.shape)}")
        check_finite("LpBall: center", center)
        check_finite("LpBall: eps", eps)
        if bool((eps < 0).any()):
            raise ValueError(f"LpBall: eps must not be negative, got {float(eps.min()):g}")
        eps = eps.expand(center.shape[0]) if eps.ndim else eps.repeat(center.shape[0])
        low, high = (-inf, inf) if self.domain is None else self.domain
        low, high = (
            as_tensor("LpBall: domain", end, like=center, end=far).expand_as(center) for end, far in ((low, -inf), (high, inf))
        )
        if not bool(((low <= center) & (center <= high)).all()):
            raise ValueError("LpBall: the centre does not lie in the domain; check the scaling of the data")
        object.__setattr__(self, "arrays", isinstance(self.center, np.ndarray))
        for name, value in (("center", center), ("eps", eps), ("p", p), ("domain", (low, high))):
            object.__setattr__(self, name, value)

    @property
    def radius(self) -> Tensor:
        """eps, shaped (batch, 1, ..., 1) to broadcast against the centre."""
        return self.eps.reshape(-1, *(1,) * (self.center.ndim - 1))

    @cached_property
    def box(self) -> Box:
        """The smallest box that holds the set, each end rounded outward."""
        low, high = self.domain  # type: ignore[misc]
        with subnormals_kept():
            down, up = outward(self.center - self.radius, -inf), outward(self.center + self.radius, inf)
            return Box(torch.maximum(low, down), torch.minimum(high, up))

    @cached_property
    def uncut(self) -> bool:
        """Whether the domain cuts nothing off, but for rounding."""
        low, high = self.domain  # type: ignore[misc]
        return bool(((low <= self.center - self.radius) & (self.center + self.radius <= high)).all())

    @property
    def simplest(self) -> Box | LpBall:
        """The same set in the form that is cheapest to work with: a box where p is infinite."""
        return self.box if self.p == inf else self

    def map(self, function: Any) -> LpBall:
        """The ball with `function` applied to its per-coordinate tensors (a reshape, a conversion, a selection of batch elements)."""
        low, high = self.domain  # type: ignore[misc]
        radius = function(self.radius.expand_as(self.center))
        return LpBall(function(self.center), radius.flatten(1)[:, 0], self.p, (function(low), function(high)))
