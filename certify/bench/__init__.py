"""Batches of verification problems: instance lists, processes under limits, and the order in which they run."""
