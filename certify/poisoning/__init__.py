"""Certificates against poisoned training data, by voting of classifiers that each see little of it. Names are imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Certificate": "certificate",
    "DeepPartitionAggregation": "estimators",
    "DualRidgeLearner": "linear_learner",
    "FiniteAggregation": "estimators",
    "FolderStore": "store",
    "GlobalPreprocessingError": "preprocessing",
    "MedianAggregation": "regressors",
    "RidgeLearner": "linear_learner",
    "TorchLearner": "torch_learner",
    "Votes": "votes",
    "certify_pipeline": "estimators",
    "certify_votes": "certificate",
    "check_isolation": "isolation",
    "disjoint": "spread",
    "finite": "spread",
    "overlapping": "spread",
    "proved_votes": "evasion",
    "votes_from_scores": "votes",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
