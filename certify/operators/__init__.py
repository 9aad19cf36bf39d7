"""Operators: evaluation, interval rules and linear relaxations, one family per file."""
