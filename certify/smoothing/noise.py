"""Noise distributions: what is added to an input, from which stream, and how far the drawn distribution is from the stated one.

Two kinds of arithmetic, which every certificate names. "integer": inputs lie on a grid of 8-bit levels, the noise is the Gaussian
rounded to that grid, and the network sees a function of the exact integer sum. Rounding x + eps to the grid gives x + round(eps)
for x on it, so this is Gaussian smoothing of the classifier "round, then classify", without the leak of floating-point smoothing
(Voracek and Hein 2023), in which the low bits of x + eps reveal x. "real": floating-point noise; certificates assume real
arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from certify.kernels import noise as kernels
from certify.kernels.noise_reference import AMBIGUOUS, PREFIX_BITS, REST_BITS, Steps
from certify.smoothing.exact import DIGITS, decimal, float_up, normal_cdf

Streams = kernels.Streams
BITS = PREFIX_BITS + REST_BITS
REACH = 9
"""The rounded Gaussian is cut at this many sigma: Phi(-9) = 1.1e-19 < 2^-60."""
WIDEST = 14.0
"""Largest sigma in units of the input range whose noise fits 16-bit integers."""

MOST = 1e30
"""Largest scale of noise in floating point: nine sigma of it stay far inside the range of float32."""

GRIDS = (255, 16)
"""Numbers of levels that images commonly have: bytes, and the grey levels of scikit-learn's digits."""


class Noise(Protocol):
    """A smoothing distribution. `scale` is the number that radius formulas take: sigma, or the half width; `norm` the p of the norm
    that these formulas measure radii in.
    """

    arithmetic: ClassVar[str]
    norm: ClassVar[float]

    @property
    def scale(self) -> float:
        """sigma of a Gaussian, half the width of a uniform distribution."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Inputs (n, *shape) in the form `perturb` takes them; a ValueError where the distribution does not fit them."""
        ...

    def perturb(self, encoded: Tensor, owner: Tensor, streams: Streams) -> Tensor:
        """encoded[owner] plus noise, float32 (rows, *shape), one stream for every row."""
        ...

    def slack(self, dimension: int) -> float:
        """Bound on the total variation distance between the noise drawn and the noise stated, in this many coordinates."""
        ...


@dataclass(frozen=True)
class GridGaussian:
    """Gaussian noise rounded to the grid of `levels` steps that 8-bit inputs k/levels in [0, 1] lie on. Exact in integers."""

    sigma: float
    levels: int = 255
    arithmetic: ClassVar[str] = "integer"
    norm: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= WIDEST:
            raise ValueError(f"integer noise takes sigma in (0, {WIDEST:g}], in units of the input range; got {self.sigma}")

    @property
    def scale(self) -> float:
        """sigma."""
        return self.sigma

    def encode(self, x: Tensor) -> Tensor:
        """uint8 as it is, floats as the levels they stand for."""
        levels = as_levels(x, self.levels)
        if levels is None:
            raise ValueError(
                f"integer noise needs inputs k/{self.levels} in [0, 1] or uint8; ask for real-arithmetic noise instead"
            )
        return levels

    def perturb(self, encoded: Tensor, owner: Tensor, streams: Streams) -> Tensor:
        """(level + integer noise) / levels."""
        flat = kernels.noisy_grid(encoded.flatten(1), owner, streams, rounded_gaussian(self.sigma, self.levels), 1 / self.levels)
        return flat.reshape(len(owner), *encoded.shape[1:])

    def slack(self, dimension: int) -> float:
        """Every threshold is off by less than two units of 2^-60, and the tails cut off weigh less than one."""
        thresholds = len(rounded_gaussian(self.sigma, self.levels).thresholds)
        return float_up(Fraction(dimension * 2 * (thresholds + 1), 1 << BITS))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise in float32, by Box and Muller's method. Real arithmetic is assumed."""

    sigma: float
    arithmetic: ClassVar[str] = "real"
    norm: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        _check_scale("sigma", self.sigma)

    @property
    def scale(self) -> float:
        """sigma."""
        return self.sigma

    def encode(self, x: Tensor) -> Tensor:
        """As float32."""
        return as_floats(x)

    def perturb(self, encoded: Tensor, owner: Tensor, streams: Streams) -> Tensor:
        """x + sigma z."""
        shape = encoded.shape[1:]
        count = math.prod(shape)
        u = uniforms(streams, count + count % 2)
        length = u[:, 0::2].log_().mul_(-2).sqrt_().mul_(self.sigma)
        angle = u[:, 1::2] * (2 * math.pi)
        noise = torch.cat((length * angle.cos(), length * angle.sin()), dim=1)[:, :count]
        return noise.reshape(-1, *shape).add_(encoded[owner])

    def slack(self, dimension: int) -> float:
        """0 by assumption."""
        return 0.0


