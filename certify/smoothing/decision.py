"""A decision, certified at this radius or not, and the sequential test behind it, which anybody can set up again from its record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from certify.smoothing.exact import float_down, float_up
from certify.smoothing.normal import cdf_down, cdf_up
from certify.smoothing.sequential import RULES, Rule
from certify.smoothing.sequential_dual import DualBetting

VERDICTS = {1: "yes", -1: "no", 0: "undecided"}
Enclosure = tuple[float, float]


@dataclass(frozen=True)
class RadiusTest:
    """The question of a run and how it is decided: an l_2 `radius`, the rule, its error probabilities and its most samples.

    scales and slacks belong to the noise of each part, as in a certificate.
    """

    radius: float
    variant: str
    rule: str
    alpha: Fraction
    beta: Fraction
    budget: int
    scales: tuple[float, ...]
    slacks: tuple[float, ...]

    def stopping_rule(self) -> Rule:
        """The rule, its threshold enclosed and moved by what the noise may be off; a ValueError where the test makes no sense."""
        if not 0 <= self.radius < math.inf:
            raise ValueError(f"a radius cannot be negative or infinite, got {self.radius}")
        if self.variant not in TESTS:
            raise ValueError(f"sequential tests are for the variants {' and '.join(TESTS)}; this classifier has {self.variant!r}")
        return TESTS[self.variant](self)


@dataclass(frozen=True)
class Decision:
    """`verdict`: "yes" (certified at the radius), "no" or "undecided", from the hits of each part in n samples.

    A wrong yes has probability at most alpha, a wrong no ("it would be certified, given all probabilities") at most beta. `drawn`
    counts the evaluations of all networks, those that chose the label included.
    """

    verdict: str
    label: int
    hits: tuple[int, ...]
    n: int
    drawn: int
    test: RadiusTest
    arithmetic: str
    dimension: int
    seed: int
    index: int

    @property
    def radius(self) -> float:
        """The radius that was asked about."""
        return self.test.radius

    def recomputed(self) -> str:
        """The verdict that follows from hits and n, calculated again."""
        hits = np.array(self.hits)[:, None]
        verdict = VERDICTS[int(self.test.stopping_rule().verdicts(hits, np.array([self.n]))[0])]
        return verdict if verdict != "undecided" or self.n >= self.test.budget else "undecided before the budget was spent"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, those of the test among them; alpha and beta as exact fractions."""
        plain = asdict(self)
        test = plain.pop("test")
        return plain | test | {"alpha": str(self.test.alpha), "beta": str(self.test.beta)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Decision:
        """The decision of `to_dict`; other fields of the record are ignored, a missing one is a ValueError."""
        try:
            values = {name: _tuple(record[name]) for name in Decision.__dataclass_fields__ if name != "test"}
            test = {name: _tuple(record[name]) for name in RadiusTest.__dataclass_fields__}
        except KeyError as error:
            raise ValueError(f"decision record: field {error} is missing") from None
        errors = {name: Fraction(test[name]) for name in ("alpha", "beta")}
        return Decision(**values, test=RadiusTest(**test | errors))


def _single(test: RadiusTest) -> Rule:
    """p > Phi(radius / sigma)."""
    if test.rule not in RULES:
        raise ValueError(f"no stopping rule is called {test.rule!r}; there are {', '.join(RULES)}")
    z = Fraction(test.radius) / Fraction(test.scales[0])
    up, down = (
        cdf_up(np.nextafter(float_up(z), np.inf)) + test.slacks[0],
        cdf_down(np.nextafter(float_down(z), -np.inf)) - test.slacks[0],
    )
    return RULES[test.rule](
        np.nextafter(up, 2.0), np.nextafter(down, -1.0), float_down(test.alpha), float_down(test.beta), test.budget
    )


def _dual(test: RadiusTest) -> Rule:
    """Phi^-1(p_l) + Phi^-1(p_r) > radius sqrt(1/s_l^2 + 1/s_r^2), which is `radius.dual` turned around."""
    if test.rule != "betting":
        raise ValueError(f"dual smoothing is tested by the rule 'betting', not {test.rule!r}")
    low, high = _root(Fraction(test.radius) ** 2 * sum(1 / Fraction(s) ** 2 for s in test.scales))
    left, right = test.slacks
    return DualBetting(high, low, (left, right), float_down(test.alpha), float_down(test.beta), test.budget)


TESTS: Mapping[str, Callable[[RadiusTest], Rule]] = {"pa": _single, "dual": _dual}


def _root(square: Fraction) -> Enclosure:
    """Floats that enclose the square root: that of a float is rounded correctly."""
    return max(0.0, math.nextafter(math.sqrt(float_down(square)), -math.inf)), math.nextafter(math.sqrt(float_up(square)), math.inf)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
