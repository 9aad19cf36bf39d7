"""Fixed features of MNIST images for linear learners, and how they were chosen.

    python -m bench.mnist_features ../shared/data/mnist        a pilot: what each setting does to the accuracy of a base classifier

Images are moved upright and to one size, turned a little both ways for training, described by oriented gradients, and mapped by
random waves (random Fourier features of a Gaussian kernel, NIPS 2007). All is fixed beforehand and applied to one image at a time,
so nothing but the own buckets of a classifier reaches it. The pilot looks at the last 5000 training images only, neither at the
others nor at the test set: it trains on 24 sets of 50 of them and votes on the rest.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from certify.io.datasets import load_data
from certify.poisoning.learner import Job
from certify.poisoning.linear_learner import DualRidgeLearner

PILOT = 5000
"""Training images, from the end, at which the settings were chosen."""


@dataclass(frozen=True)
class Look:
    """All settings of the features and the penalty of the learner on them; the defaults are what the pilot chose."""

    evening: float = 0.7
    across: float = 4.2
    down: float = 5.6
    bins: int = 16
    width: float = 2.0
    stride: int = 4
    turns: tuple[float, ...] = (0, 15, -15)
    waves: int = 1024
    reach: float = 5.4
    penalty: float = 0.02

    def learner(self) -> DualRidgeLearner:
        """Ridge regression on the features."""
        return DualRidgeLearner(self.penalty, np.asarray)


def described(images: np.ndarray, look: Look, turns: tuple[float, ...] = (0,)) -> np.ndarray:
    """Features of images (n, 1, 28, 28) in every turn, (n, turns, 2 waves) in float32."""
    frequencies = torch.as_tensor(
        np.random.default_rng(0).normal(size=(look.bins * tiles(look) ** 2, look.waves)), dtype=torch.float32
    )
    out = torch.empty(len(images), len(turns), 2 * look.waves)
    for start in range(0, len(images), 1000):
        part = evened(upright(torch.as_tensor(images[start : start + 1000])[:, 0]), look)
        for t, degrees in enumerate(turns):
            angles = oriented_gradients(turned(part, degrees), look) @ frequencies / math.sqrt(look.reach)
            out[start : start + 1000, t] = torch.cat([angles.cos(), angles.sin()], 1) / math.sqrt(look.waves)
    return out.numpy()


def tiles(look: Look) -> int:
    """Places where gradients are pooled, across or down."""
    return -(-28 // look.stride)


def upright(images: Tensor) -> Tensor:
    """Each image (n, 28, 28) shifted to its centre of mass and sheared until its rows' centres stand on one another."""
    axis = torch.arange(28.0) - 13.5
    mass = images.sum((1, 2)).clamp(min=1e-6)
    middle_y = (images * axis[:, None]).sum((1, 2)) / mass
    middle_x = (images * axis).sum((1, 2)) / mass
    dy = axis[:, None] - middle_y[:, None, None]
    dx = axis - middle_x[:, None, None]
    slant = (images * dx * dy).sum((1, 2)) / (images * dy * dy).sum((1, 2)).clamp(min=1e-6)
    map_ = torch.zeros(len(images), 2, 3)
    map_[:, 0, 0] = map_[:, 1, 1] = 1
    map_[:, 0, 1], map_[:, 0, 2], map_[:, 1, 2] = slant, middle_x / 13.5, middle_y / 13.5
    return mapped(images, map_)


def evened(images: Tensor, look: Look) -> Tensor:
    """Each centred image (n, 28, 28) stretched towards one spread of its mass."""
    axis = torch.arange(28.0) - 13.5
    mass = images.sum((1, 2)).clamp(min=1e-6)
    across = ((images * axis**2).sum((1, 2)) / mass).sqrt()
    down = ((images * axis[:, None] ** 2).sum((1, 2)) / mass).sqrt()
    map_ = torch.zeros(len(images), 2, 3)
    map_[:, 0, 0] = ((across / look.across) ** look.evening).clamp(0.4, 1.6)
    map_[:, 1, 1] = ((down / look.down) ** look.evening).clamp(0.4, 1.6)
    return mapped(images, map_)


