"""A plain training loop: Adam, one criterion, the same weights for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certify.training.criteria import Criterion, Schedule

EpochHook = Callable[[int, float], None]


@dataclass(frozen=True)
class Plan:
    """How long and how fast: `rate` is Adam's learning rate by epoch, counted in fractions; gradients have norm `clip` at most."""

    epochs: int
    rate: Schedule
    batch: int = 100
    clip: float = 10.0


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    criterion: Criterion,
    plan: Plan,
    *,
    seed: int = 0,
    after_epoch: EpochHook | None = None,
) -> None:
    """Trains `module` in place; the same seed, initial weights, data and machine give the same weights.

    `x` is (images, *input), `y` integer labels (images,). `after_epoch` receives the epoch's index and its mean loss. The order of
    the images comes from a generator of its own, and an epoch leaves out a last batch that is not full. Whether the module is in
    training mode is left as it is.
    """
    optimiser = torch.optim.Adam(module.parameters())
    order = torch.Generator().manual_seed(seed)
    for epoch in range(plan.epochs):
        losses = []
        for done, chosen in batches(len(x), plan.batch, order):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate(epoch + done)
            optimiser.zero_grad()
            loss = criterion(x[chosen], y[chosen], epoch + done)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
            optimiser.step()
            losses.append(loss.detach())
        if after_epoch is not None:
            after_epoch(epoch, float(torch.stack(losses).mean()))


def batches(count: int, size: int, order: torch.Generator) -> Iterator[tuple[float, Tensor]]:
    """One epoch in random order: the share of it already done, and the indices of the next full batch."""
    size = min(size, count)
    full = count // size
    for step, chosen in enumerate(torch.randperm(count, generator=order)[: full * size].split(size)):
        yield step / full, chosen
