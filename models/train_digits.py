"""Trains the networks on scikit-learn's handwritten digits (8x8 pixels): python models/train_digits.py [NAME ...]"""

from __future__ import annotations

import architectures
from make import make, options
from recipe import Family, Hardening, Recipe

from certify.io.datasets import load_data
from certify.training import GrowingBall, Linear, Plan, Smoothed

RADII = ("0.02", "0.05", "0.1")
METHODS = ("ibp", "crown")
PLAIN = Plan(epochs=40, rate=Linear(2e-3, 0.0, 10, 40), batch=64)
LONG = Plan(epochs=150, rate=Linear(3e-3, 0.0, 75, 150), batch=64)
HARDENING = Hardening(
    GrowingBall(Smoothed(0.0, 0.15, 0, 75)),
    kappa=Linear(1.0, 0.3, 0, 75),
    summary="IBP-certified cross entropy mixed with 0.3 of the clean one, radius growing to 0.15 over 75 epochs",
)
RECIPES = (
    Recipe("digits_mlp", architectures.digits_mlp, PLAIN, RADII, METHODS),
    Recipe("digits_conv", architectures.digits_conv, PLAIN, RADII, METHODS),
    Recipe("digits_mlp_certified", architectures.digits_mlp, LONG, RADII, METHODS, HARDENING),
    Recipe("digits_conv_certified", architectures.digits_conv, LONG, RADII, METHODS, HARDENING),
)

if __name__ == "__main__":
    arguments = options(__doc__).parse_args()
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    family = Family("scikit-learn digits, 8x8 grey levels", "digits", "train_digits.py", train, test, measured=len(test.y))
    make(RECIPES, family, arguments.into, arguments.names)
