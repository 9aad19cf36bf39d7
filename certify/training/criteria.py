"""Criteria: what a training step minimises on a batch, as a function of images, labels and the epoch reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import certify
from certify.bounds.objective import margin_rows
from certify.model import Model
from certify.sets import LpBall
from certify.training.fusion import fuse
from certify.training.losses import mix, mixed_cross_entropy

Schedule = Callable[[float], float]
Criterion = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class GrowingBall:
    """The l_p ball around every image that training is to withstand: its radius by epoch, cut to the data's domain."""

    eps: Schedule
    p: float = inf
    domain: tuple[float, float] = (0.0, 1.0)

    def around(self, images: Tensor, epoch: float) -> LpBall:
        """The set at this point of the training."""
        return LpBall(images, images.new_tensor(self.eps(epoch)), self.p, self.domain)


def clean(module: nn.Module) -> Criterion:
    """Cross entropy of the images themselves."""
    return lambda images, labels, epoch: cross_entropy(module(images), labels)


def certified(module: nn.Module, example: Tensor, ball: GrowingBall, kappa: Schedule, method: str = "ibp") -> Criterion:
    """kappa * clean + (1 - kappa) * certified cross entropy, every margin bounded by `method`.

    `example` is a batch of inputs; the module is captured once and its parameters stay live.
    """
    model, classes = _capture(module, example)

    def criterion(images: Tensor, labels: Tensor, epoch: float) -> Tensor:
        region, rows = ball.around(images, epoch), margin_rows(labels, classes, images.dtype)
        lower = certify.lower_bounds(model, region, method=method, objective=rows)
        return mixed_cross_entropy(module(images), labels, lower, kappa(epoch))

    return criterion


def crown_ibp(module: nn.Module, example: Tensor, ball: GrowingBall, kappa: Schedule, beta: Schedule) -> Criterion:
    """As `certified`, with margins mixed of crown-ibp (share beta) and ibp: tight early, cheap late (arXiv 1906.06316)."""
    model, classes = _capture(module, example)

    def criterion(images: Tensor, labels: Tensor, epoch: float) -> Tensor:
        region, rows, share = ball.around(images, epoch), margin_rows(labels, classes, images.dtype), beta(epoch)
        lower = certify.lower_bounds(model, region, method="ibp", objective=rows)
        if share > 0.0:
            lower = mix(certify.lower_bounds(model, region, method="crown-ibp", objective=rows), lower, share)
        return mixed_cross_entropy(module(images), labels, lower, kappa(epoch))

    return criterion


def fused(module: nn.Module, example: Tensor, ball: GrowingBall, kappa: Schedule, method: str = "crown-ibp") -> Criterion:
    """As `certified`, the loss itself bounded through one objective row per image instead of one per class (see `fusion`)."""
    model, classes = _capture(module, example)

    def criterion(images: Tensor, labels: Tensor, epoch: float) -> Tensor:
        region, rows, share = ball.around(images, epoch), margin_rows(labels, classes, images.dtype), kappa(epoch)
        row = fuse(rows, *certify.bounds(model, region, method="ibp", objective=rows))
        lower = certify.lower_bounds(model, region, method=method, objective=row.row)
        return share * cross_entropy(module(images), labels) + (1.0 - share) * row.loss(lower)

    return criterion


def _capture(module: nn.Module, example: Tensor) -> tuple[Model, int]:
    model = certify.compile(module, example)
    return model, model.graph.output_shape[-1]
