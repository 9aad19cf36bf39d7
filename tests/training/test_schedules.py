"""Schedules: ends, monotony and continuity of every ramp."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.training import Linear, Smoothed

FINITE = st.floats(-1e3, 1e3)
BEGIN = st.floats(0, 50)
LENGTH = st.floats(0.5, 50)
RAMPS = [Linear, Smoothed]


@pytest.mark.parametrize("ramp", RAMPS)
@settings(max_examples=50, deadline=None)
@given(first=FINITE, last=FINITE, begin=BEGIN, length=LENGTH, outside=st.floats(0, 100))
def test_a_ramp_stays_at_its_ends_outside_of_it(ramp, first, last, begin, length, outside):
    schedule = ramp(first, last, begin, begin + length)
    assert schedule(begin - outside) == pytest.approx(first, abs=1e-9)
    assert schedule(begin + length + outside) == pytest.approx(last, abs=1e-9)


@pytest.mark.parametrize("ramp", RAMPS)
@settings(max_examples=50, deadline=None)
@given(begin=BEGIN, length=LENGTH, steps=st.tuples(st.floats(0, 110), st.floats(0, 110)))
def test_a_rising_ramp_never_falls(ramp, begin, length, steps):
    schedule = ramp(0.0, 0.3, begin, begin + length)
    assert schedule(min(steps)) <= schedule(max(steps)) + 1e-15


@settings(max_examples=50, deadline=None)
@given(bend=st.floats(0.05, 0.95), power=st.floats(1, 6))
def test_smoothed_has_neither_jump_nor_kink_at_its_bend(bend, power):
    schedule, h = Smoothed(0.0, 1.0, 0.0, 1.0, bend, power), 1e-5
    before = (schedule(bend) - schedule(bend - h)) / h
    after = (schedule(bend + h) - schedule(bend)) / h
    assert after == pytest.approx(before, rel=1e-2)


def test_smoothed_rises_slower_than_the_line_at_first():
    assert Smoothed(0.0, 1.0, 0.0, 1.0)(0.1) < 0.02 * Linear(0.0, 1.0, 0.0, 1.0)(0.1)


def test_a_power_of_one_is_the_line():
    line, bent = Linear(0.0, 0.3, 2.0, 7.0), Smoothed(0.0, 0.3, 2.0, 7.0, bend=0.4, power=1.0)
    assert [bent(t) for t in range(10)] == pytest.approx([line(t) for t in range(10)])


@pytest.mark.parametrize("ramp", RAMPS)
def test_a_ramp_of_no_length_is_a_jump(ramp):
    schedule = ramp(1.0, 0.5, 3.0, 3.0)
    assert (schedule(2.999), schedule(3.0)) == (1.0, 0.5)


@pytest.mark.parametrize(("bend", "power"), [(0.0, 4.0), (1.5, 4.0), (0.25, 0.5)])
def test_a_bend_outside_the_ramp_is_refused(bend, power):
    with pytest.raises(ValueError, match="bend must lie in"):
        Smoothed(0.0, 1.0, 0.0, 1.0, bend, power)
