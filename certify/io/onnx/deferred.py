"""Tensors of a model that have no bounds by themselves, until another node makes something of them that has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from certify.graph import Shape


@dataclass(frozen=True)
class Condition:
    """Truth values: above > below, or the same with >=, between nodes and constants, of which one at least is a node.

    A selection by it is continuous where it has a rule at all, so ties are of no account. As numbers, they are one and zero.
    """

    above: Any
    below: Any
    shape: Shape

    def __str__(self) -> str:
        return "a comparison of what depends on the network's input, which jumps; compare in the property"


@dataclass(frozen=True)
class Masked:
    """The elements of a node, but infinite (all of the same sign) where `mask` is."""

    node: str
    mask: np.ndarray
    infinity: float

    @property
    def shape(self) -> Shape:
        """That of the node."""
        return tuple(self.mask.shape)

    def __str__(self) -> str:
        return f"a tensor with entries of {self.infinity:g}, which only {'maxima' if self.infinity < 0 else 'minima'} leave out"
