"""Randomized and dual randomized smoothing: certificates for any classifier, checkable from the counts."""

from certify.smoothing.certificate import ABSTAIN, Certificate
from certify.smoothing.decision import Decision
from certify.smoothing.dual import checkerboard, dual_smoothed
from certify.smoothing.noise import Gaussian, GridGaussian, Uniform
from certify.smoothing.sampling import Sampler
from certify.smoothing.smoothed import Smooth, Smoothed

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Decision",
    "Gaussian",
    "GridGaussian",
    "Sampler",
    "Smooth",
    "Smoothed",
    "Uniform",
    "checkerboard",
    "dual_smoothed",
]
