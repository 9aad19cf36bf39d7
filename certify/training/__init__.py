"""Certified training: schedules, objectives, losses and a plain loop, around bounds that are differentiable in the weights.

    ibp_initialise(module)
    ball = GrowingBall(eps=Smoothed(0.0, 0.1, begin=0, end=20))
    criterion = certified(module, x[:1], ball, kappa=Linear(1.0, 0.5, begin=0, end=20))
    fit(module, x, y, criterion, Plan(epochs=40, rate=Linear(1e-3, 0.0, begin=20, end=40)))

The pieces serve a loop of one's own as well: `certified_cross_entropy(lower)` with `lower, _ = certify.bounds(module, region, "ibp",
objective=margin_rows(y, classes))`. BatchNorm must be in eval mode while bounds are computed: they are of the network as it will run.
"""

from certify.bounds.objective import margin_rows
from certify.training.criteria import GrowingBall, certified, clean, crown_ibp, fused
from certify.training.fusion import FusedRow, fuse
from certify.training.initialisation import ibp_initialise
from certify.training.loop import Plan, fit
from certify.training.losses import certified_cross_entropy, mix, mixed_cross_entropy
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
