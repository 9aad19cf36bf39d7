"""The chain kernels: the compiled twins against their definitions, and both against exact arithmetic and sampled points."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify.kernels import chain_cpu, chain_reference
from certify.kernels.chain import Clauses, Effort, Layer, Net, Work, fresh_work, lay_out, layers

SEEDS = st.integers(0, 10**6)
TWINS = pytest.mark.parametrize("kernels", [chain_reference, chain_cpu])


def random_layers(rng: np.random.Generator, sizes: tuple[int, ...], slope: float = 0.0) -> list[Layer]:
    """Dense and block-diagonal layers; the last has no activation."""
    made = []
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight = rng.normal(size=(fan_out, fan_in)) * (rng.random((fan_out, fan_in)) < 0.8)
        made.append((weight, 0.3 * rng.normal(size=fan_out), np.full(fan_out, 1.0 if k == len(sizes) - 2 else slope)))
    return made


class Draw:
    """A random net, clauses of up to three atoms near what the net does, and boxes about all of them."""

    def __init__(self, seed: int, slope: float = 0.0, boxes: int = 4) -> None:
        self.rng = rng = np.random.default_rng(seed)
        inputs, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        self.layers = random_layers(rng, (inputs, *rng.integers(1, 9, size=rng.integers(1, 4)), rows), slope)
        self.net = lay_out(self.layers)
        atoms = rng.integers(1, 4, size=rng.integers(1, 4))
        values = chain_reference.evaluate(self.layers, rng.normal(size=(1, inputs)))[-1][0]
        row = rng.integers(rows, size=atoms.sum())
        self.clauses = Clauses(
            np.concatenate([[0], np.cumsum(atoms)]).astype(np.int64), row, values[row] + rng.normal(size=len(row))
        )
        self.lower = rng.normal(size=(boxes, inputs))
        self.upper = self.lower + rng.random((boxes, inputs)) * (rng.random((boxes, inputs)) < 0.9) * 10.0 ** rng.integers(-4, 1)

    def work(self) -> Work:
        boxes = len(self.lower)
        state = np.zeros((boxes, len(self.net.bias)), np.int8)
        mask = np.full(boxes, (1 << (len(self.clauses.start) - 1)) - 1)
        return fresh_work(self.lower.copy(), self.upper.copy(), state, np.zeros(boxes, np.int64), mask)

    def points(self, box: int, count: int = 200) -> np.ndarray:
        """Corners of a box and points inside."""
        ends = np.stack([self.lower[box], self.upper[box]])
        corners = np.array([[ends[b, i] for i, b in enumerate(bits)] for bits in product((0, 1), repeat=ends.shape[1])])
        inside = self.lower[box] + self.rng.random((count, ends.shape[1])) * (self.upper[box] - self.lower[box])
        return np.concatenate([corners, inside])


def exact_rows(made: list[Layer], x: np.ndarray) -> list[Fraction]:
    """The last layer's values at a point, in rational arithmetic."""
    y = [Fraction(float(v)) for v in x]
    for weight, bias, slope in made:
        z = [
            sum((Fraction(float(w)) * v for w, v in zip(row, y, strict=True)), Fraction(float(b)))
            for row, b in zip(weight, bias, strict=True)
        ]
        y = [max(v, Fraction(float(a)) * v) for v, a in zip(z, slope, strict=True)]
    return y


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_layers_are_laid_out_and_read_back(seed: int) -> None:
    draw = Draw(seed)
    for given_, read in zip(draw.layers, layers(draw.net), strict=True):
        for a, b in zip(given_, read, strict=True):
            np.testing.assert_array_equal(a, b)


