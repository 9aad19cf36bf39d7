"""Claim: bounds of one network over one set of boxes take a fraction of the peer's time, and are as tight or tighter.

pytest bench/bench_bounds.py --benchmark-only -k "crown and mlp"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import certify
from bench.measure import Call, Prepare, peak_memory
from bench.networks import RANDOM, RESNET_FILE, Workload, available
from bench.peers.auto_lirpa import Peer, alpha_peer
from certify.bounds.compute import Objective, bound_rows, relax
from certify.operators.rows import UnitRows
from certify.sets import Box

THEIR_NAMES = {"ibp": "IBP", "crown-ibp": "IBP+backward", "crown": "backward"}


class Case(NamedTuple):
    """What a row of the table measures."""

    workload: Workload
    batch: int
    method: str

    def __str__(self) -> str:
        return f"{self.method}-{self.workload.name}-{self.batch}"


def boxes(case: Case) -> tuple[Tensor, Tensor]:
    """The lower and upper ends, (batch, *input)."""
    x = case.workload.inputs(case.batch)
    return x - case.workload.eps, x + case.workload.eps


def ours(case: Case) -> Prepare:
    """Lower and upper bounds by `certify.bounds`, of a module captured beforehand."""
    lower, upper = boxes(case)
    model = certify.compile(case.workload.module(), lower)
    return lambda: lambda: certify.bounds(model, certify.Box(lower, upper), case.method)


def our_alpha(case: Case) -> Prepare:
    """Lower bounds alone by alpha-crown, 20 iterations, neurons inside included: what the peer is asked for."""
    lower, upper = boxes(case)
    model = certify.compile(case.workload.module(), lower)
    program, shape = model.program(), model.graph.output_shape
    count = shape[-1]
    owner = torch.arange(case.batch).repeat_interleave(count)
    rows = UnitRows(torch.arange(count).repeat(case.batch), torch.ones(count * case.batch), shape)

    def call() -> tuple[Tensor, None]:
        relaxed = relax(program, Box(lower, upper).map(model.to_input), case.method)
        return bound_rows(relaxed, Objective(owner, rows), case.method).reshape(case.batch, count), None

    return lambda: call


def theirs(case: Case) -> Prepare:
    """The same as `ours` by auto_LiRPA 0.3, its module built beforehand."""
    lower, upper = boxes(case)
    peer = Peer(case.workload.module(), lower)

    @torch.no_grad()  # the peer's copies of frozen parameters are not frozen
    def call() -> tuple[Tensor, Tensor]:
        return peer.bounds(lower, upper, THEIR_NAMES[case.method])

    return lambda: call


def their_alpha(case: Case) -> Prepare:
    """auto_LiRPA's alpha-crown of 20 iterations, lower bounds alone; it needs a fresh module for every run."""
    lower, upper = boxes(case)
    module = case.workload.module()

    def prepare() -> Call:
        peer = alpha_peer(module, lower)
        return lambda: peer.bounds(lower, upper, "CROWN-Optimized", sides=(True, False))

    return prepare


Engines = Mapping[str, Callable[[Case], Prepare]]
PLAIN: Engines = {"certify": ours, "auto_LiRPA": theirs}
OPTIMISED: Engines = {"certify": our_alpha, "auto_LiRPA": their_alpha}


def engines(case: Case) -> Engines:
    """Who is measured on a case."""
    found = OPTIMISED if case.method == "alpha-crown" else PLAIN
    return found if find_spec("auto_LiRPA") else {"certify": found["certify"]}


PASSES = tuple(
    Case(workload, batch, method) for method in ("crown", "ibp") for workload in available() for batch in workload.batches
)
OPTIMISATIONS = tuple(Case(workload, workload.batches[0], "alpha-crown") for workload in RANDOM)


@cache
def mean_lower_bound(case: Case, engine: str) -> tuple[float, float]:
    """The mean of the lower bounds, and of their absolute values."""
    lower = engines(case)[engine](case)()()[0].detach()
    return float(lower.mean()), float(lower.abs().mean())


def advantage(case: Case) -> float:
    """How much higher our lower bounds are in the mean, relative to their size; negative: the peer's are better."""
    mine, _ = mean_lower_bound(case, "certify")
    peer, size = mean_lower_bound(case, "auto_LiRPA")
    return (mine - peer) / size


def _row(benchmark: Any, case: Case, engine: str, rounds: int, behind: float) -> None:
    if engine not in engines(case):
        pytest.skip("auto_LiRPA is not installed: pip install --no-deps auto_LiRPA==0.3 appdirs")
    prepare = engines(case)[engine](case)
    prepare()()
    benchmark.pedantic(lambda call: call(), setup=lambda: ((prepare(),), {}), rounds=rounds)
    if engine == "certify" and "auto_LiRPA" in engines(case):
        benchmark.extra_info["relative gain of the lower bounds"] = gain = advantage(case)
        assert gain >= -behind, "a faster but looser bound is not a faster bound"


@pytest.mark.parametrize("engine", PLAIN)
@pytest.mark.parametrize("case", PASSES, ids=str)
def test_one_pass(benchmark: Any, case: Case, engine: str) -> None:
    _row(benchmark, case, engine, rounds=7, behind=1e-3)


@pytest.mark.parametrize("engine", OPTIMISED)
@pytest.mark.parametrize("case", OPTIMISATIONS, ids=str)
def test_optimised_lines(benchmark: Any, case: Case, engine: str) -> None:
    # The peer optimises the lines of all layers jointly, we those of each neuron before its own bound: close, but not the same optimum.
    _row(benchmark, case, engine, rounds=1, behind=0.02)


_RESNET = f"""
import torch, certify
x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
certify.bounds(certify.load({str(RESNET_FILE)!r}), certify.Box(x - 0.01, x + 0.01), "crown")
"""


def resnet_memory() -> int:
    """Bytes that a process holds at most which loads the CIFAR ResNet and bounds it by crown at batch 1."""
    return peak_memory(_RESNET)


@pytest.mark.skipif(not RESNET_FILE.is_file(), reason="the ResNet is not here; set CERTIFY_DATA")
def test_memory_of_the_resnet(benchmark: Any) -> None:
    peak = benchmark.pedantic(resnet_memory, rounds=1)
    assert peak < 2e9
