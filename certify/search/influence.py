"""What splitting a neuron could gain for a domain's bound when the intervals of the neurons behind it are found anew as well.

The lines of a neuron lose A (f(z) - line(z)) in every bound that passes it: in the domain's own, and in the bounds of other neurons,
whose ends in turn move the lines on which the domain's bound rests. With the derivatives of all bounds in the ends of the intervals
(by the envelope theorem the derivative of each line where the minimiser crosses it) losses are carried back from the domain's bound
through layer after layer, as errors are in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.alpha import Tape
from certify.bounds.relaxed import Relaxed
from certify.graph import Node
from certify.operators.base import Elementwise
from certify.operators.table import OPS
from certify.search.domains import Neurons


@dataclass(frozen=True)
class Losses:
    """Of some bounds, one a row, and all neurons (rows, neurons).

    at_minimiser, at_split
              what the neuron's lines lose where the minimiser crosses them, and at the point where it would be split.
    by_lower, by_upper
              what the bound gains for each unit that the lower end of the neuron rises or its upper end falls.
    size      absolute value of the coefficients with which the bound uses the neuron's function.
    """

    at_minimiser: Tensor
    at_split: Tensor
    by_lower: Tensor
    by_upper: Tensor
    size: Tensor

    def select(self, index: Tensor) -> Losses:
        """Those of some bounds."""
        return Losses(*(value[index] for value in vars(self).values()))


@dataclass(frozen=True)
class Account:
    """The losses of bounds of one node's neurons: row r bounds neuron `neuron[r]` of set `of_set[r]`, from below where `below[r]`."""

    of_set: Tensor
    neuron: Tensor
    below: Tensor
    losses: Losses


def losses(relaxed: Relaxed, owner: Tensor, tape: Tape, neurons: Neurons) -> Losses:
    """The losses of the bounds whose pass back and forth is on the tape; `owner` numbers the relaxed set of each."""
    found = Losses(*(torch.zeros(len(owner), neurons.first[-1], dtype=relaxed.program.dtype) for _ in range(5)))
    for node in relaxed.order:
        rule = OPS.get(node.op)
        if node.name in tape.arrived and isinstance(rule, Elementwise) and node.inputs[0] in neurons.nodes:
            here = neurons.place(node.inputs[0])
            parts = _of_node(relaxed, owner, tape, node, rule)
            for total, part in zip(vars(found).values(), parts, strict=True):
                total[:, here] += part.flatten(1)
    return found


def _of_node(relaxed: Relaxed, owner: Tensor, tape: Tape, node: Node, rule: Elementwise) -> tuple[Tensor, ...]:
    params = relaxed.program.params(node)
    l, u = (end[owner] for end in relaxed.intervals[node.inputs[0]])
    z, y, a = tape.values[node.inputs[0]], tape.values[node.name], tape.arrived[node.name]
    a = torch.where(rule.linear(l, u, node, params), 0, a)
    point = rule.split_point(l, u, node)
    with torch.enable_grad():
        ends = l.detach().requires_grad_(), u.detach().requires_grad_()
        lines = rule.lines(*ends, node, params)
        above, below = a.clamp(min=0), a.clamp(max=0)
        chosen = above * (lines.lower_slope * z + lines.lower_intercept) + below * (lines.upper_slope * z + lines.upper_intercept)
        by_ends = torch.autograd.grad(chosen.sum(), ends, allow_unused=True)
    by_lower, by_upper = (torch.zeros_like(l) if g is None else g for g in by_ends)
    with torch.no_grad():
        kink = above * (lines.lower_slope * point + lines.lower_intercept) + below * (
            lines.upper_slope * point + lines.upper_intercept
        )
        at_split = (a * rule.value(point, node, params) - kink).clamp(min=0)
        at_minimiser = (a * (rule.value(z, node, params) - y)).clamp(min=0)
    return at_minimiser, at_split, by_lower.clamp(min=0), (-by_upper).clamp(min=0), a.abs()


@dataclass(frozen=True)
class Influence:
    """On the bound of each set: what splitting a neuron could gain, (sets, neurons), and what the ends of the neurons' intervals are
    worth, widths included: all lower ends and then all upper ends, (sets, 2 neurons)."""

    split: Tensor
    ends: Tensor

    def essential(self, share: float) -> Tensor:
        """The ends that make up so much of all that the ends are worth, (sets, 2 neurons).

        All of them where none is worth anything: the bound is a constant, and what can still be shown is that the set is empty.
        """
        value, order = self.ends.sort(dim=1, descending=True)
        before = value.cumsum(dim=1) - value
        total = value.sum(dim=1, keepdim=True)
        kept = (before < share * total) & (value > 0) | (total == 0)
        return torch.zeros_like(kept).scatter(1, order, kept)


def carried_back(own: Losses, accounts: Sequence[Account], width: Tensor) -> Influence:
    """The influence of each neuron, of an interval so wide: `own` are the losses of the sets' own bounds, the accounts those of the
    neurons' bounds, in the order of the network."""
    total = own.at_minimiser + own.at_split
    by_lower, by_upper = own.by_lower.clone(), own.by_upper.clone()
    for account in reversed(accounts):
        where = account.of_set, account.neuron
        weight = torch.where(account.below, by_lower[where], by_upper[where])[:, None]
        some = account.losses
        total.index_add_(0, account.of_set, weight * (some.at_minimiser + some.at_split))
        by_lower.index_add_(0, account.of_set, weight * some.by_lower)
        by_upper.index_add_(0, account.of_set, weight * some.by_upper)
    return Influence(total, torch.cat([by_lower * width, by_upper * width], dim=1))
