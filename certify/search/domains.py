"""Domains of a search over neuron splits: parts of input sets on which some neurons are known to lie on one side of a point.

Struct of arrays, one axis counting domains. A domain stores what led to it and what its children start from: its splits with their
multipliers, and the parameters of its lines. Intervals are not stored: they are those of its base with the splits written into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.bounds.interval import Interval
from certify.graph import Shape
from certify.search.evidence import Split

Intervals = Mapping[str, Interval]


@dataclass(frozen=True)
class Neurons:
    """The neurons that can be split, numbered through: those of `nodes` in order, each node's in C order."""

    nodes: tuple[str, ...]
    shapes: tuple[Shape, ...]
    first: tuple[int, ...]
    """Number of each node's first neuron; one entry more than nodes, the count of all."""

    @classmethod
    def of(cls, shapes: Mapping[str, Shape]) -> Neurons:
        """Of nodes with these shapes."""
        sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        first = torch.tensor([0, *sizes]).cumsum(0).tolist()
        return cls(tuple(shapes), tuple(shapes.values()), tuple(first))

    @property
    def spans(self) -> list[tuple[str, Shape, int, int]]:
        """Each node, its shape, its first neuron and the next node's."""
        return [(*entry, *ends) for *entry, ends in zip(self.nodes, self.shapes, pairwise(self.first), strict=True)]  # type: ignore[misc]

    def place(self, name: str) -> slice:
        """Where the neurons of a node lie."""
        number = self.nodes.index(name)
        return slice(self.first[number], self.first[number + 1])

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Values by node, (rows, *shape), side by side: (rows, neurons)."""
        return torch.cat([values[name].flatten(1) for name in self.nodes], dim=1)

    def by_node(self, flat: Tensor) -> dict[str, Tensor]:
        """The inverse of `flat`."""
        return {name: flat[:, a:b].reshape(-1, *shape) for name, shape, a, b in self.spans}

    def locate(self, number: int) -> tuple[str, int]:
        """Node and flat index in it."""
        place = next(i for i, end in enumerate(self.first[1:]) if number < end)
        return self.nodes[place], number - self.first[place]


@dataclass(frozen=True)
class Domains:
    """Some domains.

    goal        what is to be bounded on it, (n,).
    base        number of the input set and the intervals that it is a part of, (n,).
    fresh       number of splits that the base knows of, (n,).
    next        the neuron to split, (n,), where that is settled, else -1.
    bound       the best lower bound known, less the goal's threshold, (n,).
    neuron, sign, point, unit, multiplier
                the splits sign * (neuron - point) >= 0, (n, depth), sign 0 where there is none; `unit` is a natural step of the multiplier.
    weight      multipliers of the goal's conditions, (n, conditions).
    slopes      parameters of the lines, (n, parameters), in half precision.
    """

    goal: Tensor
    base: Tensor
    fresh: Tensor
    next: Tensor
    bound: Tensor
    neuron: Tensor
    sign: Tensor
    point: Tensor
    unit: Tensor
    multiplier: Tensor
    weight: Tensor
    slopes: Tensor

    @classmethod
    def roots(cls, base: Tensor, weight: Tensor, slopes: Tensor) -> Domains:
        """One domain without splits for each goal."""
        none = torch.zeros(len(weight), 0)
        return cls(
            torch.arange(len(weight)),
            base,
            torch.zeros_like(base),
            torch.full_like(base, -1),
            torch.full((len(weight),), -torch.inf),
            none.to(torch.int32),
            none.to(torch.int8),
            none.to(torch.float64),
            none,
            none,
            weight,
            slopes,
        )

    def __len__(self) -> int:
        return len(self.goal)

    @property
    def depth(self) -> Tensor:
        """Number of splits, (n,)."""
        return (self.sign != 0).sum(dim=1)

    @property
    def bytes(self) -> int:
        """Memory that they take."""
        return sum(getattr(self, f.name).nbytes for f in fields(self))

    def select(self, index: Tensor) -> Domains:
        """Some of them."""
        return Domains(*(getattr(self, f.name)[index] for f in fields(self)))

    def padded(self, depth: int) -> Domains:
        """With room for so many splits."""
        more = depth - self.neuron.shape[1]
        if not more:
            return self
        return replace(self, **{name: F.pad(getattr(self, name), (0, more)) for name in _SPLITS})

    def halved(self, neuron: Tensor, point: Tensor, unit: Tensor) -> Domains:
        """Both sides of one more split of each domain: first all those above the point, then all those below."""
        column = self.depth
        wide = self.padded(max(self.neuron.shape[1], int(column.max()) + 1) if len(self) else 0)
        row = torch.arange(len(self))
        halves = []
        for sign in (1, -1):
            new = {"neuron": neuron.int(), "sign": torch.full_like(column, sign).to(torch.int8), "point": point, "unit": unit}
            columns = {name: getattr(wide, name).clone() for name in new}
            for name, value in new.items():
                columns[name][row, column] = value.to(columns[name].dtype)
            halves.append(replace(wide, next=torch.full_like(self.next, -1), **columns))
        return joined(halves)

    def intersect(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Ends of all neurons, (n, neurons), with the splits written into them; in place."""
        row, column = (self.sign != 0).nonzero(as_tuple=True)
        where = row * lower.shape[1] + self.neuron[row, column].long()
        point, above = self.point[row, column].to(lower.dtype), self.sign[row, column] > 0
        lower.view(-1).scatter_reduce_(0, where[above], point[above], "amax")
        upper.view(-1).scatter_reduce_(0, where[~above], point[~above], "amin")
        return lower, upper

    def paths(self, neurons: Neurons) -> list[list[Split]]:
        """The splits as evidence wants them."""
        return [
            [
                (*neurons.locate(int(neuron)), float(point), int(sign))
                for neuron, point, sign in zip(*rows, strict=True)
                if int(sign)
            ]
            for rows in zip(self.neuron.tolist(), self.point.tolist(), self.sign.tolist(), strict=True)
        ]


