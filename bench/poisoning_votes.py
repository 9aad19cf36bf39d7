"""Certificates of Finite Aggregation for the largest published setting: k = 1200, d = 16, 10 classes, 10,000 inputs.

The peer is the numpy definition on a hundredth of the inputs (a gather and a sort per class and input, as published procedures
do); the radii must be identical. To reach: at most 10 s and 1 GB for all inputs; the published procedure needs 23 minutes on one
thread.
"""

from __future__ import annotations

import resource

import numpy as np
import pytest

from certify.kernels import votes_reference as reference
from certify.poisoning.spread import Spread, finite
from certify.poisoning.votes import Votes, plurality

INPUTS, SHARE = 10_000, 100


@pytest.fixture(scope="module")
def election() -> tuple[Votes, Spread]:
    """Votes of which 30 to 95 % agree, different from input to input."""
    spread, random = finite(1200, 16), np.random.default_rng(0)
    labels = random.integers(0, 10, INPUTS).astype(np.uint8)
    agreeing = random.uniform(0.3, 0.95, INPUTS).astype(np.float32)
    ballots = np.empty((spread.classifiers, INPUTS), dtype=np.uint8)
    for row in ballots:
        row[:] = np.where(
            random.random(INPUTS, dtype=np.float32) < agreeing, labels, random.integers(0, 10, INPUTS, dtype=np.uint8)
        )
    return Votes(ballots, 10, np.arange(spread.classifiers)), spread


def test_finite_aggregation_of_all_inputs(benchmark, election: tuple[Votes, Spread]) -> None:  # type: ignore[no-untyped-def]
    votes, spread = election
    plurality(Votes(votes.ballots[:, :256], 10, votes.ids), spread)
    found = benchmark.pedantic(plurality, election, rounds=3)
    some = range(0, INPUTS, INPUTS // 20)
    wanted = [reference.plurality(votes.ballots[:, i], spread.runs, spread.units, 10) for i in some]
    assert [(found.winners[i], found.radii[i]) for i in some] == wanted
    benchmark.extra_info["peak memory of the process (GB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    benchmark.extra_info["microseconds per input"] = benchmark.stats["min"] / INPUTS * 1e6


def test_numpy_definition_of_a_hundredth(benchmark, election: tuple[Votes, Spread]) -> None:  # type: ignore[no-untyped-def]
    votes, spread = election

    def definition() -> None:
        for column in votes.ballots[:, : INPUTS // SHARE].T:
            reference.plurality(column, spread.runs, spread.units, 10)

    benchmark.pedantic(definition, rounds=1)
