"""A network relaxed over an input set: for every node an interval and a step that pulls rows of coefficients back through it.

Built in one topological sweep. Intervals come from the operators' interval rules; where a nonlinear node wants tighter bounds of its
input, and only for the neurons where tighter bounds would change its lines, a `Tighten` strategy is asked (CROWN asks backward
propagation through the part already relaxed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from certify.bounds.ball import BallImages, intersection
from certify.bounds.budget import Budget
from certify.bounds.interval import Interval, affine_interval, largest_magnitude, largest_sum
from certify.bounds.rounding import Allowance, Rounding, underflow
from certify.graph import INPUT, Graph, GraphError, Node, Shape
from certify.operators.base import Affine, Params
from certify.operators.program import Program
from certify.operators.relaxation import Relaxation
from certify.operators.rows import Rows
from certify.operators.table import OPS
from certify.sets import Box, LpBall

Region = Box | LpBall


class Step(Protocol):
    """One node of a relaxed network."""

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[tuple[Rows, ...], Tensor | None]:
        """Rows over each input and a shift (or None), with rows @ node >= sum of rows @ inputs + shift."""

    def push(self, inputs: Sequence[Tensor], rows: Tensor | None, owner: Tensor) -> Tensor:
        """The node's value on the lines that `pull_back` chose for `rows`, at points (rows, *shape) of its inputs."""


@dataclass(frozen=True)
class AffineStep:
    """An affine node: exact up to rounding."""

    rule: Affine
    node: Node
    params: Params
    shapes: Sequence[Shape]
    constant: Tensor | None
    allowance: Allowance | None

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[tuple[Rows, ...], Tensor | None]:
        shift = None if self.constant is None else rows.dot(self.constant)
        if self.allowance is not None:
            lost = self.allowance.of(rows, owner)
            shift = -lost if shift is None else shift - lost
        return rows.pull_back(self.rule, self.node, self.params, self.shapes), shift

    def push(self, inputs: Sequence[Tensor], rows: Tensor | None, owner: Tensor) -> Tensor:
        return self.rule.value(*inputs, node=self.node, params=self.params)


@dataclass(frozen=True)
class NonlinearStep:
    """A nonlinear node replaced by its lines."""

    relaxation: Relaxation
    allowance: Allowance | None

    def pull_back(self, rows: Rows, owner: Tensor) -> tuple[tuple[Rows, ...], Tensor | None]:
        new, shift = self.relaxation.pull_back(rows, owner)
        if self.allowance is not None:
            shift = shift - self.allowance.of(rows, owner)
        return (new,), shift

    def push(self, inputs: Sequence[Tensor], rows: Tensor | None, owner: Tensor) -> Tensor:
        if rows is None:
            raise RuntimeError("a nonlinear node is pushed without the rows that chose its lines")
        return self.relaxation.push(inputs[0], rows, owner)


