"""Functions of one element: interval rules and linear relaxations, derived from facts about each function."""

from certify.operators.elementwise.table import ELEMENTWISE

__all__ = ["ELEMENTWISE"]
