"""What a base learner must be, and the scikit-learn estimators as one."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from types import CodeType
from typing import Any, Protocol

import numpy as np

UNSEEN = -np.inf
"""Score of a class that a classifier has never seen."""


@dataclass(frozen=True)
class Job:
    """What one base classifier is a function of: its number, its seed and its own buckets, each with its samples in canonical
    order.

    `buckets` pairs the number of a bucket with the indices of its samples; the number serves to recognise a bucket that another
    job of the same call has too.
    """

    classifier: int
    seed: int
    buckets: tuple[tuple[int, np.ndarray], ...]

    @property
    def samples(self) -> np.ndarray:
        """Indices of all samples, bucket after bucket."""
        return np.concatenate([index for _, index in self.buckets])


class Learner(Protocol):
    """Trains base classifiers. `fit` must make each model a function of its own job and of nothing else, bit for bit.

    `block` is the number of jobs it likes to be given at a time; what was trained is stored after every block.
    """

    @property
    def block(self) -> int:
        """Jobs per call of `fit`."""

    def spec(self) -> dict[str, Any]:
        """Everything that determines a model beside its job, as JSON values: it names the model in the store."""

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[Any]:
        """One model per job. X and y (class numbers, or numbers to regress on, then `classes` is 1) are the whole training set, of
        which a job may read its own samples only.
        """

    def scores(self, models: Sequence[Any], X: Any) -> np.ndarray:
        """Scores of the classes, (models, inputs, classes), the larger the better; finite, or `UNSEEN`. Regressors have one."""

    def dump(self, model: Any) -> bytes:
        """A model as bytes."""

    def load(self, content: bytes) -> Any:
        """The model that `dump` wrote."""


@dataclass(frozen=True)
class SklearnModel:
    """A fitted estimator, the numbers of the classes it has seen, and how many there are in all."""

    estimator: Any
    seen: np.ndarray
    classes: int


@dataclass(frozen=True)
class SklearnLearner:
    """Any scikit-learn classifier or pipeline, cloned for every bucket set and trained in `n_jobs` processes of one BLAS thread
    each.

    Every `random_state` inside it is set to the classifier's seed and every `n_jobs` to 1. Images are flattened.
    """

    estimator: Any
    n_jobs: int | None = field(default=None, compare=False)
    block: int = 64

    def spec(self) -> dict[str, Any]:
        """The estimator with all its parameters, and the versions of what computes."""
        import sklearn

        return {"learner": "scikit-learn", "estimator": describe(self.estimator), "versions": [sklearn.__version__, np.__version__]}

    def fit(self, X: Any, y: np.ndarray, classes: int, jobs: Sequence[Job]) -> list[SklearnModel]:
        """One fitted clone per job."""
        from joblib import Parallel, delayed

        tasks = (delayed(_fit)(self.estimator, rows_of_samples(X[job.samples]), y[job.samples], classes, job) for job in jobs)
        return Parallel(n_jobs=self.n_jobs)(tasks)

    def scores(self, models: Sequence[SklearnModel], X: Any) -> np.ndarray:
        """Decision values, else probabilities, else 1 for the predicted class and 0 for the others."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return np.stack([_scores(model, rows_of_samples(X)) for model in models])

    def dump(self, model: SklearnModel) -> bytes:
        """The pickled model."""
        return pickle.dumps(model, protocol=5)

    def load(self, content: bytes) -> SklearnModel:
        """Unpickles a model of our own store."""
        return pickle.loads(content)


def classifier_learner(estimator: Any, n_jobs: int | None = None) -> Learner:
    """An estimator of scikit-learn that classifies, or a learner as it is; a ValueError for anything else, with the way out."""
    if isinstance(estimator, type):
        raise ValueError(f"the learner is the class {estimator.__name__}: give one of its objects, with its settings")
    if hasattr(estimator, "spec"):
        return estimator
    if hasattr(estimator, "named_modules"):
        raise ValueError(
            f"{type(estimator).__name__} is one torch module, and every classifier needs a new one: give TorchLearner(factory), where "
            "factory() makes the module"
        )
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise ValueError(f"{type(estimator).__name__} is neither an estimator of scikit-learn nor a learner such as TorchLearner")
    if not (hasattr(estimator, "predict") or hasattr(estimator, "decision_function")):
        raise ValueError(f"{type(estimator).__name__} predicts nothing: votes need a classifier")
    if is_regressor(estimator):
        raise ValueError(f"{type(estimator).__name__} is a regressor, whose numbers are no classes; use MedianAggregation")
    return SklearnLearner(estimator, n_jobs)


