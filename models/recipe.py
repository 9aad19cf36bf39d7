"""A recipe is all that a shipped network is made of: architecture, training, seed, and what its card reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from certify.io.datasets import Data
from certify.training import GrowingBall, Plan
from certify.training.criteria import Schedule


@dataclass(frozen=True)
class Hardening:
    """What makes a certifiably trained network differ from a plain one: the ball to withstand and the share of the clean loss."""

    ball: GrowingBall
    kappa: Schedule
    summary: str


@dataclass(frozen=True)
class Recipe:
    """One network. Its card gives certified accuracy at `radii` (l_inf) by `methods`."""

    name: str
    architecture: Callable[[], nn.Sequential]
    plan: Plan
    radii: Sequence[str]
    methods: Sequence[str]
    hardening: Hardening | None = None
    seed: int = 0


@dataclass(frozen=True)
class Family:
    """The networks that one command trains on one data set; certified accuracy is measured on the first `measured` test images."""

    about: str
    data: str
    script: str
    train: Data
    test: Data
    measured: int
