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
from certify.search.comparison import affordable, compare_at
from certify.sets import LpBall
from certify.specification import Rationals, rational
from certify.specification.exact import round_down, round_up
from certify.specification.robustness import ONE_OUTPUT, Exact


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


@dataclass(frozen=True)
class Wanted:
    """What right answers are: rows @ outputs > limits, all rows of an input. (batch, specs, outputs) and (batch, specs)."""

    rows: Tensor
    limits: Tensor

    def of(self, mask: Tensor) -> Wanted:
        """Those of some inputs."""
        return Wanted(self.rows[mask], self.limits[mask])

    def met(self, outputs: Tensor) -> Tensor:
        """Whether they are right, (batch,)."""
        return (torch.einsum("brk,bk->br", self.rows, outputs) > self.limits).all(1)


def wanted(labels: Tensor, outputs: int, threshold: Exact | None, dtype: torch.dtype) -> Wanted:
    """The label's output exceeds all others; of one output, it is above the threshold for label 1 and below it for label 0.

    The limits are rounded up, so that nothing is right that is not. A ValueError where that is no question for so many outputs.
    """
    if threshold is None:
        if outputs < 2:
            raise ValueError(ONE_OUTPUT)
        rows = margin_rows(labels, outputs, dtype)
        return Wanted(rows, rows.new_zeros(rows.shape[:2]))
    if outputs != 1:
        raise ValueError(f"a threshold tells two classes apart by one score; the network has {outputs} outputs")
    exact = rational(threshold)
    above, below = (Rationals.of([end]).up(str(dtype).removeprefix("torch.")).item() for end in (exact, -exact))
    sign = 2 * labels.to(dtype) - 1
    return Wanted(sign[:, None, None], torch.where(labels > 0, above, below).to(dtype)[:, None])


def evaluate(
    model: Model,
    x: Tensor,
    labels: Tensor,
    threat: Threat,
    methods: Sequence[str],
    *,
    threshold: Exact | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Iterator[BatchOutcome]:
    """Outcomes of consecutive batches of x, (n, *input), with labels (n,); computed in the dtype and on the device of x.

    The attack runs on what is classified correctly, and each method on what the attack left standing. A network with one output tells
    two classes apart at `threshold`, which may be exact. The graph is held against the original model at some inputs of every batch:
    a `GraphError` where they differ.
    """
    model = model.frozen()
    x = model.to_input(x)
    if not len(x):
        raise ValueError("there are no inputs to evaluate")
    with torch.no_grad():
        outputs = model(x[:1])[0].numel()
    wanted(labels[:0], outputs, threshold, x.dtype)
    classes = 2 if threshold is not None else outputs
    if not bool(((labels >= 0) & (labels < classes)).all()):
        raise ValueError(f"{model.name} knows {classes} classes, and the labels go from {int(labels.min())} to {int(labels.max())}")
    for start in range(0, len(x), batch):
        with proving(x.dtype, x.device):
            part = slice(start, start + batch)
            compare_at(model, list(x[part][: affordable(model)].cpu().numpy()))
            outcome = _evaluate_batch(model, x[part], labels[part], threat, methods, threshold, seed + start)
        yield outcome


def _evaluate_batch(
    model: Model, x: Tensor, labels: Tensor, threat: Threat, methods: Sequence[str], threshold: Exact | None, seed: int
) -> BatchOutcome:
    with torch.no_grad():
        outputs = model(x).reshape(len(x), -1)
    right = wanted(labels, outputs.shape[-1], threshold, x.dtype)
    clean = right.met(outputs)
    seconds: dict[str, float] = {}

    def narrowed(step: str, mask: Tensor, test: Callable[[LpBall, Wanted], Tensor]) -> Tensor:
        """`mask` where `test(region, what is wanted)` also holds, timed."""
        started = time.perf_counter()
        result = mask.clone()
        if bool(mask.any()):
            result[mask] = test(threat.region(x[mask]), right.of(mask))
        seconds[step] = time.perf_counter() - started
        return result

    attacked = narrowed("attack", clean, partial(_withstands, model, seed))
    certified = {method: narrowed(method, attacked, partial(_proved, model, method)) for method in methods}
    predicted = outputs.argmax(-1) if threshold is None else (outputs[:, 0] > float(rational(threshold))).long()
    return BatchOutcome(predicted, clean, attacked, certified, seconds)


def _withstands(model: Model, seed: int, region: LpBall, right: Wanted) -> Tensor:
    points = pgd(model, region, right.rows, right.limits, seed=seed)
    with torch.no_grad():
        return right.met(model(points).reshape(len(points), -1))


def _proved(model: Model, method: str, region: LpBall, right: Wanted) -> Tensor:
    program = model.program(region.center.dtype, region.center.device)
    lower, _ = compute_bounds(program, region, method, right.rows, rounding=OUTWARD)
    return (lower > right.limits).all(1)