@given(SEEDS, st.sampled_from([0.0, 0.1]), st.sampled_from([1, 3, 100]), st.integers(0, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_compiled_kernel_finds_what_the_definition_finds(seed: int, slope: float, symbols: int, steps: int, clip: bool) -> None:
    draw = Draw(seed, slope)
    plain, fast = draw.work(), draw.work()
    effort = Effort(symbols, steps, clip)
    chain_reference.examine(draw.net, draw.clauses, effort, plain)
    chain_cpu.examine(draw.net, draw.clauses, effort, fast)
    np.testing.assert_array_equal(plain.state, fast.state)
    np.testing.assert_array_equal(plain.open, fast.open)
    np.testing.assert_array_equal(plain.stuck, fast.stuck)
    np.testing.assert_allclose(plain.margin, fast.margin, rtol=1e-9, atol=1e-12)
    unsettled = plain.open != 0
    np.testing.assert_allclose(plain.lower[unsettled], fast.lower[unsettled], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(plain.upper[unsettled], fast.upper[unsettled], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(plain.value[unsettled], fast.value[unsettled], rtol=1e-7, atol=1e-10)


@given(SEEDS, st.sampled_from([0.0, 0.1]), st.sampled_from([1, 100]))
@settings(max_examples=30, deadline=None)
def test_bounds_hold_in_exact_arithmetic(seed: int, slope: float, symbols: int) -> None:
    """Also on boxes that are points, where nothing but the allowance is between the bounds and the values."""
    draw = Draw(seed, slope, boxes=2)
    draw.upper[0] = draw.lower[0]
    bounds = chain_reference.forward(draw.layers, draw.lower, draw.upper, draw.work().state, symbols)[-1]
    for box in range(2):
        for x in draw.points(box, 5):
            for value, low, high in zip(exact_rows(draw.layers, x), bounds.low[box], bounds.high[box], strict=True):
                assert Fraction(float(low)) <= value <= Fraction(float(high))


@TWINS
@given(SEEDS, st.sampled_from([0.0, 0.1]), st.sampled_from([1, 100]))
@settings(max_examples=60, deadline=None)
def test_no_counterexample_is_excluded_or_cut_off(kernels: object, seed: int, slope: float, symbols: int) -> None:
    draw = Draw(seed, slope)
    work = draw.work()
    kernels.examine(draw.net, draw.clauses, Effort(symbols, 2, True), work)  # type: ignore[attr-defined]
    for box in range(len(work.root)):
        x = draw.points(box)
        rows = chain_reference.evaluate(draw.layers, x)[-1]
        for c, (first, last) in enumerate(pairwise(draw.clauses.start)):
            atoms = slice(first, last)
            satisfied = (rows[:, draw.clauses.row[atoms]] <= draw.clauses.rhs[atoms] - 1e-9).all(axis=1)
            if satisfied.any():
                assert (work.open[box] | work.stuck[box]) >> c & 1
            if work.open[box] >> c & 1:
                kept = x[satisfied]
                assert ((kept >= work.lower[box]) & (kept <= work.upper[box])).all()


@TWINS
@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_point_is_in_the_box_and_has_the_value(kernels: object, seed: int) -> None:
    draw = Draw(seed)
    work = draw.work()
    kernels.examine(draw.net, draw.clauses, Effort(100, 2, True), work)  # type: ignore[attr-defined]
    for box in np.flatnonzero(work.open):
        point = work.point[box]
        assert ((point >= draw.lower[box]) & (point <= draw.upper[box])).all()
        rows = chain_reference.evaluate(draw.layers, point[None])[-1][0]
        worst = [(rows[draw.clauses.row[a:b]] - draw.clauses.rhs[a:b]).max() for a, b in pairwise(draw.clauses.start.tolist())]
        assert np.isclose(worst, work.value[box], rtol=1e-9, atol=1e-12).any()


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_descents_agree_stay_in_their_boxes_and_never_rise(seed: int) -> None:
    draw = Draw(seed)
    clause = draw.rng.integers(len(draw.clauses.start) - 1, size=len(draw.lower))
    start = draw.lower + 0.5 * (draw.upper - draw.lower)
    plain, fast, before = start.copy(), start.copy(), np.empty(len(start))
    values, fast_values = np.empty(len(start)), np.empty(len(start))
    chain_reference.descend(draw.net, draw.clauses, clause, draw.lower, draw.upper, plain, values, 8)
    chain_cpu.descend(draw.net, draw.clauses, clause, draw.lower, draw.upper, fast, fast_values, 8)
    chain_reference.descend(draw.net, draw.clauses, clause, draw.lower, draw.upper, start, before, 1)
    np.testing.assert_allclose(values, fast_values, rtol=1e-6, atol=1e-9)
    assert (values <= before).all()
    assert ((fast >= draw.lower) & (fast <= draw.upper)).all()


@TWINS
def test_overflow_is_marked(kernels: object) -> None:
    huge = [(np.full((2, 2), 1e60), np.zeros(2), np.ones(2))] * 2
    work = fresh_work(-np.ones((1, 2)), np.ones((1, 2)), np.zeros((1, 4), np.int8), np.zeros(1, np.int64), np.ones(1, np.int64))
    clauses = Clauses(np.array([0, 1]), np.array([0]), np.zeros(1))
    kernels.examine(lay_out(huge), clauses, Effort(4, 2, True), work)  # type: ignore[attr-defined]
    assert np.isnan(work.value[0])
    assert work.open[0] == 1


def test_lines_are_tighter_than_forms_alone() -> None:
    """relu(x) on [-1, 1]: the form is x / 2 and more, so its bound is -1/2; the line of slope 0 gives 0."""
    net: Net = lay_out([(np.ones((1, 1)), np.zeros(1), np.zeros(1)), (np.ones((1, 1)), np.zeros(1), np.ones(1))])
    work = fresh_work(-np.ones((1, 1)), np.ones((1, 1)), np.zeros((1, 2), np.int8), np.zeros(1, np.int64), np.ones(1, np.int64))
    clauses = Clauses(np.array([0, 1]), np.array([0]), np.array([-0.01]))
    assert chain_reference.forward(layers(net), work.lower, work.upper, work.state.copy(), 2)[-1].low[0, 0] < -0.4
    chain_reference.examine(net, clauses, Effort(2, 0, False), work)
    assert work.open[0] | work.stuck[0] == 0
    assert 0.0 < work.margin[0] <= 0.01
