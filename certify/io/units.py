"""In which units inputs come: one rule for all commands.

Bytes (uint8) are pixels: they are divided by 255, and nothing lies outside [0, 1]. Every other number is taken as it is stored. What
was done is kept beside the inputs, for records; no interval that data might lie in is ever guessed, since a ball that is cut off
there is a smaller claim than the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, prod
from typing import Any

import numpy as np

Array = np.ndarray
Domain = tuple[float, float]
LAYOUTS = ("nchw", "nhwc")
BYTES = Fraction(255)


@dataclass(frozen=True)
class Units:
    """`stored` is the type on disk, `divided_by` what numbers were divided by, `low` and `high` the range they have now.

    `domain` is the interval that inputs cannot leave, None where nobody said that there is one. `whole` says that they are whole
    numbers.
    """

    stored: str
    divided_by: Fraction
    low: float
    high: float
    domain: Domain | None
    whole: bool

    def within(self, domain: Domain | None) -> Units:
        """The same with another domain."""
        return replace(self, domain=domain)

    def record(self) -> dict[str, Any]:
        """Plain values, for records."""
        domain = None if self.domain is None else list(self.domain)
        return {"stored": self.stored, "divided_by": str(self.divided_by), "range": [self.low, self.high], "domain": domain}


def read_units(values: Array, scale: Fraction | None = None, domain: Domain | None = None) -> tuple[Array, Units]:
    """Inputs as floating-point numbers, and their units; `scale` divides by another number than the rule does, 1 by none.

    float32 where that is exact or the numbers were divided (then correctly rounded), else float64.
    """
    divisor = (BYTES if values.dtype == np.uint8 else Fraction(1)) if scale is None else scale
    if divisor <= 0:
        raise ValueError(f"inputs are divided by a positive number, got {divisor}")
    found = _divided(values, divisor)
    if domain is None and values.dtype == np.uint8:
        domain = (0.0, float(BYTES / divisor))
    low, high = (float(end) for end in (found.min(initial=inf), found.max(initial=-inf)))
    if domain is not None and len(found) and not domain[0] <= low <= high <= domain[1]:
        raise ValueError(f"inputs lie in [{low:g}, {high:g}], outside the domain [{domain[0]:g}, {domain[1]:g}]")
    whole = bool((np.rint(found) == found).all())
    return found, Units(str(values.dtype), divisor, low, high, domain, whole)


def _divided(values: Array, divisor: Fraction) -> Array:
    if values.dtype == np.uint8:
        return np.array([float(Fraction(k) / divisor) for k in range(256)]).astype(np.float32)[values]
    if divisor == 1:
        single = values if values.dtype.kind == "f" else values.astype(np.float32)
        return single if values.dtype.kind == "f" or (single == values).all() else values.astype(np.float64)
    return (values.astype(np.float64) / float(divisor)).astype(np.float32)


def channels_first(values: Array, layout: str, batched: bool = True) -> Array:
    """Images (..., height, width, channels) as (..., channels, height, width) where `layout` is "nhwc"; a ValueError for others."""
    if layout not in LAYOUTS:
        raise ValueError(f"no layout is called {layout!r}; there are {', '.join(LAYOUTS)}")
    if layout == "nchw":
        return values
    if values.ndim not in ((4,) if batched else (3, 4)):
        raise ValueError(
            f"the layout nhwc is for images with channels in the last axis, not for inputs of shape {list(values.shape)}"
        )
    return np.ascontiguousarray(np.moveaxis(values, -1, -3))


def notes(
    units: Units, size: Fraction | float | None = None, p: float = inf, shape: tuple[int, ...] = (), what: str = "eps"
) -> list[str]:
    """What looks wrong about inputs in these units, with a radius (or a noise level) of this size, a sentence each."""
    width = units.high - units.low if units.domain is None else units.domain[1] - units.domain[0]
    facts = _Facts(units, None if size is None else float(size), width * prod(shape) ** (0.0 if p == inf else 1 / p), what)
    return [sentence(facts) for applies, sentence in NOTES if applies(facts)]


@dataclass(frozen=True)
class _Facts:
    units: Units
    size: float | None
    diameter: float
    what: str

    @property
    def unit_interval(self) -> bool:
        return 0 <= self.units.low <= self.units.high <= 1

    @property
    def bytes_as_numbers(self) -> bool:
        return self.units.whole and self.units.low >= 0 and 1 < self.units.high <= BYTES


Sentence = Callable[[_Facts], str]
NOTES: tuple[tuple[Callable[[_Facts], bool], Sentence], ...] = (
    (
        lambda f: f.units.stored == "uint8" and f.units.divided_by == BYTES,
        lambda f: (
            f"bytes were divided by 255, so that inputs lie in [0, 1] and {f.what} is in these units; `--scale 1` keeps bytes"
        ),
    ),
    (
        lambda f: f.bytes_as_numbers,
        lambda f: f"inputs are whole numbers up to {f.units.high:g} and stay so: {f.what} is in these units; `--scale 255` divides",
    ),
    (
        lambda f: not f.bytes_as_numbers and not f.unit_interval,
        lambda f: (
            f"inputs lie in [{f.units.low:g}, {f.units.high:g}]: {f.what} is in these units, not in those of images in [0, 1]"
        ),
    ),
    (
        lambda f: f.size is not None and f.size >= max(f.diameter, 1.0 if f.unit_interval else 0.0) > 0,
        lambda f: f"{f.what} {f.size:g} covers the whole range of the data; was {f.size:g}/255 meant?",
    ),
)
NO_DOMAIN: Mapping[bool, str] = {
    True: "inputs lie in [0, 1] and no domain was given, so that the set goes beyond; `--domain 0 1` cuts it off there",
    False: "no domain was given: the set is cut off nowhere; `--domain LOW HIGH` does so",
}


def domain_notes(units: Units) -> list[str]:
    """That a set is not cut off, where nobody said at what; none for a domain."""
    return [] if units.domain is not None else [NO_DOMAIN[0 <= units.low <= units.high <= 1]]


def difference(what: str, units: Units, others: str, extent: tuple[float, float]) -> list[str]:
    """That inputs seem to be in other units than others, which go from one number to another; nothing where they do not."""
    widths = units.high - units.low, extent[1] - extent[0]
    if max(widths) <= MUCH * min(widths):
        return []
    return [
        f"{what} lie in [{units.low:g}, {units.high:g}], {others} in [{extent[0]:g}, {extent[1]:g}]: are these the same units? "
        "`--scale` divides"
    ]


MUCH = 4.0
"""Data sets of one kind do not differ so much in their range."""
