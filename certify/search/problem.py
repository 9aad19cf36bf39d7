"""A specification laid out as tables: its atoms as rows over outputs and inputs, each distinct row once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certify.specification import Rows, Specification, rows
from certify.specification.atoms import Atom


@dataclass(frozen=True)
class Table:
    """For every atom of every clause: its clause, the input set it is about, its row in `directions`, right-hand side, strictness.

    A clause is excluded when, for one of its atoms, the row's lower bound over the set exceeds the right-hand side (or equals it,
    where the atom is strict): the guarantee of `Rows`.
    """

    directions: Rows
    clause: NDArray[np.intp]
    region: NDArray[np.intp]
    direction: NDArray[np.intp]
    rhs: NDArray[np.float64]
    strict: NDArray[np.bool_]
    clauses: int

    def of_clauses(self, open_: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Numbers of the atoms that belong to some clauses."""
        return np.flatnonzero(open_[self.clause])

    def excluded(self, atoms: NDArray[np.intp], lower: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which atoms hold nowhere, given lower bounds of their left sides: (len(atoms),)."""
        return np.asarray((lower > self.rhs[atoms]) | (self.strict[atoms] & (lower >= self.rhs[atoms])))


def tabulate(spec: Specification) -> Table:
    """The table of a bound specification."""
    atoms = [(k, clause.region, atom) for k, clause in enumerate(spec.clauses) for atom in clause.atoms]
    number: dict[tuple[object, object], int] = {}
    direction = [number.setdefault((atom.outputs, atom.inputs), len(number)) for _, _, atom in atoms]
    distinct: list[Atom] = [None] * len(number)  # type: ignore[list-item]
    for (_, _, atom), index in zip(atoms, direction, strict=True):
        distinct[index] = atom
    ends = rows([Atom((), (), atom.rhs, atom.strict) for _, _, atom in atoms], 0, 0)
    return Table(
        rows(distinct, spec.outputs, spec.inputs.size),
        np.array([k for k, _, _ in atoms], dtype=np.intp),
        np.array([region for _, region, _ in atoms], dtype=np.intp),
        np.array(direction, dtype=np.intp),
        ends.rhs,
        ends.strict,
        len(spec.clauses),
    )
