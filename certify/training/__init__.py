"""Certified training: schedules, objectives, losses and a plain loop, around bounds that are differentiable in the weights."""

from certify.training.criteria import GrowingBall, certified, clean, crown_ibp, fused
from certify.training.fusion import FusedRow, fuse
from certify.training.initialisation import ibp_initialise
from certify.training.loop import Plan, fit
from certify.training.losses import certified_cross_entropy, mix, mixed_cross_entropy
from certify.training.objective import margin_rows
from certify.training.schedules import Linear, Smoothed

__all__ = [
    "FusedRow",
    "GrowingBall",
    "Linear",
    "Plan",
    "Smoothed",
    "certified",
    "certified_cross_entropy",
    "clean",
    "crown_ibp",
    "fit",
    "fuse",
    "fused",
    "ibp_initialise",
    "margin_rows",
    "mix",
    "mixed_cross_entropy",
]
