"""Certificates against poisoned training data, by voting of classifiers that each see little of it."""
