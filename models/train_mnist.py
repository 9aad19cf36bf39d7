"""Trains the networks on MNIST: python models/train_mnist.py [--data DIR] [NAME ...]

DIR holds the four IDX files, gzipped or not; without it they are looked for in $CERTIFY_DATA/mnist, else in ../shared/data/mnist.
"""

from __future__ import annotations

import os
from pathlib import Path

import architectures
from make import make, options
from recipe import Family, Hardening, Recipe

from certify.io.datasets import load_data
from certify.training import GrowingBall, Linear, Plan, Smoothed

METHODS = ("ibp", "crown")
SMALL, LARGE = ("0.01", "0.02", "0.05"), ("0.1", "0.2")
PLAIN = Plan(epochs=6, rate=Linear(1e-3, 0.0, 2, 6))
LONG = Plan(epochs=25, rate=Linear(2e-3, 0.0, 13, 25))
HARDENING = Hardening(
    GrowingBall(Smoothed(0.0, 0.2, 0, 10)),
    kappa=Linear(1.0, 0.3, 0, 10),
    summary="IBP-certified cross entropy mixed with 0.3 of the clean one, radius growing to 0.2 over 10 epochs",
)
RECIPES = (
    Recipe("mnist_mlp", architectures.mnist_mlp, PLAIN, SMALL, METHODS),
    Recipe("mnist_conv", architectures.mnist_conv, PLAIN, SMALL, METHODS),
    Recipe("mnist_conv_certified", architectures.mnist_conv, LONG, LARGE, METHODS, HARDENING),
)


def data_folder() -> Path:
    """Where MNIST is looked for unless the command says."""
    return Path(os.environ.get("CERTIFY_DATA") or Path(__file__).parents[2] / "shared" / "data") / "mnist"


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, default=data_folder(), metavar="DIR", help="the folder with the four IDX files")
    arguments = parser.parse_args()
    train, test = (load_data(f"mnist:{arguments.data}", split=split) for split in ("train", "test"))
    family = Family("MNIST, 28x28 grey levels", "mnist:DIR", "train_mnist.py", train, test, measured=1000)
    make(RECIPES, family, arguments.into, arguments.names)
