"""Base classifiers: a torch module, a `.pt2` program or an ONNX file as a function from a batch of noisy inputs to scores."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from certify.io.evaluator import open_evaluator
from certify.smoothing.answers import Classify


def as_classifier(model: nn.Module | Classify) -> Classify:
    """The function itself; a module is put into evaluation mode, since smoothing needs one fixed function."""
    return model.eval() if isinstance(model, nn.Module) else model


def load_classifier(path: str | Path, device: str = "cpu") -> Classify:
    """The classifier in an `.onnx` or `.pt2` file, run by its own runtime: no operator of it needs a rule.

    Files made for batches of one size are run in batches of that size. A ValueError says what is missing or damaged.
    """
    return open_evaluator(path, device)


def rescaled(classify: Classify, low: float, high: float) -> Classify:
    """`classify`, whose inputs range from `low` to `high`, for inputs in [0, 1]: noise and radii are in units of the latter."""
    if not low < high:
        raise ValueError(f"the range of a model's inputs must not be empty, got [{low:g}, {high:g}]")
    return Rescaled(classify, low, high)


class Rescaled(nn.Module):
    """A classifier of inputs from `low` to `high` as one of inputs from 0 to 1."""

    def __init__(self, classify: Classify, low: float, high: float) -> None:
        super().__init__()
        self.classify, self.low, self.high = classify, low, high

    def forward(self, x: Tensor) -> Tensor:
        """Scores of inputs in [0, 1]."""
        return self.classify(x * (self.high - self.low) + self.low)
