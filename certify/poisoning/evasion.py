"""Both threats at once: poisoned training data, and an input that the adversary may still move.

A classifier's vote counts only where our bounds prove that no allowed movement of the input changes it. Every other vote is given
to the adversary for nothing, beside those that poisoned buckets buy: with A of them the winner c stays for any r poisoned buckets
of a disjoint partition as long as r <= min over c' of floor((N_c - N_c' - [c' < c] - A) / 2), N counting proved votes (arXiv
2301.11824).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.bounds.compute import compute_bounds
from certify.bounds.objective import margin_rows
from certify.bounds.rounding import OUTWARD
from certify.io.torch import compile
from certify.kernels.votes_reference import UNPROVED
from certify.model import Model
from certify.poisoning.torch_learner import TorchLearner
from certify.poisoning.training import Ensemble
from certify.poisoning.votes import Votes, plurality
from certify.search.accuracy import Threat

BATCH = 256
"""Inputs whose bounds are computed at a time."""


def proved_votes(
    ensemble: Ensemble,
    X: Any,
    eps: Any,
    p: float = inf,
    domain: tuple[float, float] | None = None,
    *,
    method: str = "crown",
    progress: Callable[[int], None] = lambda steps: None,
) -> Votes:
    """The votes of networks, with `UNPROVED` wherever an input within `eps` (l_p, inside `domain`) is not proved to get the same
    vote.

    X is what the networks see, behind any `transformer`. Bounds are rounded outward and speak of the networks in real arithmetic.
    Classifiers that answer the same everywhere are proved without bounds. A ValueError where the learner is no `TorchLearner`: the
    bounds need the network.
    """
    learner = ensemble.learner
    if not isinstance(learner, TorchLearner):
        raise ValueError(f"{type(learner).__name__} has no bounds; certificates against both threats need a TorchLearner")
    inputs = torch.as_tensor(np.asarray(X, dtype=np.float32), device=learner.device)
    network = learner.factory().to(learner.device).eval()
    model = compile(network, inputs[:1])
    votes, threat = ensemble.votes(X), Threat(eps, p, domain)
    ballots = votes.ballots.copy()
    for b in range(ensemble.spread.classifiers):
        weights = ensemble.model(b)
        if weights is not None:
            network.load_state_dict(weights)
            fixed = model.frozen()
            for start in range(0, len(inputs), BATCH):
                part = slice(start, start + BATCH)
                proved = _proved(fixed, inputs[part], torch.as_tensor(ballots[b, part].astype(np.int64)), threat, method)
                ballots[b, part] = np.where(proved.cpu().numpy(), ballots[b, part], UNPROVED)
        progress(1)
    return replace(votes, ballots=ballots, answers=plurality(votes, ensemble.spread).winners)


def _proved(model: Model, x: Tensor, ballots: Tensor, threat: Threat, method: str) -> Tensor:
    """Whether the class of each ballot stays ahead of every other in the whole region around each input, (batch,)."""
    region = threat.region(model.to_input(x.double()))
    rows = margin_rows(ballots.to(x.device), model(x[:1]).shape[-1], torch.float64)
    with torch.no_grad():
        lower, _ = compute_bounds(model.program(torch.float64, x.device), region, method, rows, rounding=OUTWARD)
    return (lower > 0).all(1)
