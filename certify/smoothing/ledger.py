"""Who has spent which error probability: one ledger per run, so that claims about the whole run can be stated and are true."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from scipy.stats import binom


@dataclass
class Ledger:
    """The error probabilities of a run: `alpha` for each input, once.

    To certify an input twice and keep the better answer would exceed its alpha: the second claim is refused.
    """

    alpha: Fraction
    _claimed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must lie strictly between 0 and 1, got {float(self.alpha)}")

    def claim(self, index: int) -> Fraction:
        """The alpha of this input; a ValueError if it has been claimed before."""
        if index in self._claimed:
            raise ValueError(
                f"input {index} has been certified in this run before; a second try would double its error probability"
            )
        self._claimed.add(index)
        return self.alpha

    def enter(self, indices: Iterable[int]) -> None:
        """Books inputs that an earlier, interrupted part of the same run has certified."""
        for index in indices:
            self.claim(index)

    @property
    def inputs(self) -> int:
        """How many inputs have been certified."""
        return len(self._claimed)

    @property
    def expected_failures(self) -> float:
        """Bound on the expected number of false certificates, by linearity of expectation."""
        return float(self.inputs * self.alpha)

    def most_failures(self, rho: float = 0.001) -> int:
        """A number that false certificates exceed with probability at most `rho`, as noise is independent between inputs."""
        return int(binom.isf(rho, self.inputs, float(self.alpha))) if self.inputs else 0

    def summary(self, rho: float = 0.001) -> dict[str, object]:
        """The ledger as plain values."""
        return {
            "alpha_per_input": str(self.alpha),
            "inputs": self.inputs,
            "expected_false_certificates_at_most": self.expected_failures,
            f"false_certificates_at_most_with_probability_{1 - rho:g}": self.most_failures(rho),
        }
