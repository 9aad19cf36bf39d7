"""Exact numbers, input sets, atoms and robustness specifications."""

from __future__ import annotations

from fractions import Fraction
from math import inf, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.specification import Ball, Boxes, Clause, Rationals, Specification, atom, flat_declaration, robust, rows
from certify.specification.exact import round_down, round_up, select

FAST = settings(max_examples=100, deadline=None)

decimals = st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,25})?(e-?[12]?[0-9])?", fullmatch=True)
fractions = st.fractions(min_value=-1000, max_value=1000)
numbers = st.one_of(decimals, fractions, st.floats(allow_nan=False, allow_infinity=False, width=32).map(Fraction))
floats = st.floats(allow_nan=False, allow_infinity=False)


def sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


@FAST
@given(st.lists(numbers, min_size=1, max_size=5), floats)
def test_comparison_with_floats_is_exact(values: list, x: float) -> None:
    exact = Rationals.of(values)
    assert exact.compare(x).tolist() == [sign(Fraction(v) - Fraction(x)) for v in values]
    near = exact.nearest
    assert exact.compare(near).tolist() == [sign(Fraction(v) - Fraction(n)) for v, n in zip(values, near.tolist(), strict=True)]


@FAST
@given(st.lists(numbers, min_size=1, max_size=5), st.sampled_from([np.float32, np.float64]))
def test_directed_rounding_gives_the_neighbouring_floats(values: list, dtype: type) -> None:
    exact = Rationals.of(values)
    for value, down, up in zip(values, exact.down(dtype), exact.up(dtype), strict=True):
        assert down.dtype == up.dtype == dtype
        assert Fraction(float(down)) <= Fraction(value) <= Fraction(float(up))
        assert up == down or up == np.nextafter(down, dtype(inf))
        assert (up == down) == (Fraction(float(down)) == Fraction(value))


@FAST
@given(numbers)
def test_scalar_rounding_agrees_with_arrays(value: str | Fraction) -> None:
    exact = Rationals.of([value])
    assert (round_down(value), round_up(value)) == (exact.down()[0], exact.up()[0])


@FAST
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_exceeds_and_select_are_exact(pairs: list) -> None:
    left, right = (Rationals.of(side) for side in zip(*pairs, strict=True))
    above = left.exceeds(right)
    assert above.tolist() == [Fraction(a) > Fraction(b) for a, b in pairs]
    larger = select(above, left, right)
    assert [larger.exact(i) for i in range(len(pairs))] == [max(Fraction(a), Fraction(b)) for a, b in pairs]


def test_numbers_that_share_their_nearest_double_are_told_apart() -> None:
    left, right = Rationals.of(["0.1"]), Rationals.of(["0.10000000000000000000001"])
    assert left.nearest == right.nearest
    assert right.exceeds(left).all()
    assert not left.exceeds(right).any()


def test_numbers_beyond_double_range_round_to_the_largest_float_or_infinity() -> None:
    exact = Rationals.of(["1e400", "-1e400", Fraction(10**400)])
    largest = np.finfo(np.float64).max
    assert exact.down().tolist() == [largest, -inf, largest]
    assert exact.up().tolist() == [inf, -largest, inf]


def test_nan_is_no_number() -> None:
    with pytest.raises(ValueError, match="1 of the numbers are NaN"):
        Rationals.of_floats([0.0, np.nan])


def boxes(pairs: list) -> Boxes:
    lower, upper = zip(*pairs, strict=True)
    return Boxes(Rationals.of(lower)[None], Rationals.of(upper)[None])


@FAST
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_outward_covers_and_inward_is_covered(pairs: list) -> None:
    box = boxes([sorted(pair, key=Fraction) for pair in pairs])
    (outer_low, outer_high), (inner_low, inner_high) = box.outward(np.float64), box.inward(np.float32)
    for i in range(len(pairs)):
        low, high = box.lower.exact((0, i)), box.upper.exact((0, i))
        assert Fraction(outer_low[0, i]) <= low <= high <= Fraction(outer_high[0, i])
        if np.isfinite(inner_low[0, i]):
            assert low <= Fraction(float(inner_low[0, i]))
        if np.isfinite(inner_high[0, i]):
            assert Fraction(float(inner_high[0, i])) <= high


