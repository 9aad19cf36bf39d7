"""Claim: the fused kernels run at the speed of the memory, eager torch at a fraction of it; crown at most of the matrix products' rate.

The rows are those of an inner layer: 4096 rows of 1568 coefficients (25 MB), lines of 8 batch elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import certify
from bench.measure import Call, best_times
from bench.networks import RANDOM, Workload
from certify.kernels import dispatch

ROWS, WIDTH, OWNERS = 4096, 1568, 8


def _operands() -> tuple[Tensor, list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, WIDTH, generator=generator)
    lines = [torch.rand(OWNERS, WIDTH, generator=generator) for _ in range(4)]
    return rows, lines, torch.arange(OWNERS).repeat_interleave(ROWS // OWNERS)


def eager_relax(rows: Tensor, lines: list[Tensor], owner: Tensor) -> tuple[Tensor, Tensor]:
    """`relax` in torch operations, the batch axis broadcast where the lines belong to it: the best that eager torch does."""
    positive, negative = (part.reshape(OWNERS, -1, WIDTH) for part in (rows.clamp(min=0), rows.clamp(max=0)))
    ls, lb, us, ub = (line[:, None] for line in lines)
    return positive * ls + negative * us, (positive @ lb.transpose(1, 2) + negative @ ub.transpose(1, 2)).flatten()


def eager_minimise(rows: Tensor, lines: list[Tensor], owner: Tensor) -> Tensor:
    """`minimise` in torch operations, likewise."""
    grouped = rows.reshape(OWNERS, -1, WIDTH)
    lower, upper = (line[:, :, None] for line in lines[:2])
    return (grouped.clamp(min=0) @ lower + grouped.clamp(max=0) @ upper).flatten()


def calls() -> Mapping[str, Call]:
    """What is measured, by name: each kernel, eager torch, and a copy that moves the same bytes."""
    rows, lines, owner = _operands()
    ls, lb, us, ub = lines
    out = torch.empty_like(rows)
    return {
        "relax": lambda: dispatch.relax(rows, ls, lb, owner, us, ub, owner),
        "relax, eager torch": partial(eager_relax, rows, lines, owner),
        "a copy of the rows": lambda: out.copy_(rows),
        "minimise": lambda: dispatch.minimise(rows, ls, lb, owner),
        "minimise, eager torch": partial(eager_minimise, rows, lines, owner),
        "a sum of the rows": lambda: rows.sum(),
    }


@pytest.mark.parametrize("name", calls())
def test_kernel(benchmark: Any, name: str) -> None:
    benchmark.pedantic(calls()[name], rounds=20, warmup_rounds=2)


# --- crown on the MLP against the machine's matrix products ---------------------------------------------------------------------


def product_rate(size: int = 2048) -> float:
    """Floating-point operations a second of a square float32 matrix product."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    return 2.0 * size**3 / best_times({"product": lambda: lambda: torch.mm(a, b, out=out)})["product"]


def crown_rate(workload: Workload, batch: int) -> float:
    """Floating-point operations a second of crown, those of its matrix products and convolutions counted as they are made."""
    x = workload.inputs(batch)
    model = certify.compile(workload.module(), x)
    region = certify.Box(x - workload.eps, x + workload.eps)

    def call() -> Any:
        return certify.bounds(model, region, "crown")

    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops() / best_times({"crown": lambda: call})["crown"]


def test_crown_of_the_mlp_runs_at_most_of_the_rate_of_matrix_products(benchmark: Any) -> None:
    mlp = RANDOM[0]
    rate = benchmark.pedantic(crown_rate, args=(mlp, mlp.batches[0]), rounds=1)
    benchmark.extra_info["share of the product rate"] = share = rate / product_rate()
    assert share > 0.3, "0.6 is aimed at on a quiet machine"
