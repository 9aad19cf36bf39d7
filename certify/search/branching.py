"""Which neuron to split: candidates by what their lines cost the bound, and a look at the children of the best few.

Two scores propose candidates, both from one pass with the domain's lines. With A the coefficient at f(z) and x* the minimiser of the
bound, A (f(z) - line(z)) >= 0 is what the chosen line of the neuron loses: at z = z(x*), the loss at the minimiser, and at the split
point, for a ReLU the intercept score of BaBSR (arXiv 1909.06588, eq. 6). Of the best by either, the children are bounded once with
their parent's lines (filtered smart branching, arXiv 2103.06624, section 3.4), and the greatest product of the two improvements wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from certify.bounds.relaxed import Relaxed
from certify.operators.base import Elementwise
from certify.operators.table import OPS
from certify.search.domains import Neurons
from certify.search.influence import Losses


@dataclass(frozen=True)
class Candidates:
    """Splits that could be made: neuron, point and natural step of the multiplier, (n, k); `valid` where there is one."""

    neuron: Tensor
    point: Tensor
    unit: Tensor
    valid: Tensor


def splittable_nodes(relaxed: Relaxed) -> dict[str, tuple[int, ...]]:
    """Nodes whose neurons can be split, with their shapes: those read by an elementwise function, the input itself excepted."""
    graph = relaxed.program.graph
    found = {}
    for node in relaxed.order:
        if isinstance(OPS.get(node.op), Elementwise) and node.inputs[0] != graph.input:
            found[node.inputs[0]] = graph.node(node.inputs[0]).shape
    return found


@dataclass(frozen=True)
class Cuts:
    """Where each neuron of each domain would be cut, and whether that makes its lines tighter: (n, neurons)."""

    point: Tensor
    useful: Tensor

    def select(self, index: Tensor) -> Cuts:
        """Those of some domains."""
        return Cuts(self.point[index], self.useful[index])


def cuts(relaxed: Relaxed, owner: Tensor, neurons: Neurons) -> Cuts:
    """The cut of every neuron on domains that are the relaxed sets `owner`; of several functions that read a neuron the last decides."""
    shape = relaxed.batch, neurons.first[-1]
    point, useful = torch.zeros(shape, dtype=relaxed.program.dtype), torch.zeros(shape, dtype=torch.bool)
    for node in relaxed.order:
        rule = OPS.get(node.op)
        if isinstance(rule, Elementwise) and node.inputs[0] in neurons.nodes:
            here = neurons.place(node.inputs[0])
            l, u = relaxed.intervals[node.inputs[0]]
            at = rule.split_point(l, u, node)
            loose = ~rule.linear(l, u, node, relaxed.program.params(node)) & (l < at) & (at < u)
            point[:, here] = torch.where(loose, at, 0).flatten(1) + point[:, here] * ~loose.flatten(1)
            useful[:, here] |= loose.flatten(1)
    return Cuts(point[owner], useful[owner])


_USED, _UNUSED = 1e-12, 1e-24  # scores of neurons that lose nothing, by whether the bound depends on them


def propose(cuts: Cuts, found: Losses, count: int) -> Candidates:
    """Half of the candidates by either loss, then whatever may be cut: a neuron that costs nothing now may do so later.

    No candidate is valid only where nothing can be cut.
    """
    each = min(max(1, count // 2), cuts.point.shape[1])
    loss = torch.where(cuts.useful, found.at_minimiser, 0)
    first = loss.topk(each, dim=1).indices
    rest = torch.where(cuts.useful, found.at_split + _USED * (found.size > 0) + _UNUSED, -1.0)
    rest = rest.scatter(1, first, torch.where(loss.gather(1, first) > 0, -1.0, rest.gather(1, first)))
    second = rest.topk(each, dim=1).indices
    neuron = torch.cat([first, second], dim=1)
    valid = torch.cat([loss.gather(1, first) > 0, rest.gather(1, second) > 0], dim=1)
    return candidates(cuts, found, neuron, valid)


def candidates(cuts: Cuts, found: Losses, neuron: Tensor, valid: Tensor) -> Candidates:
    """Splits at some neurons, (n, k)."""
    return Candidates(neuron, cuts.point.gather(1, neuron).double(), found.size.gather(1, neuron).float(), valid)


def choose(candidates: Candidates, above: Tensor, below: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
    """The best candidate of each domain, given its children's bounds less the threshold, (n, k); and whether there is one.

    Improvements beyond the threshold count as much as reaching it.
    """
    gap = (-parent).clamp(min=1e-6)[:, None]
    gains = [((child - parent[:, None]) / gap).clamp(1e-3, 1.0) for child in (above, below)]
    score = torch.where(candidates.valid, gains[0] * gains[1], -1.0)
    best = score.argmax(dim=1, keepdim=True)
    return best, candidates.valid.any(dim=1)
