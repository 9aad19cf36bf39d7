"""Base learners by name, for the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from certify.poisoning.learner import Learner, classifier_learner


def mlp_network(features: int, classes: int) -> Any:
    """A network with one hidden layer of 32 neurons."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, classes))


def _logistic(shape: tuple[int, ...], classes: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))


def _tree(shape: tuple[int, ...], classes: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier()


def _forest(shape: tuple[int, ...], classes: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(50)


def _ridge(shape: tuple[int, ...], classes: int) -> Any:
    from certify.poisoning.linear_learner import RidgeLearner

    return RidgeLearner()


def _mlp(shape: tuple[int, ...], classes: int) -> Any:
    from certify.poisoning.torch_learner import TorchLearner

    return TorchLearner(partial(mlp_network, prod(shape), classes))


LEARNERS: Mapping[str, Callable[[tuple[int, ...], int], Any]] = {
    "logistic": _logistic,
    "tree": _tree,
    "forest": _forest,
    "ridge": _ridge,
    "mlp": _mlp,
}


def learner_by_name(name: str, shape: tuple[int, ...], classes: int, n_jobs: int | None = None) -> Learner:
    """The learner of a name in `LEARNERS`, or what `PACKAGE.MODULE:FUNCTION` returns: an estimator of scikit-learn, a `Learner`, or a
    torch module with a score for every class, which is then trained as `TorchLearner` does by default.

    A function is called without arguments; modules are also looked for in the current folder.
    """
    made = LEARNERS[name](shape, classes) if name in LEARNERS else _made_by(_function(name), name)
    return classifier_learner(made, n_jobs)


def _made_by(function: Callable[[], Any], name: str) -> Any:
    """What a user's function returns; the function itself as the factory of a `TorchLearner` where that is a module."""
    try:
        made = function()
    except TypeError as error:
        raise ValueError(f"learner {name!r}: {error}; the function is called without arguments") from error
    if not hasattr(made, "named_modules"):
        return made
    from certify.poisoning.torch_learner import TorchLearner

    return TorchLearner(function)


def _function(name: str) -> Callable[[], Any]:
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(f"no learner is called {name!r}; there are {', '.join(LEARNERS)}, or say PACKAGE.MODULE:FUNCTION")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise ValueError(f"learner {name!r}: {function} is no function")
        return found
    except (ImportError, AttributeError) as error:
        raise ValueError(f"learner {name!r}: {error}") from error
