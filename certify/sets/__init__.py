"""Input sets: what the adversary may choose from."""

from certify.sets.box import Box
from certify.sets.lp_ball import LpBall

__all__ = ["Box", "LpBall"]
