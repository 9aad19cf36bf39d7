"""What was certified, against what, and under which assumptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from certify.poisoning.attack import Attack, find_attack
from certify.poisoning.collective import most_changed
from certify.poisoning.spread import Spread
from certify.poisoning.threats import Threat, assumptions, threat
from certify.poisoning.tighten import tightened_radii
from certify.poisoning.votes import RULES, Votes

SCHEMA = "certify.poison/1"


@dataclass(frozen=True)
class Certificate:
    """For every input: its answer stays the same after any `radii[i]` edits of the kind `threat` to the training data.

    `radii` counts edits and `bucket_radii` buckets; -1 means that nothing is certified, not even the answer on the data as they
    are. `labels` are the true classes where they are known: then wrong answers count as not certified in every figure.
    """

    rule: str
    threat_name: str
    threat: Threat
    spread: Spread
    votes: Votes
    winners: np.ndarray
    bucket_radii: np.ndarray
    assumptions: tuple[str, ...]
    labels: np.ndarray | None = None

    @property
    def radii(self) -> np.ndarray:
        """Edits that cannot change the answer, (inputs,)."""
        return np.where(self.bucket_radii < 0, -1, self.bucket_radii // self.threat.buckets)

    @property
    def correct_radii(self) -> np.ndarray:
        """The same, with -1 where the answer is wrong."""
        return self.radii if self.labels is None else np.where(self.winners == self.labels, self.radii, -1)

    def certified_accuracy(self, edits: Sequence[int]) -> np.ndarray:
        """The share of inputs that are right and stay right after so many edits; without labels, the share that stays the same."""
        return np.array([float((self.correct_radii >= size).mean()) for size in edits])

    def clean_accuracy(self) -> float | None:
        """The share of right answers; None without labels."""
        return None if self.labels is None else float((self.winners == self.labels).mean())

    def median_radius(self) -> int:
        """The largest number of edits at which at least half of the inputs are right and certified; -1 if there is none.

        Published scripts print the number of sizes, from 0 on, that keep half: one more than this.
        """
        ordered = np.sort(self.correct_radii)[::-1]
        return int(ordered[(len(ordered) - 1) // 2]) if len(ordered) else -1

    def attack(self, index: int) -> Attack:
        """A concrete attack on the answer at one input, the smallest there is for plurality and disjoint buckets.

        A ValueError where no buckets change it, or there is no such input.
        """
        if not 0 <= index < len(self.winners):
            raise ValueError(f"there is no input {index}; inputs go from 0 to {len(self.winners) - 1}")
        found = find_attack(self.votes, self.spread, self.rule, index)
        if found is None:
            raise ValueError(f"no set of buckets changes the answer at input {index}")
        return found

    def assuming(self, *more: str) -> Certificate:
        """The same certificate with more said about what it covers."""
        return replace(self, assumptions=(*self.assumptions, *more))

    def tightened(
        self,
        edits: Sequence[int] | None = None,
        inputs: Sequence[int] | np.ndarray | None = None,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> Certificate:
        """The certificate with larger radii where linear programs prove them: for overlapping buckets.

        With `edits` a radius grows only to decide about these numbers of edits, which takes fewer programs; `progress` counts
        inputs.
        """
        sizes = None if edits is None else [size * self.threat.buckets for size in edits]
        chosen = range(len(self.winners)) if inputs is None else inputs
        radii = tightened_radii(self.votes, self.spread, self.rule, self.bucket_radii, chosen, sizes, progress)
        return replace(self, bucket_radii=radii)

    def collective_accuracy(self, edits: int, progress: Callable[[int], None] = lambda steps: None) -> float:
        """A lower limit of the accuracy on all inputs together after the same so many edits for all; exact for one bucket."""
        if self.labels is None:
            raise ValueError("a collective accuracy needs labels")
        size = edits * self.threat.buckets
        right = (self.winners == self.labels) & (self.bucket_radii >= 0)
        fragile = np.flatnonzero(right & (self.bucket_radii < size))
        return (int(right.sum()) - most_changed(self.votes, self.spread, self.rule, fragile, size, progress)) / len(self.labels)

    def record(self, edits: Sequence[int]) -> dict[str, Any]:
        """The certificate as JSON values, with the curve of certified accuracy at the given numbers of edits."""
        curve = dict(zip(map(str, edits), self.certified_accuracy(edits).tolist(), strict=True))
        return {
            "schema": SCHEMA,
            "rule": self.rule,
            "threat": {"name": self.threat_name, "edit": self.threat.edit, "buckets_per_edit": self.threat.buckets},
            "buckets": self.spread.units,
            "classifiers": self.spread.classifiers,
            "shifts": list(self.spread.shifts),
            "ties": "to the smaller class",
            "classes": self.votes.classes,
            "inputs": len(self.winners),
            "clean_accuracy": self.clean_accuracy(),
            "certified_accuracy": curve,
            "median_radius": self.median_radius(),
            "median": "largest number of edits at which at least half of the inputs are right and certified",
            "assumptions": list(self.assumptions),
            "answers": self.winners.tolist(),
            "labels": None if self.labels is None else np.asarray(self.labels).tolist(),
            "radii": self.radii.tolist(),
        }


def certify_votes(
    votes: Votes,
    spread: Spread,
    threat_name: str = "insert_delete",
    *,
    partition: str = "function",
    rule: str = "plurality",
    labels: np.ndarray | None = None,
    assumed: tuple[str, ...] = (),
) -> Certificate:
    """The certificate of votes however they came about, such as those of an ensemble trained elsewhere.

    `partition` is how samples got into buckets: "content", "rank", "pixel_sum", "groups", or "function" for one of the user's own,
    which is assumed to look at the sample alone. `labels` are class numbers, one per input; `assumed` is recorded beside what every
    certificate assumes. A ValueError where votes and spread, or threat and partition, do not belong together.
    """
    if rule not in RULES:
        raise ValueError(f"no rule is called {rule!r}; there are {', '.join(RULES)}")
    if labels is not None and len(labels) != votes.ballots.shape[1]:
        raise ValueError(f"{len(labels)} labels for votes on {votes.ballots.shape[1]} inputs")
    kind, votes = threat(threat_name, partition), votes.aligned(spread)
    found = RULES[rule](votes, spread)
    answers = found.winners if votes.answers is None else np.where(found.radii < 0, votes.answers, found.winners)
    everything = assumptions(partition) + assumed
    return Certificate(rule, threat_name, kind, spread, votes, answers, found.radii, everything, labels)