def turned(images: Tensor, degrees: float) -> Tensor:
    """Images (n, 28, 28) turned about their middle."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return mapped(images, torch.tensor([[cosine, -sine, 0], [sine, cosine, 0]]).expand(len(images), 2, 3)) if degrees else images


def mapped(images: Tensor, map_: Tensor) -> Tensor:
    """Images (n, 28, 28) seen through an affine map of the coordinates each, (n, 2, 3)."""
    grid = F.affine_grid(map_, [len(images), 1, 28, 28], align_corners=True)
    return F.grid_sample(images[:, None], grid, align_corners=True)[:, 0]


def oriented_gradients(images: Tensor, look: Look) -> Tensor:
    """Square roots of locally normalised gradient magnitudes by orientation, pooled by a Gaussian: (n, bins * tiles^2)."""
    x = images[:, None]
    slope = torch.tensor([-0.5, 0.0, 0.5])
    across = F.conv2d(F.pad(x, (1, 1, 0, 0)), slope.view(1, 1, 1, 3))
    down = F.conv2d(F.pad(x, (0, 0, 1, 1)), slope.view(1, 1, 3, 1))
    bins = look.bins
    position = torch.atan2(down, across) / (2 * math.pi) * bins
    nearness = [(1 - ((position - b + bins / 2) % bins - bins / 2).abs()).clamp(min=0) for b in range(bins)]
    maps = torch.cat(nearness, 1) * torch.sqrt(across**2 + down**2 + 1e-8)
    reach = int(3 * look.width)
    bell = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * look.width**2))
    bell /= bell.sum()
    stride = look.stride
    pooled = F.conv2d(F.pad(maps, (reach,) * 4), bell.view(1, 1, -1, 1).expand(bins, 1, -1, 1), groups=bins, stride=(stride, 1))
    pooled = F.conv2d(pooled, bell.view(1, 1, 1, -1).expand(bins, 1, 1, -1), groups=bins, stride=(1, stride))
    energy = F.avg_pool2d(F.pad(pooled.pow(2).sum(1, keepdim=True), (1, 1, 1, 1)), 3, 1) * 9
    return (pooled / torch.sqrt(energy + 1e-2)).clamp(min=0).sqrt().flatten(1)


CANDIDATES: tuple[dict, ...] = (
    {},
    {"evening": 0.0},
    {"evening": 0.5},
    {"evening": 0.9},
    {"across": 3.8},
    {"across": 4.6},
    {"down": 5.2},
    {"down": 6.0},
    {"bins": 12},
    {"bins": 20},
    {"width": 1.5},
    {"width": 2.5},
    {"stride": 3},
    {"turns": (0,)},
    {"turns": (0, 8, -8)},
    {"turns": (0, 10, -10, 20, -20)},
    {"waves": 512},
    {"waves": 2048},
    {"reach": 2.7},
    {"reach": 10.8},
    {"penalty": 0.005},
    {"penalty": 0.1},
)
"""Each changes one setting of the look that was chosen."""


def pilot(images: np.ndarray, labels: np.ndarray, look: Look, sets: int = 24, size: int = 50) -> float:
    """Mean accuracy of classifiers trained on `sets` times `size` images, on the images behind those."""
    cut = sets * size
    seen, asked = described(images[:cut], look, look.turns), described(images[cut:], look)
    learner = look.learner()
    jobs = [Job(b, b, ((b, np.arange(b * size, (b + 1) * size)),)) for b in range(sets)]
    scores = learner.scores(learner.fit(seen, labels[:cut], 10, jobs), asked)
    return float((scores.argmax(-1) == labels[cut:]).mean())


def pilots(folder: str) -> Iterator[tuple[dict, float]]:
    """Every candidate with its accuracy."""
    training = load_data(f"mnist:{folder}", split="train")
    for changed in CANDIDATES:
        yield changed, pilot(training.x[-PILOT:], training.y[-PILOT:], replace(Look(), **changed))


def main() -> None:
    """Prints a line per candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", help="folder with the four IDX files")
    for changed, accuracy in pilots(parser.parse_args().mnist):
        print(f"{100 * accuracy:.2f} %  {changed or 'as chosen'}", flush=True)


if __name__ == "__main__":
    main()
