"""Training losses for networks that are to be smoothed: cross entropy under noise, and consistency between noisy copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GaussianAugmentation:
    """Cross entropy at one noisy copy of each input (Cohen et al. 2019)."""

    sigma: float

    def __call__(self, network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        """The mean over a batch."""
        return cross_entropy(network(x + self.sigma * torch.randn_like(x)), labels)


@dataclass(frozen=True)
class Consistency:
    """Cross entropy, plus `weight` times the mean KL divergence of each copy's prediction from the copies' mean prediction F, plus
    `entropy` times the entropy of F, over `copies` noisy copies (Jeong and Shin, arXiv 2006.04062).
    """

    sigma: float
    weight: float = 5.0
    entropy: float = 0.5
    copies: int = 2

    def __call__(self, network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        """The mean over a batch."""
        repeated = x.repeat(self.copies, *(1,) * (x.ndim - 1))
        scores = network(repeated + self.sigma * torch.randn_like(repeated))
        logs = log_softmax(scores, dim=1).reshape(self.copies, len(x), -1)
        mean = logs.exp().mean(dim=0)
        spread = sum(kl_div(log, mean, reduction="batchmean") for log in logs) / self.copies
        spent = -(mean * mean.clamp(min=1e-12).log()).sum(dim=1).mean()
        return cross_entropy(scores, labels.repeat(self.copies)) + self.weight * spread + self.entropy * spent


LOSSES: Mapping[str, Callable[[float], Loss]] = {"gaussian": GaussianAugmentation, "consistency": Consistency}
