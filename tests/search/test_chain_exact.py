"""Input splitting of chains against rational arithmetic: hostile weights and boxes, thresholds at, above and below the exact optimum."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.io.witness import replay
from certify.kernels import chain_cpu, chain_reference
from certify.kernels.chain import LARGEST, Clauses, Effort, Layer, Work, fresh_work, lay_out
from certify.model import Model
from certify.search import chain_engine
from certify.search.chain_split import split_chain
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.search.verify import verify
from certify.specification import Boxes, Clause, Rationals, Specification, atom
from certify.specification.specification import flat_declaration
from tests.search.exact import fractions, least_violation
from tests.search.oracle import boxed

SEEDS = st.integers(0, 10**6)
TWINS = pytest.mark.parametrize("kernels", [chain_reference, chain_cpu], ids=["numpy", "compiled"])

WEIGHTS = {
    "plain": lambda rng, shape: rng.normal(size=shape),
    "integers": lambda rng, shape: rng.integers(-3, 4, size=shape).astype(float),
    "any size": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-30, 31, size=shape),
    "immense": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-150, 151, size=shape),
    "subnormal": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.integers(-323, -290, size=shape),
    "zeros": lambda rng, shape: np.where(rng.random(shape) < 0.6, -0.0, rng.normal(size=shape)),
    "repeated": lambda rng, shape: rng.choice([-1.0, 0.0, 1.0, 2.0], size=shape) * rng.normal(size=shape[-1:]),
    "cancelling": lambda rng, shape: rng.choice([-1e16, -1.0, 1.0, 1e16], size=shape) + rng.integers(-2, 3, size=shape),
}

BOXES = {
    "wide": lambda rng, lower: lower + rng.random(lower.shape),
    "a point": lambda rng, lower: lower.copy(),
    "the least there is": lambda rng, lower: np.nextafter(lower, inf),
    "narrow": lambda rng, lower: lower + rng.random(lower.shape) * 10.0 ** rng.integers(-18, 1, size=lower.shape),
    "subnormal": lambda rng, lower: lower + rng.random(lower.shape) * 1e-310,
    "immense": lambda rng, lower: lower + rng.random(lower.shape) * 1e30,
}


def hostile_layers(rng: np.random.Generator, families: list[str]) -> list[Layer]:
    """A chain of one or two inputs; the last layer has no activation."""
    hidden = rng.integers(1, 5, size=rng.integers(1, 3)).tolist()
    sizes = [int(rng.integers(1, 3)), *hidden, int(rng.integers(1, 3))]
    made = []
    for k, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        draw = WEIGHTS[families[k % len(families)]]
        slope = 1.0 if k == len(hidden) else float(rng.choice([0.0, 0.0, 0.25]))
        made.append((draw(rng, (fan_out, fan_in)), draw(rng, (fan_out,)), np.full(fan_out, slope)))
    return made


@dataclass(frozen=True)
class Case:
    """One clause `values of some rows <= rhs` on one box, and the least violation of it there."""

    layers: list[Layer]
    lower: np.ndarray
    upper: np.ndarray
    rows: np.ndarray
    rhs: np.ndarray
    least: Fraction

    def examined(self, kernels: object, effort: Effort) -> Work:
        """What a kernel finds out about the box."""
        net = lay_out(self.layers)
        state = np.zeros((1, len(net.bias)), np.int8)
        work = fresh_work(self.lower[None].copy(), self.upper[None].copy(), state, np.zeros(1, np.int64), np.ones(1, np.int64))
        clauses = Clauses(np.array([0, len(self.rhs)]), self.rows.astype(np.int64), self.rhs)
        kernels.examine(net, clauses, effort, work)  # type: ignore[attr-defined]
        return work

    def least_in(self, lower: np.ndarray, upper: np.ndarray) -> tuple[Fraction, tuple[Fraction, ...]]:
        """The least violation in a part of the box, and where it is."""
        unit = np.eye(len(self.layers[-1][1]))[self.rows]
        return least_violation(self.layers, lower, upper, unit, fractions(self.rhs))


@st.composite
def cases(draw: st.DrawFn, weights: list[str], boxes: list[str], shifts: list[Fraction]) -> Case:
    """Right-hand sides are moved together, to next to where the clause begins to be satisfied: by one of the shifts, relative."""
    rng = np.random.default_rng(draw(SEEDS))
    layers = hostile_layers(rng, draw(st.lists(st.sampled_from(weights), min_size=1, max_size=3)))
    lower = draw(st.sampled_from([0.0, 1.0, 1e-310, 1e8])) * rng.normal(size=layers[0][0].shape[1])
    upper = BOXES[draw(st.sampled_from(boxes))](rng, lower)
    rows = rng.integers(len(layers[-1][1]), size=int(rng.integers(1, 4)))
    rhs = np.zeros(len(rows)) if draw(st.booleans()) else rng.normal(size=len(rows))
    case = Case(layers, lower, upper, rows, rhs, Fraction(0))
    optimum = case.least_in(lower, upper)[0]
    away = optimum + draw(st.sampled_from(shifts)) * abs(optimum)
    moved = [right + away for right in fractions(rhs)]
    assume(all(abs(right) < 10**300 for right in moved))
    nearby = Case(layers, lower, upper, rows, np.array([float(right) for right in moved]), Fraction(0))
    return Case(layers, lower, upper, rows, nearby.rhs, nearby.least_in(lower, upper)[0])


HOSTILE = cases(sorted(WEIGHTS), sorted(BOXES), [sign * Fraction(1, 10**k) for k in range(5, 19) for sign in (-1, 0, 1)])


@TWINS
@given(HOSTILE, st.sampled_from([1, 64]), st.integers(0, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_box_with_a_counterexample_is_excluded(kernels: object, case: Case, symbols: int, steps: int, clip: bool) -> None:
    work = case.examined(kernels, Effort(symbols, steps, clip))
    if not (work.open[0] | work.stuck[0]):
        assert case.least > 0
        assert Fraction(float(np.nextafter(work.margin[0], -inf))) <= case.least
    if np.isnan(work.value[0]):
        assert work.open[0] == 1


@TWINS
@given(cases(["plain", "integers", "repeated"], ["wide", "narrow"], [Fraction(1, 10**k) for k in range(1, 6)]), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_is_cut_off_holds_no_counterexample(kernels: object, case: Case, steps: int) -> None:
    """But for those in the face that it shares with what is left."""
    work = case.examined(kernels, Effort(64, steps, True))
    assume(work.open[0])
    left, right = work.lower[0], work.upper[0]
    assert ((case.lower <= left) & (left <= right) & (right <= case.upper)).all()
    for i in range(len(left)):
        for start, end, face in ((case.lower[i], left[i], left[i]), (right[i], case.upper[i], right[i])):
            if start < end:
                lower, upper = case.lower.copy(), case.upper.copy()
                lower[i], upper[i] = start, end
                least, point = case.least_in(lower, upper)
                assert least > 0 or point[i] == Fraction(float(face))


@TWINS
@given(HOSTILE)
@settings(max_examples=40, deadline=None)
def test_neurons_that_are_called_stable_are(kernels: object, case: Case) -> None:
    state = case.examined(kernels, Effort(64, 0, False)).state[0]
    first = 0
    for k, (weight, bias, _) in enumerate(case.layers[:-1]):
        for i in np.flatnonzero(state[first : first + len(bias)]):
            neuron = (weight[i : i + 1], bias[i : i + 1], np.ones(1))
            sign = np.array([[float(state[first + i])]])
            assert least_violation([*case.layers[:k], neuron], case.lower, case.upper, sign, [Fraction(0)])[0] >= 0
        first += len(bias)


@TWINS
def test_coefficients_that_underflow_before_immense_inputs_exclude_nothing(kernels: object) -> None:
    """y = 1e-12 relu(1e-308 x) on [1e307, 1e308]: the coefficient of x is 1e-320, of which float64 knows three digits."""
    for tail in np.linspace(1.0, 1.001, 20):
        layers = [(np.array([[1e-308]]), np.zeros(1), np.zeros(1)), (np.array([[tail * 1e-12]]), np.zeros(1), np.ones(1))]
        lower, upper = np.array([1e307]), np.array([1e308])
        least = least_violation(layers, lower, upper, np.ones((1, 1)), [Fraction(0)])[0]
        rhs = np.array([np.nextafter(float(least), inf)])
        work = Case(layers, lower, upper, np.array([0]), rhs, Fraction(0)).examined(kernels, Effort(4, 2, True))
        assert work.open[0] | work.stuck[0]


# --- the search ---------------------------------------------------------------------------------------------------------------


def network(layers: list[Layer]) -> Model:
    """The layers as a graph; slope 0.25 and 0 are activations."""
    builder = GraphBuilder()
    node = builder.input("x", (1, layers[0][0].shape[1]))
    for weight, bias, slope in layers:
        node = builder.add("linear", [node], {"weight": builder.constant("w", weight), "bias": builder.constant("b", bias)})
        if slope[0] < 1.0:
            node = builder.add("leaky_relu", [node], attrs={"slope": float(slope[0])})
    return Model(builder.build(node))


@dataclass(frozen=True)
class Asked:
    """A model, clauses on boxes of their own, and the least violation of each."""

    model: Model
    spec: Specification
    strict: bool
    least: list[Fraction]

    @property
    def satisfiable(self) -> list[bool]:
        """Of each clause, in real arithmetic."""
        return [value < 0 if self.strict else value <= 0 for value in self.least]


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    """Right-hand sides are rational numbers: at the optimum, and next to it."""
    rng = np.random.default_rng(draw(SEEDS))
    families = draw(st.lists(st.sampled_from(["plain", "integers", "zeros", "repeated", "cancelling"]), min_size=1, max_size=3))
    layers = [tuple(part.astype(np.float32).astype(float) for part in layer) for layer in hostile_layers(rng, families)]
    boxes, strict = int(rng.integers(1, 3)), draw(st.booleans())
    lower = rng.normal(size=(boxes, layers[0][0].shape[1])).astype(np.float32).astype(float)
    upper = np.stack([BOXES[draw(st.sampled_from(["wide", "a point", "narrow"]))](rng, end) for end in lower])
    clauses, least = [], []
    for k in range(draw(st.integers(1, 3))):
        rows = rng.integers(-2, 3, size=(int(rng.integers(1, 4)), len(layers[-1][1]))).astype(float)
        optimum = least_violation(layers, lower[k % boxes], upper[k % boxes], rows, [Fraction(0)] * len(rows))[0]
        away = draw(st.sampled_from([0, 0, 1, -1, -1])) * max(abs(optimum), Fraction(1)) / 10 ** draw(st.integers(2, 18))
        atoms = tuple(atom({i: Fraction(float(c)) for i, c in enumerate(row)}, {}, optimum + away, strict) for row in rows)
        clauses.append(Clause(k % boxes, atoms))
        least.append(-away)
    inputs = Boxes(Rationals.of_floats(lower), Rationals.of_floats(upper))
    outputs = len(layers[-1][1])
    return Asked(
        network(layers), Specification(inputs, tuple(clauses), outputs, flat_declaration(lower.shape[1], outputs)), strict, least
    )


def search(asked: Asked, seconds: float) -> Progress:
    problem = Problem(asked.model, asked.spec, tabulate(asked.spec), time.monotonic() + seconds)
    return split_chain(problem, Progress(asked.spec.nonempty(), np.full(len(asked.spec.clauses), -inf)))


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("plain_boxes", [0, 10**9], ids=["compiled", "numpy"])
@given(questions())
@settings(max_examples=20, deadline=None)
def test_no_clause_that_some_point_satisfies_is_closed(plain_boxes: int, threads: str, asked: Asked) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", threads)
        patch.setattr(chain_engine, "_PLAIN_BOXES", plain_boxes)
        patch.setattr(chain_engine, "_PLAIN_LEAST", 1)
        found = search(asked, 0.1)
    assert not any(satisfiable and not open_ for satisfiable, open_ in zip(asked.satisfiable, found.open, strict=True))
    assert found.witness is None or replay(asked.model, asked.spec, found.witness.x).ok


@given(questions())
@settings(max_examples=20, deadline=None)
def test_the_verifier_says_unsat_only_where_it_is(asked: Asked) -> None:
    result = verify(asked.model, asked.spec, timeout=0.5)
    assert result.verdict != "unsat" or not any(asked.satisfiable)


ONE = (np.ones((1, 1)), np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("bad", [np.nan, inf, -inf])
@pytest.mark.parametrize("heavy", [0.0, 1.0])
def test_weights_that_are_no_numbers_are_refused_even_where_nothing_reads_them(bad: float, heavy: float) -> None:
    first = (np.array([[bad], [1.0]]), np.zeros(2), np.zeros(2))
    spec = boxed(-np.ones((1, 1)), np.ones((1, 1)), [[(np.ones(1), -0.1)]])
    with pytest.raises(ValueError, match="NaN or infinite"):
        verify(network([first, (np.array([[heavy, 1.0]]), np.zeros(1), np.ones(1))]), spec, timeout=5.0)


def test_an_output_that_overflows_in_float32_is_no_witness() -> None:
    """In real arithmetic it would be one."""
    model = network([(np.full((1, 1), 1e30), np.zeros(1), np.zeros(1)), (np.full((1, 1), 1e30), np.zeros(1), np.ones(1))])
    spec = boxed(np.ones((1, 1)), np.full((1, 1), 2.0), [[(-np.ones(1), -1e50)]])
    assert not replay(model, spec, np.full(1, 1.5)).ok
    found = search(Asked(model, spec, False, []), 1.0)
    assert found.open.all()
    assert found.witness is None


def test_values_beyond_the_range_of_the_proof_are_an_error() -> None:
    model = network([(np.full((1, 1), 10 * LARGEST), np.zeros(1), np.zeros(1)), (np.ones((1, 1)), np.zeros(1), np.ones(1))])
    with pytest.raises(ValueError, match="overflow"):
        verify(model, boxed(np.ones((1, 1)), np.full((1, 1), 2.0), [[(np.ones(1), -1.0)]]), timeout=3.0)


@pytest.mark.parametrize("clauses", [63, 300])
def test_of_many_clauses_on_one_box_the_one_that_is_satisfied_stays_open(clauses: int) -> None:
    """More than fit into the bits of one box; y = relu(x) on [-1, 1]."""
    model = network([ONE, (np.ones((1, 1)), np.zeros(1), np.ones(1))])
    for hidden in (0, 61, 62, clauses - 1):
        atoms = [[(np.ones(1), 0.25 if k == hidden else -0.25 - k)] for k in range(clauses)]
        spec = boxed(-np.ones((1, 1)), np.ones((1, 1)), atoms)
        found = search(Asked(model, spec, False, []), 10.0)
        assert np.flatnonzero(found.open).tolist() == [hidden]
        assert found.witness is not None
    unsafe = boxed(-np.ones((1, 1)), np.ones((1, 1)), [[(np.ones(1), -0.25 - k)] for k in range(clauses)])
    assert not search(Asked(model, unsafe, False, []), 10.0).open.any()


def test_of_many_boxes_the_one_that_holds_a_counterexample_stays_open() -> None:
    model = network([ONE, (np.ones((1, 1)), np.zeros(1), np.ones(1))])
    ends = np.linspace(-1, 1, 2001)[:, None]
    atoms = [[(-np.ones(1), -1.0 if k == 1999 else -1.5)] for k in range(2000)]
    found = search(Asked(model, boxed(ends[:-1], ends[1:], atoms), False, []), 10.0)
    assert 1999 in np.flatnonzero(found.open)
    assert found.witness is not None
