"""Bounds of goals on domains: the network relaxed on each, lines and multipliers optimised in float32, conclusions in float64 outward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from certify.bounds.alpha import Parameters, Schedule, minimum, optimise
from certify.bounds.beta import Assumed, Multipliers, Splits
from certify.bounds.budget import Budget
from certify.bounds.relaxed import Region, Relaxed, relax_network
from certify.bounds.rounding import OUTWARD, Rounding
from certify.model import Model
from certify.operators.rows import DenseRows, Rows, UnitRows
from certify.search.domains import Domains, Neurons


@dataclass(frozen=True)
class Base:
    """Intervals of the neurons, (bases, neurons), float64, outward, each on input set `region_of[base]` of the region.

    `essential` are the ends of intervals that matter most for the bounds of domains that are parts of it, (bases, 2 neurons): the lower
    ends and then the upper ones.
    """

    region: Region
    region_of: Tensor
    lower: Tensor
    upper: Tensor
    essential: Tensor

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def bytes(self) -> int:
        """Memory that they take, the region aside."""
        return self.lower.nbytes + self.upper.nbytes + self.essential.nbytes

    def select(self, index: Tensor) -> Base:
        """Some of them."""
        return Base(self.region, self.region_of[index], self.lower[index], self.upper[index], self.essential[index])

    def plus(self, other: Base) -> Base:
        """These and then those of the other, over the same region."""
        parts = ((getattr(base, name) for base in (self, other)) for name in ("region_of", "lower", "upper", "essential"))
        return Base(self.region, *(torch.cat(list(part)) for part in parts))


@dataclass(frozen=True)
class Conditions:
    """outputs @ y (+ inputs @ x) <= rhs, as rows over the output and the input (conditions, *shape), rhs (conditions,).

    `magnitude` bounds the sum of |terms| of each, `spread` is about how much it varies over its set.
    """

    outputs: Tensor
    inputs: Tensor | None
    rhs: Tensor
    magnitude: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Goals:
    """Rows over nodes that are to exceed their thresholds (or reach them, where `strict`): (goals,). Beyond `enough` nothing more is asked.

    Of the points of an input set those matter only that satisfy some conditions: numbers of these, (goals, most), -1 where there are
    fewer, and a natural step for the multiplier of each.
    """

    rows: Mapping[str, Rows]
    threshold: Tensor
    enough: Tensor
    strict: Tensor
    conditions: Conditions
    assumed: Tensor
    unit: Tensor

    def __len__(self) -> int:
        return len(self.threshold)

    def reached(self, goal: Tensor, bound: Tensor) -> Tensor:
        """Whether bounds of goals are good enough."""
        limit = self.threshold[goal]
        return (bound > limit) | (self.strict[goal] & (bound >= limit))


@dataclass(frozen=True)
class Layout:
    """Where parameters of lines lie in `Domains.slopes`: for each (node, side) the neurons that may need one."""

    columns: Mapping[tuple[str, str], Tensor]
    sizes: Mapping[tuple[str, str], int]

    @cached_property
    def free(self) -> Mapping[str, Tensor]:
        """By node, which neurons have parameters, (elements,): see `alpha.optimise`."""
        return {
            node: torch.zeros(self.sizes[node, side], dtype=torch.bool).index_fill_(0, columns, True)
            for (node, side), columns in self.columns.items()
        }

    @classmethod
    def of(cls, parameters: Parameters, loose: Mapping[str, Tensor]) -> Layout:
        """The layout for parameters of which only those of some neurons, (elements,) a node, matter."""
        return cls(
            {key: loose[key[0]].nonzero().squeeze(1) for key in parameters}, {key: p.shape[1] for key, p in parameters.items()}
        )

    def pack(self, parameters: Parameters, rows: int) -> Tensor:
        """(rows, parameters) in half precision."""
        parts = [
            parameters[key][:, columns] if key in parameters else torch.zeros(rows, len(columns))
            for key, columns in self.columns.items()
        ]
        return torch.cat(parts, dim=1).half() if parts else torch.zeros(rows, 0).half()

    def unpack(self, packed: Tensor) -> dict[tuple[str, str], Tensor]:
        """The inverse, zero for neurons left out."""
        result = {}
        pieces = packed.float().split([len(columns) for columns in self.columns.values()], dim=1)
        for (key, columns), piece in zip(self.columns.items(), pieces, strict=True):
            result[key] = piece.new_zeros(len(piece), self.sizes[key]).index_copy_(1, columns, piece)
        return result


@dataclass(frozen=True)
class Network:
    """A model, and the neurons of it that can be split."""

    model: Model
    neurons: Neurons
    device: torch.device | str
    budget: Budget

    def relaxed(
        self, base: Base, index: Tensor, ends: tuple[Tensor, Tensor], target: str, rounding: Rounding, budget: Budget | None = None
    ) -> Relaxed:
        """The network up to `target` on the sets of bases `index`, where the neurons lie between `ends`, (sets, neurons)."""
        dtype = ends[0].dtype
        region = base.region.map(lambda t: t[base.region_of[index]].to(dtype))
        lower, upper = (self.neurons.by_node(end) for end in ends)
        known = {name: (lower[name], upper[name]) for name in self.neurons.nodes}
        program = self.model.program(dtype, self.device)
        return relax_network(program, region, target, None, rounding, budget or self.budget, known)


@dataclass(frozen=True)
class Cut:
    """Domains with the network relaxed on them, ready to be bounded: domain i is row i, on set `owner[i]` of the relaxed network."""

    relaxed: Relaxed
    start: Mapping[str, Rows]
    owner: Tensor
    inequalities: Sequence[Splits | Assumed]
    ends: tuple[Tensor, Tensor]


def cut(network: Network, base: Base, goals: Goals, domains: Domains, target: str, rounding: Rounding) -> Cut:
    """Relaxes the network on each domain, once for all that share their set: in float64 if rounding is outward, else in float32."""
    dtype = torch.float64 if rounding.active else torch.float32
    first, owner = _distinct(domains)
    index = domains.base[first]
    ends = domains.select(first).intersect(base.lower[index].to(dtype), base.upper[index].to(dtype))
    relaxed = network.relaxed(base, index, ends, target, rounding)
    start = {name: _in_dtype(rows.select(domains.goal), dtype) for name, rows in goals.rows.items()}
    inequalities: list[Splits | Assumed] = [
        *_splits(network.neurons, relaxed, domains, owner),
        *_conditions(relaxed, goals, domains),
    ]
    return Cut(relaxed, start, owner, inequalities, ends)


def _distinct(domains: Domains) -> tuple[Tensor, Tensor]:
    """The first domain of each set, and the number of the set of each domain."""
    base = domains.base
    sets, owner = base.unique(return_inverse=True)
    if len(sets) == len(base):
        return torch.arange(len(base)), torch.arange(len(base))
    if domains.neuron.shape[1]:
        key = torch.cat([base[:, None], domains.neuron * domains.sign, domains.sign, domains.point.view(torch.int64)], dim=1)
        sets, owner = key.unique(dim=0, return_inverse=True)
    first = torch.full((len(sets),), len(base)).scatter_reduce(0, owner, torch.arange(len(base)), "amin")
    return first, owner


def _in_dtype(rows: Rows, dtype: torch.dtype) -> Rows:
    if isinstance(rows, UnitRows):
        return replace(rows, sign=rows.sign.to(dtype))
    return DenseRows(rows.dense().to(dtype))


def _splits(neurons: Neurons, relaxed: Relaxed, domains: Domains, owner: Tensor) -> list[Splits]:
    """The splits of all domains, node by node."""
    dtype = relaxed.program.dtype
    row, column = (domains.sign != 0).nonzero(as_tuple=True)
    neuron = domains.neuron[row, column].long()
    found = []
    for name, shape, first, last in neurons.spans:
        here = ((neuron >= first) & (neuron < last)).nonzero().squeeze(1)
        if not len(here) or name not in relaxed.intervals:
            continue
        r, c, index = row[here], column[here], neuron[here] - first
        l, u = (end.flatten(1)[owner[r], index] for end in relaxed.intervals[name])
        sign, point, value, unit = (
            values[r, c].to(dtype) for values in (domains.sign, domains.point, domains.multiplier, domains.unit)
        )
        reach = torch.maximum(l.abs(), u.abs())
        found.append(Splits(name, shape, index, sign, point, reach, (r, c), Multipliers(r, value, unit), relaxed.rounding))
    return found


def _conditions(relaxed: Relaxed, goals: Goals, domains: Domains) -> list[Assumed]:
    """The conditions of all goals."""
    dtype, graph = relaxed.program.dtype, relaxed.program.graph
    assumed = goals.assumed[domains.goal]
    row, column = (assumed >= 0).nonzero(as_tuple=True)
    if not len(row):
        return []
    which = assumed[row, column]
    some = goals.conditions
    inputs = None if some.inputs is None else some.inputs[which].to(dtype)
    outputs, rhs, magnitude = (values[which].to(dtype) for values in (some.outputs, some.rhs, some.magnitude))
    unit = goals.unit[domains.goal][row, column].to(dtype)
    multipliers = Multipliers(row, domains.weight[row, column].to(dtype), unit)
    found = Assumed(graph.output, graph.input, outputs, inputs, rhs, magnitude, (row, column), multipliers, relaxed.rounding)
    return [found]


def improve(
    goals: Goals,
    domains: Domains,
    piece: Cut,
    schedule: Schedule,
    initial: Parameters | None,
    free: Mapping[str, Tensor] | None = None,
) -> tuple[Domains, Parameters]:
    """The domains with better multipliers and the bounds that these give in float32, less the threshold; and better lines."""
    threshold, enough = (limit[domains.goal].to(torch.float32) for limit in (goals.threshold, goals.enough))
    best = optimise(
        piece.relaxed,
        piece.start,
        piece.owner,
        schedule,
        inequalities=piece.inequalities,
        initial=initial,
        free=free,
        goal=enough,
    )
    tables = {name: getattr(domains, name).clone() for name in ("multiplier", "weight")}
    for inequality in piece.inequalities:
        tables[inequality.table][inequality.place] = inequality.multipliers.best.float()
    return replace(domains, bound=torch.maximum(domains.bound, best.bound - threshold), **tables), best.parameters


def prove(
    network: Network,
    base: Base,
    goals: Goals,
    domains: Domains,
    target: str,
    lines: Parameters,
    free: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor, Cut]:
    """Lower bounds of the goals' rows on the domains in real arithmetic, (n,) float64; which domains are proved empty; on what."""
    piece = cut(network, base, goals, domains, target, OUTWARD)
    bound, _ = minimum(
        piece.relaxed, piece.start, piece.owner, inequalities=piece.inequalities, initial=lines, free=free, forth=False
    )
    return bound, excluded(network.neurons, piece.relaxed, piece.ends)[piece.owner], piece


def excluded(neurons: Neurons, relaxed: Relaxed, ends: tuple[Tensor, Tensor]) -> Tensor:
    """Sets that hold no point: `ends` of a neuron and what follows from the ends of those before it exclude each other."""
    lower, upper = ends
    empty = torch.zeros(len(lower), dtype=torch.bool)
    for name, _, first, last in neurons.spans:
        if name in relaxed.intervals:
            l, u = (end.flatten(1) for end in relaxed.intervals[name])
            own = lower[:, first:last], upper[:, first:last]
            empty |= ((own[0] > u) | (own[1] < l) | (own[0] > own[1])).any(dim=1)
    return empty