@FAST
@given(numbers, numbers, st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_membership_is_exact(a: str, b: str, x: float) -> None:
    low, high = sorted((a, b), key=Fraction)
    assert boxes([(low, high)]).contains(0, np.array([x], np.float32)) == (Fraction(low) <= Fraction(x) <= Fraction(high))


def test_a_decimal_bound_excludes_the_float_it_rounds_to() -> None:
    assert not boxes([("0", "0.1")]).contains(0, np.array([0.1], np.float32))  # float32(0.1) > 0.1
    assert boxes([("0", "0.1")]).contains(0, np.array([np.nextafter(np.float32(0.1), np.float32(0))]))


def test_reversed_boxes_are_empty_and_degenerate_ones_are_not() -> None:
    assert boxes([("0", "1"), ("2", "1")]).empty().tolist() == [True]
    assert boxes([("0.1", "0.1")]).empty().tolist() == [False]
    assert boxes([("0.10000000000000000000001", "0.1")]).empty().tolist() == [True]


def test_a_box_between_two_float32_numbers_is_not_attackable() -> None:
    assert not boxes([("0.1", "0.1")]).attackable().any()
    assert boxes([("0.1", "0.5")]).attackable().all()


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_ball_membership_is_exact_at_its_rim(p: float) -> None:
    free = Boxes(Rationals.of_floats([[-inf, -inf]]), Rationals.of_floats([[inf, inf]]))
    ball = Ball(np.zeros(2), Fraction(5) if p == 2 else Fraction(7), p, free)
    assert ball.contains(0, np.array([3.0, 4.0]))
    assert not ball.contains(0, np.array([3.0, np.nextafter(4.0, 5.0)]))


@FAST
@given(
    st.lists(st.floats(-1, 1, width=64), min_size=1, max_size=4),
    st.floats(0, 2, width=64),
    st.sampled_from([1.0, 2.0]),
    st.integers(0, 2**32 - 1),
)
def test_points_of_the_attack_ball_are_points_of_the_exact_ball(center: list, eps: float, p: float, seed: int) -> None:
    domain = Boxes(Rationals.of([Fraction(-1)] * len(center))[None], Rationals.of([Fraction(1)] * len(center))[None])
    ball = Ball(np.array(center), Fraction(eps), p, domain)
    if not ball.attackable()[0]:
        return
    region = ball.attack_region([0])
    z = np.random.default_rng(seed).normal(size=len(center))
    radius = float(region.eps[0]) * (1 - 1e-6) / max(np.linalg.norm(z, int(p)), 1e-30)
    low, high = (end[0].numpy() for end in region.domain)
    point = np.clip((region.center[0].numpy() + radius * z).astype(np.float32), low, high)
    if np.linalg.norm(point.astype(float) - region.center[0].numpy(), int(p)) <= float(region.eps[0]) * (1 - 1e-7):
        assert ball.contains(0, point)


coefficients = st.dictionaries(st.integers(0, 3), st.fractions(-9, 9).filter(bool), max_size=3)


@FAST
@given(coefficients, coefficients, fractions, st.booleans(), st.integers(0, 2**32 - 1))
def test_rows_hold_wherever_the_atom_holds(outputs: dict, inputs: dict, rhs: Fraction, strict: bool, seed: int) -> None:
    condition = atom(outputs, inputs, rhs, strict)
    row = rows([condition], 4, 4)
    rng = np.random.default_rng(seed)
    for x, y in rng.integers(-50, 50, (20, 2, 4)) / 8.0:
        left = sum(c * Fraction(y[i]) for i, c in outputs.items()) + sum(c * Fraction(x[i]) for i, c in inputs.items())
        holds = left < rhs if strict else left <= rhs
        assert condition.holds(x, y) == holds
        if holds:
            assert satisfies(row, x, y)


@FAST
@given(
    st.dictionaries(st.integers(0, 3), st.sampled_from(["0.12345678901234567", "-0.98765432109876543", "0.1"]), min_size=1),
    st.integers(0, 2**32 - 1),
)
def test_coefficients_with_too_many_digits_get_a_slack_that_covers_them(outputs: dict, seed: int) -> None:
    exact = {i: Fraction(c) for i, c in outputs.items()}
    y = np.random.default_rng(seed).normal(size=4)
    rim = sum(c * Fraction(y[i]) for i, c in exact.items())
    condition = atom(exact, {}, rim)
    assert condition.holds(np.zeros(1), y)
    assert satisfies(rows([condition], 4, 1), np.zeros(1), y)


def satisfies(row: object, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the first row of `Rows` holds at a point, in exact arithmetic."""

    def dot(matrix: np.ndarray | None, values: np.ndarray) -> Fraction:
        return Fraction(0) if matrix is None else sum(Fraction(a) * Fraction(v) for a, v in zip(matrix[0], values, strict=True))

    left = dot(row.outputs, y) + dot(row.inputs, x)
    right = Fraction(row.rhs[0]) + dot(row.output_slack, abs(y)) + dot(row.input_slack, abs(x))
    return left < right if row.strict[0] else left <= right


def test_ordinary_coefficients_become_integers_and_need_no_slack() -> None:
    row = rows([atom({0: Fraction("0.1"), 1: Fraction("-0.3")}, {}, Fraction("0.7"))], 2, 1)
    assert row.outputs.tolist() == [[1.0, -3.0]]
    assert row.rhs.tolist() == [7.0]
    assert row.output_slack is None
    assert not row.strict.any()


def test_a_right_hand_side_that_is_rounded_up_makes_the_row_strict() -> None:
    row = rows([atom({0: Fraction(1)}, {}, Fraction("0.7"))], 1, 1)
    assert Fraction(row.rhs[0]) > Fraction("0.7")
    assert row.strict.all()


def test_robustness_keeps_the_radius_exactly() -> None:
    x = np.array([[0.5, 0.0]], dtype=np.float32)
    spec = robust(x, 1, eps="2/255", domain=(0, 1)).bind((1, 2), (1, 3))
    assert spec.inputs.lower.exact((0, 0)) == Fraction(1, 2) - Fraction(2, 255)
    assert spec.inputs.upper.exact((0, 1)) == Fraction(2, 255)
    assert spec.inputs.lower.exact((0, 1)) == 0
    assert [clause.atoms[0].outputs for clause in spec.clauses] == [
        ((0, Fraction(-1)), (1, Fraction(1))),
        ((1, Fraction(1)), (2, Fraction(-1))),
    ]


def test_robustness_is_violated_exactly_when_another_class_reaches_the_label() -> None:
    spec = robust(np.zeros(2, np.float32), 0, eps=1).bind((2,), (2,))
    x = np.zeros(2)
    assert [spec.holds(spec.clauses[0], x, np.array(y)) for y in ([1.0, 1.0], [1.0, 0.5], [0.0, 3.0])] == [True, False, True]
    assert not spec.holds(spec.clauses[0], np.array([0.0, 1.5]), np.array([0.0, 3.0]))


def test_targets_limit_the_classes() -> None:
    spec = robust(np.zeros(2), 0, eps=1, targets=[2]).bind((1, 2), (1, 5))
    assert [str(clause.atoms[0]) for clause in spec.clauses] == ["Y_0 - Y_2 <= 0"] or len(spec.clauses) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": "two"}, "'two' is not a finite number"),
        ({"eps": "1/0"}, "'1/0' is not a finite number"),
        ({"eps": float("nan")}, "not a finite number"),
        ({"eps": -0.1}, "must not be negative"),
        ({"eps": 0.1, "domain": (0.5, 1)}, "does not lie in the domain"),
        ({"eps": 0.1, "p": 3}, "p must be 1 or 2, not 3"),
        ({"eps": 0.1, "x": [0.0, np.nan]}, "1 entries of the point are NaN"),
        ({"eps": 0.1, "domain": (np.nan, 1)}, "NaN"),
    ],
)
def test_bad_robustness_questions_are_refused(arguments: dict, message: str) -> None:
    arguments = {"x": [0.0, 0.0], "label": 0, **arguments}
    with pytest.raises(ValueError, match=message):
        robust(**arguments)


def test_classes_and_sizes_that_the_network_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="class 7 does not exist: the network has 3 outputs"):
        robust(np.zeros(2), 7, eps=1).bind((2,), (3,))
    with pytest.raises(ValueError, match="the point has 2 entries, the network takes 4"):
        robust(np.zeros(2), 0, eps=1).bind((1, 4), (3,))


def test_a_threshold_makes_the_tie_unsafe_on_both_sides() -> None:
    x, t = np.zeros(1), "0.1"
    above, below = (robust(x, label, eps=1, threshold=t).bind((1,), (1,)) for label in (1, 0))
    scores = [0.05, np.nextafter(0.1, 0), 0.1, 0.15]  # the float 0.1 is above one tenth
    assert [above.holds(above.clauses[0], x, np.array([s])) for s in scores] == [True, True, False, False]
    assert [below.holds(below.clauses[0], x, np.array([s])) for s in scores] == [False, False, True, True]
    tie = robust(x, 1, eps=1, threshold=0).bind((1,), (1,))
    assert tie.holds(tie.clauses[0], x, np.zeros(1))


def test_numbers_have_to_stay_in_their_interval_ends_included() -> None:
    x, spec = np.zeros(1), robust(np.zeros(1), None, eps=1, within=(0, "1/2")).bind((1,), (2,))

    def unsafe(*y: float) -> bool:
        return any(spec.holds(clause, x, np.array(y)) for clause in spec.clauses)

    assert not unsafe(0.0, 0.5)
    assert unsafe(0.0, 0.5001)
    assert unsafe(-1e-30, 0.25)
    assert len(robust(x, None, eps=1, within=(None, 1)).bind((1,), (3,)).clauses) == 3


@pytest.mark.parametrize(
    ("label", "options", "outputs", "message"),
    [
        (0, {}, 1, "one output"),
        (0, {"targets": [1, 1]}, 3, "twice"),
        (0, {"targets": []}, 3, "none"),
        (0, {"targets": [3]}, 3, "class 3 does not exist"),
        (-1, {}, 3, "class -1 does not exist"),
        (1.5, {}, 3, "whole number"),
        (None, {}, 3, "right answer"),
        (2, {"threshold": 0}, 1, "label is 1"),
        (1, {"threshold": 0}, 2, "2 outputs"),
        (1, {"threshold": 0, "targets": [0]}, 1, "no other targets"),
        (1, {"within": (0, 1)}, 1, "give no label"),
        (None, {"within": (1, 0)}, 1, "above"),
        (None, {"within": (None, None)}, 1, "at least one end"),
    ],
)
def test_questions_without_a_meaning_are_refused(label: object, options: dict, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robust(np.zeros(2), label, eps=1, **options).bind((2,), (outputs,))


def test_a_ball_of_no_radius_is_a_point() -> None:
    x = np.array([0.1, 0.3])
    assert robust(x, 0, eps=0, p=2).inputs.lower.exact((0, 1)) == Fraction(0.3)


def test_a_property_of_other_sizes_than_the_network_is_refused() -> None:
    spec = Specification(boxes([("0", "1")]), (Clause(0, ()),), 2, flat_declaration(1, 2))
    assert spec.bind((1, 1), (1, 2)) is spec
    with pytest.raises(ValueError, match=r"speaks of 2 outputs, the network has 3 \(shape \[1, 3\]\)"):
        spec.bind((1, 1), (1, 3))


@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.integers(0, 255))
@FAST
def test_the_cube_around_an_image_matches_a_direct_computation(pixels: list, radius: int) -> None:
    x = (np.array(pixels) / 255).astype(np.float32)
    eps = Fraction(radius, 255)
    inputs = robust(x, 0, eps=eps, domain=(0, 1)).inputs
    for i in range(prod(x.shape)):
        assert inputs.lower.exact((0, i)) == max(Fraction(0), Fraction(float(x[i])) - eps)
        assert inputs.upper.exact((0, i)) == min(Fraction(1), Fraction(float(x[i])) + eps)
