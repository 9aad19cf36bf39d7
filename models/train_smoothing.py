"""Trains the networks for smoothing, full images and halves: python models/train_smoothing.py [--data DIR] [NAME ...]

The digits need scikit-learn; names that begin with mnist need the four IDX files in DIR, by default $CERTIFY_DATA/mnist or
../shared/data/mnist. Every network is saved as models/smoothing/NAME.onnx and NAME.pt2 with its card, NAME.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import architectures
import torch
from make import options
from saving import save
from torch import Tensor, nn
from train_mnist import data_folder

from certify.io.datasets import Data, load_data
from certify.smoothing import Sampler, Smoothed, checkerboard
from certify.smoothing.dual import HalfImage
from certify.smoothing.losses import LOSSES
from certify.smoothing.noise import gaussian_for


@dataclass(frozen=True)
class Recipe:
    """One network: `half` is "full", "left" or "right"; its card certifies the first `images` test images with `n` samples each."""

    name: str
    data: str
    architecture: Callable[[], nn.Sequential]
    loss: str
    sigma: float
    half: str
    epochs: int
    images: int
    n: int = 1000
    seed: int = 0


def recipes() -> tuple[Recipe, ...]:
    """RS at sigma, plainly and with consistency, and the halves of DRS at about sigma / sqrt(2), which caps radii alike."""
    digits = ("digits", architectures.digits_conv)
    mnist = ("mnist", architectures.mnist_conv)
    groups = (
        (digits, "", 0.25, 0.18, 40, 360, tuple(LOSSES)),
        (mnist, "", 0.5, 0.36, 4, 200, tuple(LOSSES)),
        (mnist, "_low_noise", 0.25, 0.18, 4, 200, ("gaussian",)),
    )
    rows = []
    for (data, network), suffix, full, half, epochs, images, losses in groups:
        rows += [Recipe(f"{data}_{loss}{suffix}", data, network, loss, full, "full", epochs, images) for loss in losses]
        sides = ("left", "right")
        rows += [Recipe(f"{data}_{side}{suffix}", data, network, "gaussian", half, side, epochs, images) for side in sides]
    return tuple(rows)


def network(recipe: Recipe, shape: tuple[int, ...]) -> nn.Module:
    """The untrained network; a half sees its own pixels only, wherever it is used."""
    torch.manual_seed(recipe.seed)
    black = checkerboard(*shape[-2:])
    keep = {"left": black, "right": ~black}
    return recipe.architecture() if recipe.half == "full" else HalfImage(recipe.architecture(), keep[recipe.half])


def train(module: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> None:
    """Adam with a one-cycle rate, on one thread and from a fixed seed."""
    loss = LOSSES[recipe.loss](recipe.sigma)
    batches = -(-len(x) // 128)
    optimiser = torch.optim.Adam(module.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=recipe.epochs * batches)
    for epoch in range(recipe.epochs):
        total = 0.0
        for chosen in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            value = loss(module, x[chosen], y[chosen])
            value.backward()
            optimiser.step()
            rate.step()
            total += float(value.detach())
        print(f"{recipe.name}: epoch {epoch + 1} of {recipe.epochs}, loss {total / batches:.4f}", flush=True)


def card(module: nn.Module, recipe: Recipe, test: Data, seconds: float) -> str:
    """What the network is, and what smoothing it certifies."""
    x, y = torch.as_tensor(test.x), torch.as_tensor(test.y)
    with torch.no_grad():
        clean = float((module(x).argmax(1) == y).double().mean())
    sampler = Sampler(module, 10, gaussian_for(x, recipe.sigma))
    rows = range(recipe.images)
    found = list(Smoothed((sampler,)).certify(x[: recipe.images], 100, recipe.n, Fraction(1, 1000), rows))
    right = [c.radius for c, label in zip(found, test.y, strict=False) if c.label == label]
    radii = [recipe.sigma * k / 2 for k in range(5)]
    shares = " | ".join(f"{100 * sum(r >= bar for r in right) / recipe.images:.1f}" for bar in radii)
    titles = " | ".join(f"r = {bar:g}" for bar in radii)
    summary = (recipe.architecture.__doc__ or "").rstrip(".")
    sees = (
        "the whole image"
        if recipe.half == "full"
        else f"the {recipe.half} half of a checkerboard, the rest filled from its neighbours"
    )
    training = f"{recipe.loss}, sigma {recipe.sigma:g}, {recipe.epochs} epochs of Adam, seed {recipe.seed}, {seconds:.0f} s, "
    training += f"torch {torch.__version__}"
    return f"""# {recipe.name}

| | |
|---|---|
| data | {recipe.data}, inputs in [0, 1] |
| sees | {sees} |
| architecture | {summary}; {sum(p.numel() for p in module.parameters())} parameters |
| training | {training} |
| accuracy without noise | {100 * clean:.2f} % of {len(y)} test images |

Smoothed by itself at sigma {recipe.sigma:g}, n = {recipe.n}, alpha = 0.001: certified accuracy (l_2) on the first {recipe.images}
test images, in per cent.

| {titles} |
|{"---|" * len(radii)}
| {shares} |

Made by `python models/train_smoothing.py {recipe.name}`.
"""


def follow(recipe: Recipe, folder: Path, source: str) -> None:
    """Writes NAME.onnx, NAME.pt2 and NAME.md."""
    data, test = (load_data(source, split=split) for split in ("train", "test"))
    module = network(recipe, data.x.shape[1:])
    began = time.perf_counter()
    train(module, recipe, torch.as_tensor(data.x), torch.as_tensor(data.y))
    seconds = time.perf_counter() - began
    save(module.eval(), torch.as_tensor(data.x[:1]), folder / recipe.name)
    (folder / f"{recipe.name}.md").write_text(card(module, recipe, test, seconds))


if __name__ == "__main__":
    parser = options(__doc__)
    parser.set_defaults(into=Path(__file__).parent / "smoothing")
    parser.add_argument("--data", type=Path, default=data_folder(), metavar="DIR", help="the folder with MNIST's four files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.into.mkdir(exist_ok=True)
    known = {recipe.name: recipe for recipe in recipes()}
    for name in arguments.names or known:
        if name not in known:
            parser.error(f"no network is called {name}; there are {', '.join(known)}")
        follow(known[name], arguments.into, "digits" if known[name].data == "digits" else f"mnist:{arguments.data}")
