"""Input sets with exact ends: what proofs must cover, what attacks may use, and membership without rounding.

Inputs are flat, in C order. Proofs use `region`, rounded outward; attacks use `attack_region`, rounded inward, so that every point of
it that is a number of the `grid` (float32, or the float16 of a float16 model) is a point of the exact set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from certify.specification.exact import Rationals, round_down, round_up

if TYPE_CHECKING:
    from certify.sets import Box, LpBall


@dataclass(frozen=True)
class Boxes:
    """The boxes lower[i] <= x <= upper[i], exact: arrays of shape (count, size). A box with lower > upper somewhere is empty."""

    lower: Rationals
    upper: Rationals
    grid: DTypeLike = field(default=np.float32, kw_only=True)

    def on_grid(self, grid: DTypeLike) -> Boxes:
        """The same boxes, whose points are looked for among the numbers of this format."""
        return replace(self, grid=grid)

    @property
    def count(self) -> int:
        """How many boxes."""
        return len(self.lower.nearest)

    @property
    def size(self) -> int:
        """How many inputs."""
        return self.lower.nearest.shape[1]

    def empty(self) -> NDArray[np.bool_]:
        """Which boxes hold no point: (count,)."""
        return np.asarray(self.lower.exceeds(self.upper).any(axis=1))

    def outward(self, dtype: DTypeLike = np.float64) -> tuple[NDArray[Any], NDArray[Any]]:
        """The smallest boxes with ends in this precision that cover the exact ones."""
        return self.lower.down(dtype), self.upper.up(dtype)

    def inward(self, dtype: DTypeLike | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
        """The largest boxes with ends in this precision (the grid's) inside the exact ones; lower > upper where no such float exists."""
        dtype = self.grid if dtype is None else dtype
        return self.lower.up(dtype), self.upper.down(dtype)

    def contains(self, index: int, x: NDArray[Any]) -> bool:
        """Whether the float point x, (size,), lies in box `index`; exact."""
        above = self.lower[index].compare(x) <= 0
        below = self.upper[index].compare(x) >= 0
        return bool((above & below).all())

    def attackable(self) -> NDArray[np.bool_]:
        """Which boxes hold a point of the grid: (count,)."""
        lower, upper = self.inward()
        return np.asarray((lower <= upper).all(axis=1))

    def region(self, index: Sequence[int] | NDArray[Any]) -> Box:
        """The boxes `index` rounded outward, as a float64 `Box` of shape (len(index), size)."""
        import torch

        from certify.sets import Box

        rows = np.asarray(index)
        return Box(torch.from_numpy(self.lower[rows].down()), torch.from_numpy(self.upper[rows].up()))

    def attack_region(self, index: Sequence[int] | NDArray[Any]) -> Box:
        """The boxes `index` rounded inward, as a float32 `Box`; all of them must be `attackable`."""
        import torch

        from certify.sets import Box

        rows = np.asarray(index)
        ends = (self.lower[rows].up(self.grid), self.upper[rows].down(self.grid))
        return Box(*(torch.from_numpy(end.astype(np.float32)) for end in ends))


@dataclass(frozen=True)
class Ball:
    """The points of `domain` with ||x - center||_p <= eps, p = 1 or 2: exact, one set."""

    center: NDArray[np.float64]
    eps: Fraction
    p: float
    domain: Boxes
    grid: DTypeLike = field(default=np.float32, kw_only=True)

    count = 1

    def __post_init__(self) -> None:
        if self.p not in (1.0, 2.0):
            raise ValueError(f"Ball: p must be 1 or 2, not {self.p:g}; for infinity use Boxes")
        if self.eps < 0:
            raise ValueError(f"eps must not be negative, got {float(self.eps):g}")
        if not self.domain.contains(0, self.center):
            raise ValueError("the centre does not lie in the domain; check the scaling of the data")

    def on_grid(self, grid: DTypeLike) -> Ball:
        """The same ball, whose points are looked for among the numbers of this format."""
        return replace(self, grid=grid)

    @property
    def size(self) -> int:
        """How many inputs."""
        return self.center.size

    def empty(self) -> NDArray[np.bool_]:
        """Never: the centre is a point of the set."""
        return np.zeros(1, dtype=bool)

    def contains(self, index: int, x: NDArray[Any]) -> bool:
        """Whether the float point x, (size,), lies in the set; exact."""
        offsets = [abs(Fraction(float(a)) - Fraction(float(c))) for a, c in zip(x, self.center, strict=True) if a != c]
        power = int(self.p)
        return self.domain.contains(0, x) and sum((d**power for d in offsets), Fraction(0)) <= self.eps**power

    def attackable(self) -> NDArray[np.bool_]:
        """Whether a point of the grid is easy to find: the centre itself, or a ball around its nearest neighbour."""
        return np.array([self._attack_eps() >= 0.0])

    def region(self, index: Sequence[int] | NDArray[Any]) -> LpBall:
        """The set as a float64 `LpBall`, eps rounded up and the domain outward, once for every entry of `index`."""
        return self._ball(self.center, round_up(self.eps), self.domain.outward(np.float64), len(index))

    def attack_region(self, index: Sequence[int] | NDArray[Any]) -> LpBall:
        """A float32 `LpBall` inside the set, once for every entry of `index`."""
        return self._ball(self._attack_center(), self._attack_eps(), self._attack_domain(), len(index))

    def _attack_domain(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        lower, upper = self.domain.inward(self.grid)
        return lower.astype(np.float32), upper.astype(np.float32)

    def _attack_center(self) -> NDArray[np.float32]:
        lower, upper = self._attack_domain()
        return np.clip(self.center.astype(self.grid).astype(np.float32), lower[0], upper[0])

    def _attack_eps(self) -> float:
        """The radius that is left around the centre on the grid, rounded down to float32; negative where none is."""
        lower, upper = self._attack_domain()
        if (lower > upper).any():
            return -1.0
        offset = self._attack_center() - self.center
        moved = float(np.linalg.norm(offset, int(self.p))) * (1 + 1e-9) + 1e-100 * bool(offset.any())  # squares underflow
        left = round_down(self.eps) - moved
        return float(np.nextafter(np.float32(left), np.float32(-1.0))) if left > 0 else left

    def _ball(self, center: NDArray[Any], eps: float, domain: tuple[NDArray[Any], NDArray[Any]], count: int) -> LpBall:
        import torch

        from certify.sets import LpBall

        low, high = (torch.from_numpy(end).expand(count, -1) for end in domain)
        return LpBall(torch.from_numpy(center).expand(count, -1), torch.tensor(eps, dtype=low.dtype), self.p, (low, high))
