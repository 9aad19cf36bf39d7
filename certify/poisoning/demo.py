"""Deep Partition Aggregation, Finite Aggregation and run-offs on scikit-learn's digits: seconds, no files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from certify.io.datasets import load_data
from certify.poisoning.certificate import Certificate
from certify.poisoning.estimators import FiniteAggregation
from certify.poisoning.linear_learner import RidgeLearner
from certify.poisoning.votes import RULES


def digits_certificates(k: int = 50, spreads: tuple[int, ...] = (1, 4)) -> Iterator[tuple[str, Certificate]]:
    """Certificates against inserted and deleted samples, by name; d = 1 is Deep Partition Aggregation."""
    training, test = load_data("digits", split="train"), load_data("digits", split="test")
    for d, rule in product(spreads, RULES):
        name = ("DPA" if d == 1 else f"FA d={d}") + ("" if rule == "plurality" else " run-off")
        ensemble = FiniteAggregation(RidgeLearner(penalty=0.3), k, d, classes=range(10), rule=rule).fit(training.x, training.y)
        yield f"{name}, k={k}", ensemble.certify(test.x, test.y)
