"""Inequalities with multipliers: what they promise of the points where they hold, and what their gradients are."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor

from certify.bounds.alpha import Schedule, minimum, optimise
from certify.bounds.beta import Assumed, Multipliers, Splits
from certify.bounds.compute import relax
from certify.bounds.relaxed import Relaxed
from certify.bounds.rounding import NEAREST, OUTWARD, Rounding
from certify.operators.base import Elementwise
from certify.operators.program import Program
from certify.operators.rows import DenseRows
from certify.operators.table import OPS
from certify.sets import Box
from tests.networks import mlp, program, seeds


@dataclass
class Case:
    """A network on a box, sampled points with the values of all nodes, and inequalities that the first sample satisfies."""

    net: Program
    relaxed: Relaxed
    values: dict[str, Tensor]
    start: dict[str, DenseRows]
    splits: list[Splits]
    assumed: Assumed

    @property
    def inequalities(self) -> list[Splits | Assumed]:
        return [*self.splits, self.assumed]

    def satisfying(self) -> Tensor:
        """The samples at which all inequalities hold."""
        holds = torch.ones(len(self.values[self.net.graph.input]), dtype=torch.bool)
        for split in self.splits:
            z = self.values[split.node].flatten(1)[:, split.index]
            holds &= (split.sign * (z - split.point) >= 0).all(dim=1)
        y = self.values[self.net.graph.output]
        return holds & ((self.assumed.outputs * y[:, None]).flatten(2).sum(dim=2) <= self.assumed.rhs).all(dim=1)

    def objective(self) -> Tensor:
        return (self.start[self.net.graph.output].dense() * self.values[self.net.graph.output]).flatten(1).sum(dim=1)


def _case(seed: int, rounding: Rounding, activation: str = "relu") -> Case:
    generator = torch.Generator().manual_seed(seed)
    net = program(mlp(seed, [3, 6, 6, 2], activation))
    graph = net.graph
    x = torch.randn(1, 1, 3, generator=generator, dtype=torch.float64)
    relaxed = relax(net, Box(x - 0.7, x + 0.7), "crown", rounding=rounding)
    values = net.values(x + 0.7 * (2 * torch.rand(500, 1, 3, generator=generator, dtype=torch.float64) - 1))
    zero = torch.zeros(1, dtype=torch.int64)

    def multipliers(count: int) -> Multipliers:
        value = torch.rand(count, generator=generator, dtype=torch.float64)
        return Multipliers(zero.expand(count), value, torch.ones(count, dtype=torch.float64))

    splits = []
    for node in graph.nodes:
        if isinstance(OPS.get(node.op), Elementwise):
            name = node.inputs[0]
            index = torch.randint(6, (2,), generator=generator)
            point = torch.zeros(2, dtype=torch.float64) if activation == "relu" else values[name][1].flatten()[index]
            sign = torch.where(values[name][0].flatten()[index] >= point, 1.0, -1.0).double()
            reach = torch.maximum(*(end.abs() for end in relaxed.intervals[name])).flatten()[index]
            splits.append(Splits(name, node.shape, index, sign, point, reach, (zero, zero), multipliers(2), rounding))
    rows = torch.randn(2, 1, 2, generator=generator, dtype=torch.float64)
    rhs = (rows[1:] * values[graph.output][0]).sum().reshape(1) + 0.05
    size = torch.maximum(*(end.abs() for end in relaxed.intervals[graph.output]))
    magnitude = (rows[1:].abs() * size).sum().reshape(1)
    assumed = Assumed(graph.output, graph.input, rows[1:], None, rhs, magnitude, (zero, zero), multipliers(1), rounding)
    return Case(net, relaxed, values, {graph.output: DenseRows(rows[:1])}, splits, assumed)


@settings(max_examples=40, deadline=None)
@given(seed=seeds())
def test_bounds_hold_wherever_the_inequalities_do_whatever_the_multipliers(seed: int) -> None:
    case = _case(seed, OUTWARD, "relu" if seed % 2 else "sigmoid")
    bound, _ = minimum(case.relaxed, case.start, torch.zeros(1, dtype=torch.int64), inequalities=case.inequalities)
    objective = case.objective()[case.satisfying()]
    assert len(objective)
    assert bool((bound <= objective + 1e-12 * objective.abs()).all())


@settings(max_examples=20, deadline=None)
@given(seed=seeds())
def test_optimised_multipliers_never_lose_to_bounds_without_them(seed: int) -> None:
    case, owner = _case(seed, NEAREST), torch.zeros(1, dtype=torch.int64)
    for inequality in case.inequalities:
        inequality.multipliers.value.zero_()
    plain, _ = minimum(case.relaxed, case.start, owner)
    found = optimise(case.relaxed, case.start, owner, Schedule(10, 0.2, 0.9), inequalities=case.inequalities)
    assert bool(found.bound >= plain)
    again = [
        type(i)(**{**vars(i), "multipliers": Multipliers(i.multipliers.row, i.multipliers.best, i.multipliers.unit)})
        for i in case.inequalities
    ]
    repeated, _ = minimum(case.relaxed, case.start, owner, inequalities=again, initial=found.parameters)
    torch.testing.assert_close(repeated, found.bound, rtol=1e-9, atol=1e-9)


def test_a_condition_bounds_what_it_speaks_of() -> None:
    """-C y is at least -rhs wherever C y <= rhs, though not on the box."""
    case, owner = _case(3, NEAREST), torch.zeros(1, dtype=torch.int64)
    case.assumed.multipliers.value.zero_()
    start = {case.net.graph.output: DenseRows(-case.assumed.outputs)}
    y = (case.assumed.outputs * case.values[case.net.graph.output]).flatten(1).sum(dim=1)
    rhs = 0.5 * float(y.min() + y.max())
    case.assumed.rhs = torch.tensor([rhs], dtype=torch.float64)
    plain = optimise(case.relaxed, start, owner, Schedule(50, 0.1, 0.95)).bound
    found = optimise(case.relaxed, start, owner, Schedule(50, 0.1, 0.95), inequalities=[case.assumed]).bound
    assert float(plain) <= -float(y.max())
    assert float(found) == pytest.approx(-rhs, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(seed=seeds())
def test_gradients_of_multipliers_are_finite_differences(seed: int) -> None:
    case, owner = _case(seed, NEAREST), torch.zeros(1, dtype=torch.int64)
    _, tape = minimum(case.relaxed, case.start, owner, inequalities=case.inequalities)
    assert tape is not None
    wanted = [split.sign * (split.point - tape.values[split.node].flatten(1)[0, split.index]) for split in case.splits]
    wanted.append((case.assumed.outputs[0] * tape.values[case.net.graph.output][0]).sum().reshape(1) - case.assumed.rhs)
    for inequality, gradient in zip(case.inequalities, wanted, strict=True):
        ends = []
        for step in (-1e-6, 1e-6):
            before = inequality.multipliers.value
            inequality.multipliers.value = before + step * torch.eye(len(before), dtype=before.dtype)[0]
            ends.append(minimum(case.relaxed, case.start, owner, inequalities=case.inequalities)[0])
            inequality.multipliers.value = before
        middle = minimum(case.relaxed, case.start, owner, inequalities=case.inequalities)[0]
        assume(abs(float(ends[0] + ends[1] - 2 * middle)) < 1e-10)  # else a kink
        assert float(ends[1] - ends[0]) / 2e-6 == pytest.approx(float(gradient[0]), rel=1e-4, abs=1e-5)


def test_multipliers_stay_nonnegative() -> None:
    multipliers = Multipliers(torch.zeros(2, dtype=torch.int64), torch.tensor([0.1, 0.0]), torch.ones(2))
    multipliers.ascend(torch.tensor([-1.0, -1.0]), 0, Schedule())
    assert bool((multipliers.value == 0).all())
