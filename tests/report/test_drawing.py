"""Drawings: coordinates of scales, curves, dots and crosses."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.report.curves import Curve, accuracy_curves
from certify.report.plots import RIM, Pair, cactus, scatter
from certify.report.scale import Linear, Log, round_step

sizes = st.floats(1e-3, 1e6)


@settings(max_examples=50, deadline=None)
@given(sizes, sizes)
def test_ticks_of_a_linear_scale_are_few_round_and_inside(low: float, width: float) -> None:
    scale = Linear(low, low + width, 100.0, 500.0)
    ticks = scale.ticks()
    assert len(ticks) <= 7
    assert all(100.0 - 1e-3 <= scale(value) <= 500.0 + 1e-3 for value, _ in ticks)
    step = round_step(width / 6)
    assert all(after - before == pytest.approx(step, rel=1e-3) for (before, _), (after, _) in pairwise(ticks))


@pytest.mark.parametrize("count", [1, 2, 3, 9, 400])
def test_whole_numbers_have_whole_ticks(count: int) -> None:
    assert all(label.isdigit() for _, label in Linear(0, count, 0.0, 100.0, apart=1).ticks())


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(10, 1e6))
def test_ticks_of_a_logarithmic_scale_are_inside_and_ascend(low: float, ratio: float) -> None:
    scale = Log(low, low * ratio, 400.0, 20.0)
    values = [value for value, _ in scale.ticks()]
    assert 1 <= len(values) <= 10
    assert values == sorted(values)
    assert all(20.0 - 1e-6 <= scale(value) <= 400.0 + 1e-6 for value in values)


def test_a_logarithmic_scale_draws_what_is_too_small_at_its_end() -> None:
    scale = Log(0.01, 100.0, 0.0, 400.0)
    assert scale(0.0) == 0.0
    assert scale(1.0) == pytest.approx(200.0)
    assert [label for _, label in scale.ticks()] == ["0.01", "0.1", "1", "10", "100"]


def points(line: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.split()]  # type: ignore[misc]


def lines(image: str) -> list[list[tuple[float, float]]]:
    return [points(found) for found in re.findall(r'<polyline class="line[^>]*points="([^"]*)"', image)]


def test_a_cactus_rises_by_one_at_each_time() -> None:
    each, cumulated = lines(cactus({"tool": [10.0, 1.0]}, 4).image)
    # The field is 52 to 464 wide and 284 to 12 high; times go from 1 to 1.1 * 11 s, instances from 0 to 4.
    x = Log(1.0, 12.1, 52.0, 464.0)
    one, two = 284 - 272 / 4, 284 - 272 / 2
    expected = [(52, 284), (52, 284), (52, one), (x(10), one), (x(10), two), (464, two), (464, two)]
    assert each == [pytest.approx(point, abs=0.06) for point in expected]
    assert (pytest.approx(x(11), abs=0.06), two) in cumulated


def test_a_scatter_has_its_dots_at_both_times_and_the_unsolved_on_the_rim() -> None:
    pairs = [
        Pair("both", "i-1", "unsat", 1.0, 10.0),
        Pair("own alone", "i-2", "sat", None, 1.0),
        Pair("baseline alone", "i-3", "wrong", 10.0, None),
        Pair("neither", "i-4", "unsat", None, None),
    ]
    figure = scatter(pairs)
    x, y = Log(1.0, 11.0, 52.0, 464.0 - RIM), Log(1.0, 11.0, 382.0, 12.0 + RIM)
    dots = {
        style: (float(a), float(b))
        for style, a, b in re.findall(r'<circle class="([^"]*)" cx="([\d.]*)" cy="([\d.]*)"', figure.image)
    }
    assert dots["mark s0"] == pytest.approx((x(1.0), y(10.0)), abs=0.06)
    assert dots["ring s1"] == pytest.approx((464.0 - RIM / 2, y(1.0)), abs=0.06)
    [(a, b)] = re.findall(r'<path class="mark bad" d="M([\d.]*),([\d.]*)L', figure.image)
    assert (float(a) + 5, float(b) + 5) == pytest.approx((x(10.0), 12.0 + RIM / 2), abs=0.06)
    assert re.findall('href="#([^"]*)"', figure.image) == ["i-1", "i-2", "i-3"], "what is wrong is drawn last"
    assert figure.caption == "This run is faster, or alone, on 1 instances; the baseline on 2. 1 that neither solved are not drawn."


def test_drawings_without_anything_to_draw_are_empty_not_broken() -> None:
    assert lines(cactus({"tool": []}, 3).image) == [[(52, 284), (464, 284), (464, 284)]] * 2
    assert "<circle" not in scatter([Pair("neither", "", "unsat", None, None)]).image


def test_a_curve_holds_its_value_until_the_next_size() -> None:
    [curve] = lines(accuracy_curves("title", "edits", [Curve("run", ((0.0, 1.0), (1.0, 0.5), (2.0, 0.0)))]).image)
    # The field is 52 to 624 wide and 314 to 12 high.
    assert curve == [(52, 12), (338, 12), (338, 163), (624, 163), (624, 314)]


def test_many_curves_differ_in_colour_or_dashes() -> None:
    image = accuracy_curves("title", "edits", [Curve(str(i), ((0.0, 1.0), (1.0, 0.0))) for i in range(18)]).image
    styles = re.findall(r'<polyline class="(line s\d)"( stroke-dasharray="[^"]*")?', image)
    assert len(set(styles)) == 18
