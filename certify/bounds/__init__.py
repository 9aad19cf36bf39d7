"""Bound propagation: intervals, backward and forward linear bounds, optimised lines."""
