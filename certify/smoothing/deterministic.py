"""Certificates from exact votes: a fixed, finite set of views of the input is classified, all of them. No sampling, no error.

What a perturbation can do is known by how many of the views it reaches. `SCHEMES` lists the sets of views: splitting noise, for l_1
(Levine and Feizi, arXiv 2103.10834), and windows with the rest of the image hidden, for patches (Levine and Feizi, arXiv 2002.10733).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from certify.smoothing.answers import NO_LABEL, BaseClassifier
from certify.smoothing.noise import as_floats, as_levels
from certify.smoothing.radius import deterministic_l1, patch

OFFSETS = 0x5EED


@dataclass(frozen=True)
class Vote:
    """`label` is the answer for every input up to `radius` away, that included; `counts` are the exact votes of all classes."""

    label: int
    radius: float
    counts: tuple[int, ...]


class Scheme(Protocol):
    """A set of views, and what their votes certify. `unit` says what a radius is."""

    unit: ClassVar[str]

    def encode(self, x: Tensor) -> Tensor:
        """Inputs (n, *shape) in the form `views` takes them; a ValueError where the scheme does not fit them."""
        ...

    def views(self, x: Tensor) -> Tensor:
        """All views of one encoded input: float32 (views, *shape)."""
        ...

    def radius(self, first: int, second: int, second_wins_ties: bool) -> float:
        """How far the input may be changed while `first` votes stay ahead of `second`."""
        ...


@dataclass(frozen=True)
class Splitting:
    """Splitting noise without the randomness: thresholds over a range of `passes` levels, of which `levels` span the input range.

    Every pixel is compared with a threshold that runs through all `passes` (at least `levels`) values, at an offset of its own, drawn
    once from `seed` and part of the classifier. A step of one level in one pixel changes one view. The noise compares to a standard
    deviation of passes / (levels * sqrt(12)). Inputs must be 8-bit levels.
    """

    passes: int = 510
    levels: int = 255
    seed: int = OFFSETS
    unit: ClassVar[str] = "l_1"

    def __post_init__(self) -> None:
        if self.passes < self.levels:
            raise ValueError(f"splitting noise needs at least as many passes as levels, {self.levels}; got {self.passes}")

    def encode(self, x: Tensor) -> Tensor:
        """int16 levels."""
        levels = as_levels(x, self.levels)
        if levels is None:
            raise ValueError(f"deterministic l_1 certificates need inputs k/{self.levels} in [0, 1] or uint8")
        return levels

    def views(self, x: Tensor) -> Tensor:
        """View t splits pixel i at s = (v_i + t) mod passes + 1/2 and is (1[x > s] + min(s, 1)) / 2, s in units of the range."""
        generator = np.random.Generator(np.random.Philox(self.seed))
        template = torch.from_numpy(generator.integers(0, self.passes, size=tuple(x.shape), dtype=np.int64)).to(x.device)
        offsets = torch.arange(self.passes, device=x.device).reshape(-1, *(1,) * x.ndim)
        split = (template + offsets) % self.passes
        capped = ((split + 0.5) / self.levels).clamp(max=1.0)
        return ((x > split).float() + capped) / 2

    def radius(self, first: int, second: int, second_wins_ties: bool) -> float:
        """l_1."""
        return deterministic_l1(first, second, second_wins_ties, self.levels)


@dataclass(frozen=True)
class Windows:
    """Views of a window of height x width pixels at every place of the image, around its edges too; the rest is hidden.

    A window as high as the image is a band of columns and has one place for each column. The network sees twice the channels, x and
    1 - x, both 0 where hidden. Inputs are (n, channels, *image) in [0, 1].
    """

    height: int
    width: int
    image: tuple[int, int]
    unit: ClassVar[str] = "side of a square patch"

    def __post_init__(self) -> None:
        if not (0 < self.height <= self.image[0] and 0 < self.width <= self.image[1]):
            raise ValueError(
                f"a window of {self.height} x {self.width} does not fit into images of {self.image[0]} x {self.image[1]}"
            )

    def encode(self, x: Tensor) -> Tensor:
        """float32."""
        if tuple(x.shape[2:]) != tuple(self.image):
            raise ValueError(f"windows in images of {tuple(self.image)} pixels got inputs of shape {tuple(x.shape[1:])}")
        return as_floats(x)

    def views(self, x: Tensor) -> Tensor:
        """float32 (places, 2 channels, *image)."""
        rows, columns = (
            _windows(size, length).to(x.device) for size, length in zip(self.image, (self.height, self.width), strict=True)
        )
        shown = (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)[:, None]
        return torch.cat((x, 1 - x)) * shown

    def radius(self, first: int, second: int, second_wins_ties: bool) -> float:
        """The largest side m of a patch that cannot change the vote; 0 where there is none."""
        sides = range(1, min(self.image) + 1)
        return float(sum(patch(first, second, second_wins_ties, self.reached(side)) for side in sides))

    def reached(self, side: int) -> int:
        """How many windows a patch of side x side pixels can touch."""
        return _reached(side, self.height, self.image[0]) * _reached(side, self.width, self.image[1])


SCHEMES: Mapping[str, Callable[..., Scheme]] = {"splitting": Splitting, "windows": Windows}


def certify_exactly(classify: Callable[[Tensor], Tensor], x: Tensor, classes: int, scheme: Scheme, batch: int = 256) -> list[Vote]:
    """The votes for a batch of inputs (n, *shape), certain: for all inputs of the form that the scheme takes. Ties go to the smaller
    class.
    """
    base = BaseClassifier(classify, classes)
    return [vote(base, row, scheme, batch) for row in scheme.encode(x)]


def concluded(counts: Sequence[int], scheme: Scheme) -> Vote:
    """The winner of exact counts and its radius against every other class."""
    winner = max(range(len(counts)), key=lambda c: (counts[c], -c))
    radii = [scheme.radius(counts[winner], counts[c], c < winner) for c in range(len(counts)) if c != winner]
    return Vote(winner, min(radii), tuple(counts))


def scheme_of(name: str, parameters: Mapping[str, Any]) -> Scheme:
    """The scheme of a record; a ValueError for an unknown one."""
    if name not in SCHEMES:
        raise ValueError(f"no scheme of exact votes is called {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[name](**parameters)


def vote(base: BaseClassifier, row: Tensor, scheme: Scheme, batch: int = 256) -> Vote:
    """The votes for one encoded input."""
    with torch.no_grad():
        labels = torch.cat([base.labels(part) for part in scheme.views(row).split(batch)])
    if bool((labels == NO_LABEL).any()):
        raise ValueError("the base classifier returned NaN; a vote needs a total function")
    return concluded(torch.bincount(labels, minlength=base.classes).tolist(), scheme)


def _windows(size: int, length: int) -> Tensor:
    """bool (places, size): the windows of a length along one axis; one place if it takes all of it."""
    places = 1 if length == size else size
    return (torch.arange(size)[None] - torch.arange(places)[:, None]) % size < length


def _reached(side: int, length: int, size: int) -> int:
    return 1 if length == size else min(size, side + length - 1)
