"""From counts to a radius, and nothing else: what a third party repeats to check a certificate.

A variant says how the error probability is divided over confidence bounds and which radius formula the bounds go into. It must be
chosen before the counts are seen. `VARIANTS` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from certify.smoothing import radius
from certify.smoothing.confidence import BOUNDS, upper
from certify.smoothing.exact import float_down, float_up
from certify.smoothing.sum_vote import dual_two_sided

Counts = Sequence[int]
RadiusOf = Callable[[Sequence[float], Sequence[float], Sequence[float]], float]


@dataclass(frozen=True)
class Variant:
    """`radius` takes lower bounds p, upper bounds q and noise scales, one of each per part of the classifier.

    two_sided  q is estimated too, from the largest count among the other classes; otherwise q is 1 - p and costs nothing.
    selects    the label is the largest count of the same samples that bound p, rather than of samples of its own: alpha is halved.
    norm       the p of the radius' norm.
    """

    summary: str
    radius: RadiusOf
    parts: range
    two_sided: bool = False
    selects: bool = False
    norm: float = 2.0

    def pieces(self, parts: int) -> int:
        """Into how many equal pieces alpha is cut."""
        return parts * (1 + self.two_sided) * (1 + self.selects)


ONE, TWO, ANY = range(1, 2), range(2, 3), range(2, 1 << 10)
VARIANTS: Mapping[str, Variant] = {
    "pa": Variant("Cohen et al.: p against 1/2", lambda p, q, s: radius.gaussian(p[0], s[0]), ONE),
    "pa-pb": Variant(
        "p against the runner-up's q, alpha/2 each",
        lambda p, q, s: radius.gaussian_two_sided(p[0], q[0], s[0]),
        ONE,
        two_sided=True,
    ),
    # With A the largest count of the same n samples: for p_c <= 1/2 the tail h(p) = P_p(N >= k) is convex on [0, 1/2] with h(0) =
    # 0, so h(p) <= 2 p h(1/2); over all classes the errors add up to at most 2 h(1/2), which alpha/2 makes alpha.
    "one-sample": Variant("no selection stage, p at alpha/2", lambda p, q, s: radius.gaussian(p[0], s[0]), ONE, selects=True),
    "dual": Variant("two halves, alpha/2 each, sum of probabilities", lambda p, q, s: radius.dual(p[0], p[1], s[0], s[1]), TWO),
    "dual-pa-pb": Variant(
        "two halves, four bounds at alpha/4, sum of probabilities", lambda p, q, s: dual_two_sided(*p, *q, *s), TWO, two_sided=True
    ),
    "probit": Variant("k parts, alpha/k each, sum of probits", lambda p, q, s: radius.probit_sum(p, s), ANY),
    "probit-pa-pb": Variant(
        "k parts, 2k bounds, sum of probits", lambda p, q, s: radius.probit_sum_two_sided(p, q, s), ANY, two_sided=True
    ),
    "uniform-l1": Variant("uniform noise, l_1", lambda p, q, s: radius.uniform_l1(p[0], s[0]), ONE, norm=1.0),
    "uniform-l1-pa-pb": Variant(
        "uniform noise, l_1, alpha/2 each", lambda p, q, s: radius.uniform_l1_two_sided(p[0], q[0], s[0]), ONE, True, norm=1.0
    ),
}


@dataclass(frozen=True)
class Conclusion:
    """The bounds that hold together with probability at least 1 - alpha, and the radius that follows from them."""

    radius: float
    p_lower: tuple[float, ...]
    p_upper: tuple[float, ...]


def conclude(
    counts: Sequence[Counts],
    label: int,
    alpha: Fraction,
    scales: Sequence[float],
    slacks: Sequence[float],
    variant: str = "pa",
    bound: str = "cp",
) -> Conclusion:
    """The certificate for `label` that follows from one row of raw counts per part; radius 0 where none does.

    alpha is the error probability of the whole conclusion; `scales` are the noise levels and `slacks` the total variation distances
    between the noise drawn and the noise stated, one per part. A ValueError where the numbers do not fit each other.
    """
    rule = _checked(variant, bound, counts, label, alpha)
    piece = float_down(alpha / rule.pieces(len(counts)))
    lower = BOUNDS[bound]
    p = [
        max(0.0, float_down(Fraction(lower(row[label], sum(row), piece)) - Fraction(t)))
        for row, t in zip(counts, slacks, strict=True)
    ]
    q = [float_up(1 - Fraction(value)) for value in p]
    if rule.two_sided:
        others = [max((n for c, n in enumerate(row) if c != label), default=0) for row in counts]
        tops = [upper(lower, k, sum(row), piece) for k, row in zip(others, counts, strict=True)]
        q = [min(a, float_up(Fraction(b) + Fraction(t))) for a, b, t in zip(q, tops, slacks, strict=True)]
    found = rule.radius(p, q, scales)
    return Conclusion(found, tuple(p), tuple(q))


def _checked(variant: str, bound: str, counts: Sequence[Counts], label: int, alpha: Fraction) -> Variant:
    if variant not in VARIANTS:
        raise ValueError(f"no variant is called {variant!r}; there are {', '.join(VARIANTS)}")
    if bound not in BOUNDS:
        raise ValueError(f"no confidence bound is called {bound!r}; there are {', '.join(BOUNDS)}")
    if len(counts) not in VARIANTS[variant].parts:
        raise ValueError(f"variant {variant!r} is not one for {len(counts)} parts")
    for row in counts:
        if not 0 <= label < len(row) or min(row) < 0 or sum(row) == 0:
            raise ValueError(f"counts {list(row)} of label {label}: every part needs counts of all classes, not all of them 0")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {float(alpha)}")
    return VARIANTS[variant]


def norm_of(variant: str) -> float:
    """The p of the norm that a variant's radius is measured in: 1 or 2."""
    return VARIANTS[variant].norm if variant in VARIANTS else inf
