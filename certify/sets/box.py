"""Axis-aligned boxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.sets.rounding import as_tensor


def check_finite(name: str, tensor: Tensor) -> None:
    """A ValueError that counts the NaN and infinite entries, if there are any."""
    if bool(torch.isfinite(tensor.sum())):  # one pass; where the sum overflows, the entries are looked at themselves
        return
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ValueError(f"{name} has {bad} entries that are NaN or infinite; bounds need finite input sets")


@dataclass(frozen=True)
class Box:
    """The points x with lower <= x <= upper, one box per batch element: tensors or arrays of shape (batch, *input).

    float32 or float64, as `lower` is; lists and integers become float32. Numbers that the dtype does not hold are rounded outward. Zero
    width is allowed in any coordinate. NaN, infinite and reversed bounds are a ValueError. `arrays` says that it was made from arrays,
    so that what is computed from it should be arrays too.
    """

    lower: Tensor
    upper: Tensor
    arrays: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lower = as_tensor("box: lower", self.lower, end=-inf)
        upper = as_tensor("box: upper", self.upper, like=lower, end=inf)
        if lower.shape != upper.shape:
            raise ValueError(f"box: lower has shape {list(lower.shape)} and upper {list(upper.shape)}")
        check_finite("box: lower", lower)
        check_finite("box: upper", upper)
        if not bool((lower <= upper).all()):
            reversed_ = int((lower > upper).sum())
            index = tuple(int(i) for i in (lower > upper).nonzero()[0])
            raise ValueError(
                f"box: lower > upper in {reversed_} entries, first at {list(index)} ({lower[index]:g} > {upper[index]:g})"
            )
        object.__setattr__(self, "arrays", isinstance(self.lower, np.ndarray))
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    @property
    def box(self) -> Box:
        """The smallest box that holds the set: itself."""
        return self

    @property
    def simplest(self) -> Box:
        """The same set in the form that is cheapest to work with: itself."""
        return self

    def map(self, function: Any) -> Box:
        """The box with `function` applied to its tensors (a reshape, a conversion, a selection of batch elements)."""
        return Box(function(self.lower), function(self.upper))

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the set."""
        return torch.clamp(x, self.lower, self.upper)
