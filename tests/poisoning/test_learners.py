"""What a learner must be, and what its classifiers must answer: a score for every class, or the call is refused with the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from certify.poisoning import DeepPartitionAggregation, TorchLearner, votes_from_scores
from certify.poisoning.learner import Job
from certify.poisoning.named_learners import learner_by_name
from certify.poisoning.torch_learner import TorchLearner as Networks

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((60, 4)), np.arange(60) % 3


@dataclass(frozen=True)
class Answers:
    """A learner whose classifiers give these scores to every input."""

    shape: tuple[int, ...]
    kind: str = "f8"
    block: int = 8

    def spec(self) -> dict[str, Any]:
        return {"learner": "answers"}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[int]:
        return [0 for _ in jobs]

    def scores(self, models: Sequence[int], X: Any) -> np.ndarray:
        sizes = {"models": len(models), "inputs": len(X)}
        return np.zeros([sizes.get(name, name) for name in self.shape], self.kind)  # type: ignore[call-overload]

    def dump(self, model: int) -> bytes:
        return b"model"

    def load(self, content: bytes) -> int:
        return 0


def fitted(estimator: Any) -> np.ndarray:
    return DeepPartitionAggregation(estimator, k=4, classes=range(3)).fit(X, Y).predict(X)


class Unsure(ClassifierMixin, BaseEstimator):
    """Predicts a class that there is not."""

    def fit(self, X: Any, y: Any) -> Unsure:
        return self

    def predict(self, X: Any) -> np.ndarray:
        return np.full(len(X), 17)


def network(classes: int = 3, *layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Linear(4, classes))


class Pair(nn.Module):
    """Returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x), x


class Branches(nn.Module):
    """Looks at the values of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if x.sum() > 0 else self.inner(-x)


def one_score() -> nn.Module:
    return network(1)


def four_scores() -> nn.Module:
    return network(4)


def statistics() -> nn.Module:
    return network(3, nn.BatchNorm1d(4))


def dropping() -> nn.Module:
    return network(3, nn.Dropout(0.1))


def other_inputs() -> nn.Module:
    return nn.Linear(5, 3)


def words() -> Any:
    return "module"


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (Answers(("models", "inputs", 1)), r"it must give numbers \[4, 60, 3\]"),  # would be taken for all classes
        (Answers(("models", "inputs", 4)), "it must give numbers"),
        (Answers(("models", "inputs")), "it must give numbers"),
        (Answers(("models", 1, 3)), "it must give numbers"),
        (Answers(("models", "inputs", 3), "U1"), "it must give numbers"),
        (LinearRegression(), "is a regressor, .* use MedianAggregation"),
        (make_pipeline(StandardScaler(), LinearRegression()), "is a regressor"),
        (KMeans, "is the class KMeans"),
        (StandardScaler(), "predicts nothing"),
        (object(), "neither an estimator of scikit-learn nor a learner"),
        (Unsure(), "predicts 17, which is no class"),
        (network(), r"give TorchLearner\(factory\)"),
        (nn.Linear, "is the class Linear"),
        (TorchLearner(one_score, steps=2), r"returns \(2, 1\) for 2 samples; it must return a score for each of 3 classes"),
        (TorchLearner(four_scores, steps=2), "a score for each of 3 classes"),
        (TorchLearner(Pair, steps=2), "returns tuple for 2 samples"),
        (TorchLearner(statistics, steps=2), "GroupNorm instead of BatchNorm"),
        (TorchLearner(dropping, steps=2), "without dropout"),
        (TorchLearner(other_inputs, steps=2), r"cannot take samples of shape \[4\]"),
        (TorchLearner(Branches, steps=2), "many copies of the network cannot be trained at once"),
        (TorchLearner(words, steps=2), "must return a torch module, got str"),
    ],
)
def test_learners_that_do_not_answer_with_classes_are_refused(estimator: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fitted(estimator)


@pytest.mark.parametrize("classes", [[0], [1, 1], []])
def test_one_class_is_nothing_to_vote_on(classes: list[int]) -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        DeepPartitionAggregation(TorchLearner(network, steps=2), k=4, classes=classes).fit(X, np.zeros(60, int))
    with pytest.raises(ValueError, match="at least two classes"):
        votes_from_scores(np.zeros((3, 5, 1)))


def test_a_function_that_makes_modules_is_a_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynet.py").write_text("from torch import nn\ndef small():\n    return nn.Linear(4, 3)\nvalue = 3\n")
    monkeypatch.chdir(tmp_path)
    learner = learner_by_name("mynet:small", (4,), 3)
    assert isinstance(learner, Networks)
    assert learner.scores([dict(learner.factory().state_dict())], X).shape == (1, 60, 3)
    for name in ("mynet:value", "mynet:nothing", "nowhere:small"):
        with pytest.raises(ValueError, match=name):
            learner_by_name(name, (4,), 3)
