"""Transformers applied to all data before the buckets are made: where certificates are lost without anybody noticing.

A scaler fitted on the whole training set carries one poisoned sample into every bucket. What was fitted is therefore refused,
unless the user declares that it never saw data which an adversary could poison; that declaration is then part of the certificate.
"""

from __future__ import annotations

from typing import Any


class GlobalPreprocessingError(ValueError):
    """A transformer in front of the buckets that may have been fitted on training data."""


def check_global(transform: Any, trusted: bool) -> None:
    """Raises `GlobalPreprocessingError` for a transformer that learns from data, unless it is trusted; functions learn nothing."""
    if transform is not None and learns(transform) and not trusted:
        raise GlobalPreprocessingError(
            f"{type(transform).__name__} learns from data: fitted on the training set it lets one poisoned sample reach every "
            "classifier and voids the certificate; put it into the base estimator's pipeline, or declare it trusted if it saw "
            "other data only"
        )


def learns(transform: Any) -> bool:
    """Whether a transformer has to be fitted, as scikit-learn's tags tell; a plain function has not."""
    from sklearn.utils import get_tags

    return hasattr(transform, "fit") and bool(get_tags(transform).requires_fit)


def applied(transform: Any, X: Any) -> Any:
    """X after a transformer or a function; X itself where there is none."""
    if transform is None:
        return X
    return transform.transform(X) if hasattr(transform, "transform") else transform(X)


def named(transform: Any, trusted: bool) -> tuple[str, ...]:
    """The assumption that a trusted transformer adds to a certificate."""
    if transform is None or not learns(transform) or not trusted:
        return ()
    return (f"{type(transform).__name__}, applied to all data, was declared trusted: no poisoned sample had a part in it",)