_SPLITS = ("neuron", "sign", "point", "unit", "multiplier")


def joined(parts: Sequence[Domains]) -> Domains:
    """All domains of the parts."""
    depth = max(part.neuron.shape[1] for part in parts)
    padded = [part.padded(depth) for part in parts]
    return Domains(*(torch.cat([getattr(part, f.name) for part in padded]) for f in fields(Domains)))


class Worklist:
    """Open domains in slots of arrays that double; takes the deepest first."""

    def __init__(self, first: Domains) -> None:
        self._store = first
        self._used = torch.ones(len(first), dtype=torch.bool)

    def __len__(self) -> int:
        return int(self._used.sum())

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        return self._store.bytes

    def take(self, count: int) -> Domains:
        """Removes so many domains, the deepest, and of these those of the least bounds.

        All have to be closed, whatever the order: this one needs the least memory, and soon shows what closing a domain takes.
        """
        index = self._used.nonzero().squeeze(1)
        if len(index) > count:
            index = index[self._store.bound[index].argsort()]
            index = index[(self._store.sign[index] != 0).sum(dim=1).argsort(descending=True, stable=True)[:count]]
        self._used[index] = False
        return self._store.select(index)

    def put(self, domains: Domains) -> None:
        """Adds domains."""
        if not len(domains):
            return
        depth = max(self._store.neuron.shape[1], domains.neuron.shape[1])
        self._store, domains = self._store.padded(depth), domains.padded(depth)
        free = (~self._used).nonzero().squeeze(1)
        if len(free) < len(domains):
            grown = max(len(self._used), len(domains))
            self._store = joined([self._store, self._store.select(torch.zeros(grown, dtype=torch.int64))])
            self._used = torch.cat([self._used, torch.zeros(grown, dtype=torch.bool)])
            free = (~self._used).nonzero().squeeze(1)
        slots = free[: len(domains)]
        for f in fields(Domains):
            getattr(self._store, f.name)[slots] = getattr(domains, f.name)
        self._used[slots] = True

    def bases(self) -> Tensor:
        """Numbers of the bases in use, ascending."""
        return self._store.base[self._used].unique()

    def renumber(self, base: Tensor) -> None:
        """Gives every base a new number, base[old]."""
        self._store = replace(self._store, base=torch.where(self._used, base[self._store.base.clamp(max=len(base) - 1)], 0))

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Goal and bound of every open domain."""
        index = self._used.nonzero().squeeze(1)
        return self._store.goal[index], self._store.bound[index]