class OnDemand(Mapping[str, Step]):
    """Steps by node, each made when it is first asked for: interval bounds draw no lines."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Step]] = {}
        self._made: dict[str, Step] = {}

    def plan(self, name: str, maker: Callable[[], Step]) -> None:
        """Says how the step of a node is made."""
        self._makers[name] = maker

    def __getitem__(self, name: str) -> Step:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Relaxed:
    """Everything backward propagation needs; `order` are the nodes in topological order, up to those that were asked for."""

    program: Program
    region: Region
    rounding: Rounding
    budget: Budget
    order: tuple[Node, ...]
    readers: Mapping[str, Sequence[Node]]
    intervals: dict[str, Interval] = field(default_factory=dict)
    steps: OnDemand = field(default_factory=OnDemand)
    ball: BallImages | None = None
    """Affine functions of the input, where that is a ball: of it a bounding box is no good measure."""

    @property
    def batch(self) -> int:
        """Number of input sets."""
        return self.intervals[self.program.graph.input][0].shape[0]


Tighten = Callable[[Relaxed, Node, Tensor], Interval]
"""`(relaxed so far, node, mask of neurons) -> interval`, at least as tight as the one in `relaxed.intervals`."""


def relax_network(
    program: Program,
    region: Region,
    target: str,
    tighten: Tighten | None,
    rounding: Rounding,
    budget: Budget,
    known: Mapping[str, Interval] | None = None,
) -> Relaxed:
    """Relaxes all that `target` depends on over `region`, whose tensors are (batch, *graph.input_shape) in the program's dtype.

    Without a strategy to `tighten` them, interval bounds stay as they are. `known` are intervals of some nodes, (batch, *shape), that
    may be assumed: of a part of the region where neurons lie on one side of a split.
    """
    graph, region = program.graph, region.simplest
    alive = graph.ancestors(target)
    readers = {name: [n for n in nodes if n.name in alive] for name, nodes in graph.consumers().items()}
    relaxed = Relaxed(program, region, rounding, budget, tuple(node for node in graph.nodes if node.name in alive), readers)
    if isinstance(region, LpBall):
        relaxed = replace(relaxed, ball=BallImages(region, rounding))
    shapes = {node.name: node.shape for node in relaxed.order}
    exact = exact_intervals(graph) if relaxed.ball is None else set()
    for node in relaxed.order:
        if not node.shape:
            raise GraphError(f"{node}: bounds need at least one axis; keep one (keepdims, or a reshape to [1])")
        if node.op == INPUT:
            box = region.box
            relaxed.intervals[node.name] = (box.lower, box.upper)
            if relaxed.ball is not None:
                relaxed.ball.start(node.name)
        else:
            _relax_node(relaxed, node, [shapes[name] for name in node.inputs])
        if known and node.name in known:
            relaxed.intervals[node.name] = intersection(relaxed.intervals[node.name], known[node.name])
        if tighten is None or budget.spent or node.name in exact:
            continue
        mask = affine_mask(relaxed, node) if is_affine(relaxed, node.name) else worth_tightening(relaxed, node)
        if mask is not None:
            relaxed.intervals[node.name] = tighten(relaxed, node, mask)
    return relaxed


def is_affine(relaxed: Relaxed, name: str) -> bool:
    """Whether the node is an affine function of a ball, and so has exact bounds in every method."""
    return relaxed.ball is not None and name in relaxed.ball.affine


def affine_mask(relaxed: Relaxed, node: Node) -> Tensor | None:
    """The elements of an affine function of a ball whose interval is not exact yet, if somebody else than such a function reads it."""
    assert relaxed.ball is not None
    loose = relaxed.ball.loose.get(node.name)
    outside = any(
        not OPS[reader.op].affine or any(name not in relaxed.ball.affine for name in reader.inputs)
        for reader in relaxed.readers[node.name]
    )
    return loose if outside else None


def _relax_node(relaxed: Relaxed, node: Node, shapes: Sequence[Shape]) -> None:
    rule, params = OPS[node.op], relaxed.program.params(node)
    inputs = [relaxed.intervals[name] for name in node.inputs]
    if isinstance(rule, Affine):
        over_ball = None if relaxed.ball is None else relaxed.ball.interval(rule, node, params, inputs)
        interval, scale = over_ball or affine_interval(rule, node, params, inputs, relaxed.rounding)
        constant = rule.constant(node, params)
        constant = None if constant is None else constant.to(interval[0])
        affine = AffineStep(rule, node, params, shapes, constant, _allowance(relaxed, node, scale))
        relaxed.steps.plan(node.name, lambda: affine)
    else:
        l, u = inputs[0]
        refuse_outside_domain(rule, node, params, l, u)
        interval = rule.interval(l, u, node, params)

        def drawn() -> NonlinearStep:
            relaxation = rule.relax(l, u, node, params)
            scale = relaxation.scale(largest_magnitude(l, u)) if relaxed.rounding.active else None
            return NonlinearStep(relaxation, _allowance(relaxed, node, scale))

        relaxed.steps.plan(node.name, drawn)
    relaxed.intervals[node.name] = interval


def _allowance(relaxed: Relaxed, node: Node, scale: Tensor | None) -> Allowance | None:
    """What rows lose at the node, the rounding included with which they are added to what other readers of its inputs ask for."""
    if scale is None:
        return None
    inputs = [relaxed.intervals[name] for name in node.inputs]
    terms = largest_sum(node, inputs) + max(len(relaxed.readers[name]) for name in node.inputs)
    least = underflow([largest_magnitude(l, u) for l, u in inputs])
    return Allowance(relaxed.rounding.gamma(terms, relaxed.program.dtype), scale.detach(), least)


def refuse_outside_domain(rule: object, node: Node, params: Params, l: Tensor, u: Tensor) -> None:
    """A `GraphError` where the operator is not defined on all of [l, u]."""
    domain = getattr(rule, "domain", None)
    if domain is None:
        return
    inside = domain(l, u, node, params)
    if not bool(inside.all()):
        where = tuple(int(i) for i in (~inside).nonzero()[0])
        raise GraphError(
            f"{node}: its input may lie in [{float(l[where]):g}, {float(u[where]):g}], where {node.op} is not defined everywhere; "
            "use a smaller input set or a tighter method"
        )


def worth_tightening(relaxed: Relaxed, node: Node) -> Tensor | None:
    """The neurons of `node` whose interval decides the lines of a nonlinear reader, (batch, *shape); None where there are none."""
    l, u = relaxed.intervals[node.name]
    mask = None
    for reader in relaxed.readers[node.name]:
        rule = OPS[reader.op]
        if not rule.affine:
            useful = ~rule.linear(l, u, reader, relaxed.program.params(reader))
            mask = useful if mask is None else mask | useful
    if mask is None:
        return None
    mask = mask & (l < u)
    return mask if bool(mask.any()) else None


def exact_intervals(graph: Graph) -> set[str]:
    """Nodes whose interval over a box is attained in every element: affine maps of coordinates that vary independently, and functions of
    one such element each."""
    independent, exact = {graph.input}, {graph.input}
    for node in graph.nodes:
        if len(node.inputs) != 1:
            continue
        rule, of = OPS[node.op], node.inputs[0]
        moves = isinstance(rule, Affine) and rule.picked is not None  # each element reads one
        if (of in independent and rule.affine) or (of in exact and (moves or rule.separable)):
            exact.add(node.name)
        if of in independent and rule.separable:
            independent.add(node.name)
    return exact


def refuse_nan(intervals: Mapping[str, Interval]) -> None:
    """A ValueError naming the first node whose bounds are NaN."""
    for name, (l, u) in intervals.items():
        # A sum with a NaN is NaN, and costs one pass; so is inf - inf, and then the entries are looked at themselves.
        if bool(torch.isnan(l.detach().sum() + u.detach().sum())) and bool(torch.isnan(l).any() | torch.isnan(u).any()):
            raise ValueError(
                f"the bounds of node {name} are NaN: its values overflow on this input set; use float64 or a smaller set"
            )
