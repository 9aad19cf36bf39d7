"""A specification: the unsafe behaviour of a network, as a disjunction of clauses."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certify.specification.atoms import Atom, Rows, rows
from certify.specification.inputs import Ball, Boxes

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor as a property file declares it: its name, element type ("float32", "real", ...) and shape."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True)
class Declaration:
    """What a property file says about the network: VNN-LIB version, the network's name there, its input and its output.

    Version 1.0 declares flat variables X_i and Y_j; `network` is then empty.
    """

    version: str
    network: str
    input: Tensor
    output: Tensor


@dataclass(frozen=True)
class Clause:
    """A point x of input set number `region` whose output satisfies every atom together with x."""

    region: int
    atoms: tuple[Atom, ...]


@dataclass(frozen=True)
class Specification:
    """The unsafe behaviour: some clause is satisfied. `unsat` is the proof that none is.

    `inputs` holds the input sets that clauses refer to by number, `outputs` is the number of the network's outputs (flat), `notes`
    say what a reader of the verdict should know about the property.
    """

    inputs: Boxes | Ball
    clauses: tuple[Clause, ...]
    outputs: int
    declaration: Declaration
    notes: tuple[str, ...] = ()

    def bind(self, input_shape: Shape, output_shape: Shape) -> Specification:
        """This specification, once its sizes and declared shapes were found to fit the network's; else a ValueError."""
        for kind, size, declared, shape in (
            ("inputs", self.inputs.size, self.declaration.input, input_shape),
            ("outputs", self.outputs, self.declaration.output, output_shape),
        ):
            if size != prod(shape):
                raise ValueError(f"the property speaks of {size} {kind}, the network has {prod(shape)} (shape {list(shape)})")
            if self.declaration.version != "1.0" and not _fits(declared.shape, shape):
                raise ValueError(
                    f"the property declares {declared.name} with shape {list(declared.shape)}, the network has {list(shape)}"
                )
        return self

    def rows(self, clause: Clause) -> Rows:
        """The clause's atoms as float64 rows (see `Rows` for what they guarantee)."""
        return rows(clause.atoms, self.outputs, self.inputs.size)

    def holds(self, clause: Clause, x: NDArray[Any], y: NDArray[Any]) -> bool:
        """Whether the float points x and y = f(x) satisfy the clause: exact, in the exact input set."""
        x, y = x.ravel(), y.ravel()
        return self.inputs.contains(clause.region, x) and all(atom.holds(x, y) for atom in clause.atoms)

    def nonempty(self) -> NDArray[np.bool_]:
        """Which clauses have an input set that holds a point; the others cannot be satisfied."""
        empty = self.inputs.empty()
        return ~empty[np.fromiter((clause.region for clause in self.clauses), np.int64, len(self.clauses))]


def _fits(declared: Shape, shape: Shape) -> bool:
    """Whether the shapes agree, the network's batch axis of one being optional."""
    return declared == shape or (shape[:1] == (1,) and declared == shape[1:])


def flat_declaration(inputs: int, outputs: int) -> Declaration:
    """The declaration of a VNN-LIB 1.0 file: X_0 .. and Y_0 .., flat."""
    return Declaration("1.0", "", Tensor("X", "float32", (inputs,)), Tensor("Y", "float32", (outputs,)))
