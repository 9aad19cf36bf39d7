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

from certify.bounds.alpha import Tape
from certify.bounds.relaxed import Relaxed
from certify.graph import Node
from certify.operators.base import Elementwise
from certify.operators.table import OPS
from certify.search.domains import Neurons


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
class _Scores:
    """Of every neuron on every domain, (n, neurons): the two losses, where it would be split, and the size of its coefficient."""

    loss: Tensor
    intercept: Tensor
    point: Tensor
    size: Tensor


def propose(relaxed: Relaxed, tape: Tape, neurons: Neurons, count: int) -> Candidates:
    """The `count` best splits of each domain by either score; domain i is set i of `relaxed` and row i of the tape."""
    scores = _Scores(*(torch.zeros(relaxed.batch, neurons.first[-1], dtype=relaxed.program.dtype) for _ in range(4)))
    for node in relaxed.order:
        rule = OPS.get(node.op)
        if node.name in tape.arrived and isinstance(rule, Elementwise) and node.inputs[0] in neurons.nodes:
            _score(scores, relaxed, tape, neurons, node, rule)
    return _best(scores, count)


def _score(scores: _Scores, relaxed: Relaxed, tape: Tape, neurons: Neurons, node: Node, rule: Elementwise) -> None:
    """Adds what the lines of one node lose, to its input's neurons."""
    name, params = node.inputs[0], relaxed.program.params(node)
    place = neurons.nodes.index(name)
    here = slice(neurons.first[place], neurons.first[place + 1])
    l, u = relaxed.intervals[name]
    a = tape.arrived[node.name]
    point = rule.split_point(l, u, node)
    loose = ~rule.linear(l, u, node, params) & (l < point) & (point < u)
    a = torch.where(loose, a, 0)
    on_lines = {
        "loss": (tape.values[name], tape.values[node.name]),
        "intercept": (point, relaxed.steps[node.name].push([point], a, torch.arange(len(a)))),
    }
    for score, (x, y) in on_lines.items():
        getattr(scores, score)[:, here] += (a * (rule.value(x, node, params) - y)).clamp(min=0).flatten(1)
    scores.point[:, here] = point.flatten(1)
    scores.size[:, here] += a.abs().flatten(1)


def _best(scores: _Scores, count: int) -> Candidates:
    """Half of the candidates by each score, then whatever is unstable: a neuron that costs nothing now may do so later."""
    loss, each = scores.loss, min(max(1, count // 2), scores.loss.shape[1])
    first = loss.topk(each, dim=1).indices
    rest = scores.intercept + 1e-12 * (scores.size > 0)
    rest = rest.scatter(1, first, torch.where(loss.gather(1, first) > 0, -1.0, rest.gather(1, first)))
    second = rest.topk(each, dim=1).indices
    neuron = torch.cat([first, second], dim=1)
    valid = torch.cat([loss.gather(1, first) > 0, rest.gather(1, second) > 0], dim=1)
    return Candidates(neuron, scores.point.gather(1, neuron).double(), scores.size.gather(1, neuron).float(), valid)


def choose(candidates: Candidates, above: Tensor, below: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
    """The best candidate of each domain, given its children's bounds less the threshold, (n, k); and whether there is one.

    Improvements beyond the threshold count as much as reaching it.
    """
    gap = (-parent).clamp(min=1e-6)[:, None]
    gains = [((child - parent[:, None]) / gap).clamp(1e-3, 1.0) for child in (above, below)]
    score = torch.where(candidates.valid, gains[0] * gains[1], -1.0)
    best = score.argmax(dim=1, keepdim=True)
    return best, candidates.valid.any(dim=1)