def is_regressor(estimator: Any) -> bool:
    """Whether an estimator of scikit-learn says that it regresses."""
    from sklearn.base import is_regressor as regresses

    return bool(regresses(estimator))


def describe(value: Any) -> Any:
    """An estimator, a function or a parameter as JSON values that name it: classes by full name, functions with their code.

    A ValueError for what prints as a memory address only, which names nothing.
    """
    for kind, description in _DESCRIPTIONS:
        if kind(value):
            return description(value)
    text = repr(value)
    if " at 0x" in text:
        raise ValueError(f"{text} cannot be named for the store; give its class a __repr__ that shows its settings")
    return text


def _describe_estimator(value: Any) -> Any:
    parameters = {name: describe(entry) for name, entry in sorted(value.get_params(deep=False).items())}
    return {"class": f"{type(value).__module__}.{type(value).__qualname__}", "parameters": parameters}


def _describe_function(value: Any) -> Any:
    return {"function": f"{value.__module__}.{value.__qualname__}", "code": _code_digest(value.__code__)}


def _describe_partial(value: Any) -> Any:
    return {"partial": describe(value.func), "arguments": describe(value.args), "keywords": describe(value.keywords)}


def _code_digest(code: CodeType) -> str:
    """What a function computes, without where it stands: two functions of one name must not share models."""
    constants = [_code_digest(entry) if isinstance(entry, CodeType) else repr(entry) for entry in code.co_consts]
    return blake2b(code.co_code + repr((constants, code.co_names)).encode(), digest_size=8).hexdigest()


_DESCRIPTIONS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (lambda value: value is None or isinstance(value, (bool, int, float, str)), lambda value: value),
    (lambda value: isinstance(value, type), lambda value: f"{value.__module__}.{value.__qualname__}"),
    (lambda value: hasattr(value, "get_params"), _describe_estimator),
    (lambda value: isinstance(value, (list, tuple)), lambda value: [describe(entry) for entry in value]),
    (lambda value: isinstance(value, dict), lambda value: {str(name): describe(entry) for name, entry in value.items()}),
    (lambda value: isinstance(value, np.ndarray), lambda value: {"array": value.tolist()}),
    (lambda value: isinstance(value, partial), _describe_partial),
    (lambda value: hasattr(value, "__code__"), _describe_function),
)


def rows_of_samples(X: Any) -> Any:
    """Images as rows of numbers; anything else as it is."""
    return X.reshape(len(X), -1) if getattr(X, "ndim", 1) > 2 else X


def _fit(estimator: Any, X: Any, y: np.ndarray, classes: int, job: Job) -> SklearnModel:
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    fresh = clone(estimator)
    settings = fresh.get_params(deep=True)
    fresh.set_params(
        **{name: job.seed for name in settings if name.split("__")[-1] == "random_state"},
        **{name: 1 for name, value in settings.items() if name.split("__")[-1] == "n_jobs" and value is not None},
    )
    with threadpool_limits(1):
        try:
            fresh.fit(X, y)
        except ValueError as error:
            raise ValueError(f"classifier {job.classifier} ({len(y)} samples) could not be trained: {error}") from error
    return SklearnModel(fresh, np.unique(y), classes)


def _scores(model: SklearnModel, X: Any) -> np.ndarray:
    """Scores of all classes, (inputs, classes)."""
    scores = np.full((len(X), model.classes), UNSEEN)
    for method, read in _READINGS.items():
        if hasattr(model.estimator, method):
            values = read(np.asarray(getattr(model.estimator, method)(X)), model.seen)
            if values.ndim != 2 or len(values) != len(X):
                raise ValueError(
                    f"{type(model.estimator).__name__}.{method} gives {list(values.shape)} for {len(X)} inputs; a classifier of one "
                    "label gives a row of scores to each"
                )
            if values.shape[1] == len(model.seen):  # not so for decision values of pairs of classes
                scores[:, model.seen] = values
                return scores
    raise ValueError(f"{type(model.estimator).__name__} has no predict method")


def _two_sided(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.stack([-values, values], axis=1) if values.ndim == 1 else values


def _matches(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """1 for the predicted class; a ValueError for predictions that are none of the classes in the training data."""
    matches = (values.reshape(-1, 1) == seen).astype(float)
    if values.size and not matches.any(axis=1).all():
        raise ValueError(
            f"the estimator predicts {values.flat[int(matches.any(axis=1).argmin())]}, which is no class it was trained on"
        )
    return matches


_READINGS = {
    "decision_function": _two_sided,
    "predict_proba": lambda values, seen: values,
    "predict": _matches,
}
