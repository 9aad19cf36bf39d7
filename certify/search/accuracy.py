"""Clean, attacked and certified accuracy of a classifier on labelled data.

certified <= true robust accuracy <= attacked <= clean: the attack gives the upper limit and the bounds the lower one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import inf

import torch
from torch import Tensor

from certify.bounds.compute import compute_bounds
from certify.bounds.objective import margin_rows
from certify.bounds.rounding import OUTWARD
from certify.environment import proving
from certify.model import Model
from certify.search.attack import pgd
from certify.sets import LpBall
from certify.specification import rational
from certify.specification.exact import round_down, round_up


@dataclass(frozen=True)
class Threat:
    """An l_p ball of radius eps around every input, cut off at the domain of the data; numbers may be exact, as "2/255"."""

    eps: str | float | Fraction
    p: float = inf
    domain: Sequence[str | float | Fraction] | None = (0, 1)

    def region(self, x: Tensor) -> LpBall:
        """What an adversary can choose from, for every row of x: rounded outward, in the dtype of float64 inputs."""
        domain = None if self.domain is None else (round_down(rational(self.domain[0])), round_up(rational(self.domain[1])))
        return LpBall(x, torch.tensor(round_up(rational(self.eps)), dtype=torch.float64), self.p, domain)


@dataclass(frozen=True)
class BatchOutcome:
    """What was found for some inputs: masks of shape (batch,), and the seconds that each step took.

    `clean`: the label's output exceeds all others. `attacked`: it still does at every point the attack tried. `certified`: by
    method, it is proved to do so in the whole region.
    """

    predicted: Tensor
    clean: Tensor
    attacked: Tensor
    certified: Mapping[str, Tensor]
    seconds: Mapping[str, float]


def evaluate(
    model: Model, x: Tensor, labels: Tensor, threat: Threat, methods: Sequence[str], *, batch: int = 64, seed: int = 0
) -> Iterator[BatchOutcome]:
    """Outcomes of consecutive batches of x, (n, *input), with labels (n,); computed in the dtype and on the device of x.

    The attack runs on what is classified correctly, and each method on what the attack left standing.
    """
    model = model.frozen()
    if not len(x):
        raise ValueError("there are no inputs to evaluate")
    classes = model(x[:1]).shape[-1]
    if classes < 2 or not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(f"{model.name} has {classes} outputs, and the labels go from {int(labels.min())} to {int(labels.max())}")
    for start in range(0, len(x), batch):
        with proving(x.dtype, x.device):
            outcome = _evaluate_batch(model, x[start : start + batch], labels[start : start + batch], threat, methods, seed + start)
        yield outcome


def _evaluate_batch(model: Model, x: Tensor, labels: Tensor, threat: Threat, methods: Sequence[str], seed: int) -> BatchOutcome:
    with torch.no_grad():
        outputs = model(x)
    rows = margin_rows(labels, outputs.shape[-1], x.dtype)
    clean = (torch.einsum("brk,bk->br", rows, outputs) > 0).all(1)
    seconds: dict[str, float] = {}

    def narrowed(step: str, mask: Tensor, test: Callable[[LpBall, Tensor], Tensor]) -> Tensor:
        """`mask` where `test(region, rows)` also holds, timed."""
        started = time.perf_counter()
        result = mask.clone()
        if bool(mask.any()):
            result[mask] = test(threat.region(x[mask]), rows[mask])
        seconds[step] = time.perf_counter() - started
        return result

    attacked = narrowed("attack", clean, partial(_withstands, model, seed))
    certified = {method: narrowed(method, attacked, partial(_proved, model, method)) for method in methods}
    return BatchOutcome(outputs.argmax(-1), clean, attacked, certified, seconds)


def _withstands(model: Model, seed: int, region: LpBall, rows: Tensor) -> Tensor:
    points = pgd(model, region, rows, seed=seed)
    with torch.no_grad():
        margins = torch.einsum("brk,bk->br", rows, model(points))
    return (margins > 0).all(1)


def _proved(model: Model, method: str, region: LpBall, rows: Tensor) -> Tensor:
    program = model.program(region.center.dtype, region.center.device)
    lower, _ = compute_bounds(program, region, method, rows, rounding=OUTWARD)
    return (lower > 0).all(1)