@dataclass(frozen=True)
class Uniform:
    """Noise uniform on [-half_width, half_width] in every coordinate, in float32. Real arithmetic is assumed."""

    half_width: float
    arithmetic: ClassVar[str] = "real"
    norm: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        _check_scale("the half width", self.half_width)

    @property
    def scale(self) -> float:
        """Half the width."""
        return self.half_width

    def encode(self, x: Tensor) -> Tensor:
        """As float32."""
        return as_floats(x)

    def perturb(self, encoded: Tensor, owner: Tensor, streams: Streams) -> Tensor:
        """x + (2 u - 1) w."""
        noise = uniforms(streams, math.prod(encoded.shape[1:])).mul_(2 * self.half_width).sub_(self.half_width)
        return noise.reshape(-1, *encoded.shape[1:]).add_(encoded[owner])

    def slack(self, dimension: int) -> float:
        """0 by assumption."""
        return 0.0


def _check_scale(name: str, value: float) -> None:
    if not 0 < value <= MOST:
        raise ValueError(f"{name} of noise must be positive and at most {MOST:g}, got {value}")


def gaussian_for(x: Tensor, sigma: float) -> Noise:
    """Integer noise where the inputs are levels of one of `GRIDS`, floating-point noise otherwise."""
    fitting = [levels for levels in GRIDS if as_levels(x, levels) is not None and sigma <= WIDEST]
    return GridGaussian(sigma, fitting[0]) if fitting else Gaussian(sigma)


def as_levels(x: Tensor, levels: int) -> Tensor | None:
    """int16 levels k of uint8 inputs, or of floats within rounding of k/levels, 0 <= k <= levels; None where x is neither."""
    if x.dtype == torch.uint8:
        return x.to(torch.int16)
    if not x.is_floating_point():
        return None
    scaled = x * levels
    nearest = scaled.round()
    inside = (nearest >= 0) & (nearest <= levels) & ((scaled - nearest).abs() <= 1e-4)
    return nearest.to(torch.int16) if bool(inside.all()) else None


def as_floats(x: Tensor) -> Tensor:
    """float32; uint8 images are scaled to [0, 1]."""
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def uniforms(streams: Streams, count: int) -> Tensor:
    """Numbers in (0, 1] of each stream, float32 (rows, count)."""
    return kernels.words(streams, count).float().add_(0.5).mul_(2.0**-32)


@lru_cache(maxsize=32)
def rounded_gaussian(sigma: float, levels: int) -> Steps:
    """round(levels * N(0, sigma^2)) as thresholds floor(2^60 Phi((i + 1/2) / (levels sigma))), each exact to one unit."""
    last = math.ceil(REACH * sigma * levels)
    unit = Fraction(levels) * Fraction(sigma)
    upper_half = [_threshold(decimal((i + Fraction(1, 2)) / unit)) for i in range(last)]
    # P(value <= -i - 1) = 1 - P(value <= i).
    thresholds = np.array([(1 << BITS) - t for t in reversed(upper_half)] + upper_half, dtype=np.int64)
    return Steps(-last, thresholds, *_prefix_tables(-last, thresholds))


def _threshold(z: Decimal) -> int:
    with localcontext(DIGITS):
        return int((normal_cdf(z)[0] * (1 << BITS)).to_integral_value(rounding=ROUND_FLOOR))


def _prefix_tables(lowest: int, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that 16 bits decide, and those at which each such cell begins."""
    starts = np.arange((1 << PREFIX_BITS) + 1, dtype=np.int64) << REST_BITS
    first = np.searchsorted(thresholds, starts[:-1], side="right")
    last = np.searchsorted(thresholds, starts[1:] - 1, side="right")
    return np.where(first == last, lowest + first, AMBIGUOUS).astype(np.int16), (lowest + first).astype(np.int16)
