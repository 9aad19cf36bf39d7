"""What is asked about a network: is there an input in a set whose output satisfies a condition?

A `Specification` is a disjunction of clauses, each one input set and a conjunction of linear atoms over outputs (and inputs). It
describes the *unsafe* behaviour: `unsat` means that no clause can be satisfied. Numbers are exact rationals: nothing is rounded
before a verdict depends on it, and then outward.
"""

from certify.specification.atoms import Atom, Rows, atom, rows
from certify.specification.exact import Rationals
from certify.specification.inputs import Ball, Boxes
from certify.specification.robustness import Robustness, rational, robust
from certify.specification.simplify import Simplified, simplify
from certify.specification.specification import Clause, Declaration, Specification, Tensor, flat_declaration

__all__ = [
    "Atom",
    "Ball",
    "Boxes",
    "Clause",
    "Declaration",
    "Rationals",
    "Robustness",
    "Rows",
    "Simplified",
    "Specification",
    "Tensor",
    "atom",
    "flat_declaration",
    "rational",
    "robust",
    "rows",
    "simplify",
]
