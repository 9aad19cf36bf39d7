"""Certified radii from probabilities: pure functions, rounded down, 0 where nothing is certified.

p is a lower bound of the probability of the predicted class, q an upper bound of that of every other class (where it is left out, 1
- p serves). The prediction of the smoothed classifier is the same everywhere at a distance below the radius.

The one lemma behind the Gaussian radii (Salman et al., arXiv 1906.04584, lemma 2): for every function f into [0, 1], and so for
every event, x -> Phi^-1(E f(x + sigma Z)) is 1/sigma-Lipschitz in l_2. Half-spaces attain it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

from certify.smoothing.exact import DIGITS, RELATIVE_ERROR, decimal, float_down
from certify.smoothing.normal import quantile_down, quantile_up


def gaussian(p: float, sigma: float) -> float:
    """l_2 radius of Gaussian smoothing: sigma Phi^-1(p). Cohen et al., arXiv 1902.02918, theorem 1 with p_B = 1 - p."""
    return _scaled(sigma, quantile_down(p))


def gaussian_two_sided(p: float, q: float, sigma: float) -> float:
    """l_2 radius of Gaussian smoothing: sigma/2 (Phi^-1(p) - Phi^-1(q)). Cohen et al., arXiv 1902.02918, theorem 1.

    By the lemma the two probits move towards each other by at most 2 ||delta|| / sigma.
    """
    _check_sigma(sigma)
    a, b = quantile_down(p), quantile_up(q)
    if not a > b:
        return 0.0
    return math.inf if math.inf in (a, -b) else float_down(Fraction(sigma) * (Fraction(a) - Fraction(b)) / 2)


def dual(p_left: float, p_right: float, sigma_left: float, sigma_right: float) -> float:
    """l_2 radius of dual smoothing: (a_l + a_r) / sqrt(1/s_l^2 + 1/s_r^2), a = Phi^-1(p). Xia et al. 2024, for unequal noise too.

    The prediction is the class whose two probabilities, over the left and over the right half of the pixels, have the largest sum.
    With u, v the norms of the halves of delta, the lemma leaves the class at least Phi(a_l - u/s_l) and Phi(a_r - v/s_r); their sum
    exceeds 1, so that every other class has less, as long as u/s_l + v/s_r < a_l + a_r; by Cauchy-Schwarz the left side is at most
    ||delta|| sqrt(1/s_l^2 + 1/s_r^2). One of the a may be negative and must stay so: to clamp it at 0 is unsound.
    """
    return probit_sum([p_left, p_right], [sigma_left, sigma_right])


def probit_sum(ps: Sequence[float], sigmas: Sequence[float]) -> float:
    """l_2 radius of the probit-sum vote over any number of parts: sum a_j / sqrt(sum 1/s_j^2), a = Phi^-1(p).

    `probit_sum_two_sided` with q_j = 1 - p_j.
    """
    return _over_root([quantile_down(p) for p in ps], _precision(sigmas, len(ps)))


def probit_sum_two_sided(ps: Sequence[float], qs: Sequence[float], sigmas: Sequence[float]) -> float:
    """l_2 radius of the vote argmax_c sum_j Phi^-1(p_c^j): sum (a_j - b_j) / (2 sqrt(sum 1/s_j^2)), a, b the probits of p_j, q_j.

    Term j is 1/s_j-Lipschitz in its own part of the pixels, so that each sum moves by at most ||delta|| sqrt(sum 1/s_j^2).
    """
    if len(qs) != len(ps):
        raise ValueError(f"{len(ps)} lower bounds and {len(qs)} upper bounds: every part needs both")
    terms = [*map(quantile_down, ps), *(-quantile_up(q) for q in qs)]
    return _over_root(terms, 4 * _precision(sigmas, len(ps)))


def uniform_l1(p: float, half_width: float) -> float:
    """l_1 radius of noise uniform on [-w, w]^d, and of splitting noise on (0, 2w): 2 w (p - 1/2).

    Yang et al., arXiv 2002.08118; Levine and Feizi, arXiv 2103.10834, theorem 2: a shift by delta changes any probability by at
    most ||delta||_1 / (2 w).
    """
    _check_sigma(half_width, "the half width of the noise")
    _check_probability(p)
    return max(0.0, float_down(2 * Fraction(half_width) * (Fraction(p) - Fraction(1, 2))))


def uniform_l1_two_sided(p: float, q: float, half_width: float) -> float:
    """l_1 radius of the same noises from both bounds: w (p - q)."""
    _check_sigma(half_width, "the half width of the noise")
    _check_probability(p, q)
    return max(0.0, float_down(Fraction(half_width) * (Fraction(p) - Fraction(q))))


def laplace_l1(p: float, scale: float) -> float:
    """l_1 radius of Laplace noise of this scale: -b ln(2 (1 - p)). Teng et al. 2020; Yang et al., arXiv 2002.08118, table 1."""
    _check_sigma(scale, "the scale of the noise")
    _check_probability(p)
    if p <= 0.5:
        return 0.0
    if p == 1:
        return math.inf
    with localcontext(DIGITS):
        return float_down(Decimal(scale) * -(2 * (1 - Decimal(p))).ln() * (1 - RELATIVE_ERROR))


def deterministic_l1(first: int, second: int, second_wins_ties: bool, levels: int = 255) -> float:
    """l_1 radius of derandomised splitting noise from exact vote counts: floor((n_A - n_B - [B wins ties]) / 2) / levels.

    One step of 1/levels in one pixel changes one vote. Levine and Feizi, arXiv 2103.10834, section 5.
    """
    return max(0.0, float_down(Fraction((first - second - second_wins_ties) // 2, levels)))


def patch(first: int, second: int, second_wins_ties: bool, hit: int) -> bool:
    """Whether a patch that touches at most `hit` of the ablations cannot change the vote. Levine and Feizi, arXiv 2002.10733."""
    return first - second - second_wins_ties >= 2 * hit


def linf_from_l2(radius: float, dimension: int) -> float:
    """l_inf radius that an l_2 radius implies: R / sqrt(d)."""
    if dimension < 1:
        raise ValueError(f"an input has at least one coordinate, got {dimension}")
    with localcontext(DIGITS):
        return radius if math.isinf(radius) else float_down(Decimal(radius) / Decimal(dimension).sqrt() * (1 - RELATIVE_ERROR))


def l1_from_l2(radius: float) -> float:
    """l_1 radius that an l_2 radius implies: the same number, because ||delta||_2 <= ||delta||_1."""
    return radius


def _precision(sigmas: Sequence[float], parts: int) -> Fraction:
    """sum 1/s_j^2, exactly."""
    if len(sigmas) != parts or not parts:
        raise ValueError(f"{parts} probabilities and {len(sigmas)} noise levels: every part needs one of each")
    for sigma in sigmas:
        _check_sigma(sigma)
    return sum((1 / Fraction(sigma) ** 2 for sigma in sigmas), Fraction(0))


def _over_root(terms: Sequence[float], precision: Fraction) -> float:
    """The sum of the terms over the root of `precision`, rounded down; 0 where that is not positive or holds a -inf."""
    if -math.inf in terms:
        return 0.0
    if math.inf in terms:
        return math.inf
    total = sum(map(Fraction, terms), Fraction(0))
    if total <= 0:
        return 0.0
    with localcontext(DIGITS):
        return float_down(decimal(total) / decimal(precision).sqrt() * (1 - RELATIVE_ERROR))


def _scaled(sigma: float, probit: float) -> float:
    _check_sigma(sigma)
    if probit <= 0:
        return 0.0
    return math.inf if math.isinf(probit) else float_down(Fraction(sigma) * Fraction(probit))


def _check_sigma(sigma: float, name: str = "sigma") -> None:
    if not 0 < sigma < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {sigma}")


def _check_probability(*values: float) -> None:
    for value in values:
        if not 0 <= value <= 1:
            raise ValueError(f"a probability lies between 0 and 1, got {value}")
