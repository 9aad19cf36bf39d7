"""Dual randomized smoothing (Xia et al. 2024): two classifiers, each of which sees the noisy pixels of its own half of the image.

The prediction is the class with the largest sum of the two smoothed probabilities. Halves of sqrt(d/2) instead of sqrt(d)
dimensions need less noise for the same radius: at equal radii sigma is smaller by a factor of sqrt(2). The radius is
`certify.smoothing.radius.dual`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from certify.smoothing.classifiers import as_classifier
from certify.smoothing.noise import Noise
from certify.smoothing.sampling import Sampler
from certify.smoothing.smoothed import Smoothed

Classify = Callable[[Tensor], Tensor]


def checkerboard(height: int, width: int) -> Tensor:
    """The black squares of a chess board, bool (height, width): the pixels of the left half; the others are those of the right."""
    return (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0


def dual_smoothed(
    left: Classify,
    right: Classify,
    classes: int,
    noises: Sequence[Noise],
    mask: Tensor,
    *,
    variant: str = "dual",
    bound: str = "cp",
    seed: int = 0,
    batch: int = 256,
) -> Smoothed:
    """The dual classifier: `left` sees the noisy pixels where `mask` is true, `right` the others, each 0 elsewhere.

    The masks are applied here, whatever the networks do themselves: the radius needs it. The noises may differ in their scale; the
    two parts draw from streams of their own. Both may be the same network.
    """
    parts = zip((left, right), (mask, ~mask), noises, strict=True)
    return Smoothed(
        tuple(
            Sampler(Masked(as_classifier(network), keep), classes, noise, seed, batch, part)
            for part, (network, keep, noise) in enumerate(parts)
        ),
        variant,
        bound,
    )


class Masked(nn.Module):
    """A classifier that sees only the kept pixels of its input, 0 elsewhere. `keep` broadcasts against (batch, *shape)."""

    def __init__(self, classify: Classify, keep: Tensor) -> None:
        super().__init__()
        self.classify = classify
        self.keep = keep.float()

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the masked inputs."""
        return self.classify(x * self.keep.to(x.device))


class HalfImage(nn.Module):
    """A network for one half of the pixels of a checkerboard: the missing ones are filled with the mean of their kept neighbours.

    The filling comes after the noise and uses kept pixels only, so that it costs nothing in soundness. Inputs are (batch, C, H, W).
    """

    def __init__(self, network: nn.Module, keep: Tensor) -> None:
        super().__init__()
        self.network = network
        kept = keep.float()[None, None]
        cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
        neighbours = nn.functional.conv2d(kept, cross, padding=1).clamp(min=1.0)
        self.kept: Tensor
        self.cross: Tensor
        self.weight: Tensor
        self.register_buffer("kept", kept)
        self.register_buffer("cross", cross)
        self.register_buffer("weight", (1 - kept) / neighbours)

    def forward(self, x: Tensor) -> Tensor:
        """Scores from the kept pixels."""
        x = x * self.kept
        planes = x.reshape(-1, 1, *x.shape[2:])
        around = nn.functional.conv2d(planes, self.cross, padding=1).reshape(x.shape)
        return self.network(x + around * self.weight)
