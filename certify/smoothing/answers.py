"""What a base classifier answers: one label for every row of a batch, whatever the other rows are. Anything else is refused.

A certificate counts how often *one function* of one noisy input gives a label. Scores of classes that nobody counts, a single score
that has no rival, or a row's answer that hangs on the rest of the batch would make numbers of it that mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Classify = Callable[[Tensor], Tensor]
NO_LABEL = -1
"""Where a score is NaN."""


def labels_of(answer: Any, rows: int, classes: int) -> Tensor:
    """The labels, int64 (rows,), that a classifier returned for so many rows: the largest of `classes` scores, ties to the smaller
    class, or whole numbers that are labels themselves.

    `NO_LABEL` where a score is NaN; infinite scores compare as numbers do. A ValueError for anything but one answer to every row.
    """
    answer = _one_per_row(answer, rows)
    if answer.ndim == 1 or answer.numel() == rows:
        return _labels(answer.reshape(rows), classes)
    scores = answer.flatten(1)
    if scores.shape[1] != classes:
        raise ValueError(
            f"the base classifier gives {scores.shape[1]} scores to every input, and {classes} classes are counted: "
            "the numbers must be the same"
        )
    best, label = scores.max(dim=1)
    return torch.where(best.isnan(), NO_LABEL, label)


def by_threshold(classify: Classify, threshold: float) -> Classify:
    """A classifier of two classes from one with a single score: 1 where the score lies above the threshold, else 0."""
    if not math.isfinite(threshold):
        raise ValueError(f"a threshold must be a finite number, got {threshold}")

    def scores(x: Tensor) -> Tensor:
        answer = _one_per_row(classify(x), len(x))
        if answer.numel() != len(x):
            raise ValueError(f"a threshold is for one score per input; the base classifier returned {list(answer.shape)}")
        margin = answer.reshape(len(x)).double() - threshold
        return torch.stack((-margin, margin), dim=1)

    return scores


def classes_of(classify: Classify, example: Tensor) -> int:
    """How many scores a classifier gives to one input, (1, *shape); a ValueError where it does not score classes."""
    with torch.no_grad():
        answer = _one_per_row(ask(classify, example), len(example))
    if not answer.is_floating_point() and answer.numel() == len(example):
        raise ValueError("the classifier returns labels, not scores: say how many classes there are, such as --classes 10")
    if answer.numel() == len(example):
        raise ValueError(ONE_SCORE)
    return answer.flatten(1).shape[1]


ONE_SCORE = (
    "the base classifier gives one score to every input, so that no other class can win: say at which score the answer changes, by "
    "`threshold=0.5` (on the command line `--threshold 1/2`) for two classes"
)


def ask(classify: Classify, x: Tensor) -> Any:
    """What the classifier returns for a batch; a ValueError that names the shape where it cannot take it."""
    try:
        return classify(x)
    except (TypeError, RuntimeError, IndexError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).split("\n", 1)[0]
        raise ValueError(
            f"the base classifier cannot take inputs of shape {list(x.shape)}, the batch first ({reason}); do channels come last?"
        ) from error


@dataclass
class BaseClassifier:
    """A classifier as smoothing counts it: `labels` of batches, the first of which is asked twice, in another order and other company.

    Where a row then gets another answer, the classifier is no function of one input, and there is nothing to certify: a ValueError.
    """

    classify: Classify
    classes: int
    tested: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"a classifier has at least two classes, got {self.classes}; {ONE_SCORE}")

    def labels(self, x: Tensor) -> Tensor:
        """int64 (rows,) of float32 (rows, *shape)."""
        if self.tested:
            return labels_of(self.classify(x), len(x), self.classes)
        if isinstance(self.classify, nn.Module):
            from certify.io.torch.capture import refuse_training_statistics

            refuse_training_statistics(self.classify)
        kept = x.clone()  # a classifier may write to its input
        answer = ask(self.classify, x)
        found = labels_of(answer, len(x), self.classes)
        answer = answer.clone()  # or to what it returned before
        require_rows_apart(self.classify, kept, answer)
        self.tested = True
        return found


def require_rows_apart(classify: Classify, x: Tensor, answer: Tensor) -> None:
    """A ValueError where rows of `x`, asked again in reverse order with copies of the first row for company, get other answers.

    The batch keeps its size. Layers that normalise over the batch, random layers and mixed up axes all show.
    """
    half = (len(x) + 1) // 2
    company = x[:1].expand(len(x) - half, *x.shape[1:])
    again = _one_per_row(ask(classify, torch.cat((x[:half].flip(0), company))), len(x))[:half].flip(0)
    if not _same_answers(answer[:half], again):
        raise ValueError(
            "the base classifier gives the same input other answers in another batch, or at another time: it is no function of one "
            "input (BatchNorm or Dropout in training mode? then call .eval() first), and a certificate would mean nothing"
        )


def _one_per_row(answer: Any, rows: int) -> Tensor:
    if not isinstance(answer, Tensor) or answer.is_complex():
        kind = f"a tensor of {answer.dtype}" if isinstance(answer, Tensor) else type(answer).__name__
        raise ValueError(f"the base classifier returns {kind}; it must return one tensor of scores: wrap it and pick that one")
    if answer.ndim == 0 or len(answer) != rows or answer.numel() == 0:
        raise ValueError(
            f"the base classifier returns shape {list(answer.shape)} for {rows} inputs; it must answer every row of the batch by "
            f"itself, with scores ({rows}, classes)"
        )
    return answer


def _labels(answer: Tensor, classes: int) -> Tensor:
    """Whole numbers as labels."""
    if answer.is_floating_point():
        raise ValueError(ONE_SCORE)
    labels = answer.long()
    if bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(
            f"the base classifier returns labels from {int(labels.min())} to {int(labels.max())}, of {classes} classes"
        )
    return labels


def _same_answers(first: Tensor, second: Tensor) -> bool:
    """Equal but for the rounding that the size and order of a batch change: half the digits of the numbers' type must agree."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not first.is_floating_point():
        return bool((first == second).all())
    return torch.allclose(first, second, rtol=0.0, atol=_tolerance(first), equal_nan=True)


def _tolerance(scores: Tensor) -> float:
    finite = scores[scores.isfinite()]
    return float(finite.abs().max()) * torch.finfo(scores.dtype).eps ** 0.5 if len(finite) else 0.0
