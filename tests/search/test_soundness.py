"""The whole search never says what is not so: on networks whose truth is known, on hidden counterexamples, cut short at any moment.

Stages are run by themselves, and the verifier with every method. The truth comes from `oracle`, which knows nothing of the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from certify.graph import GraphBuilder
from certify.io.load import load
from certify.io.vnnlib import read_vnnlib
from certify.io.witness import replay
from certify.model import Model
from certify.search.plan import METHODS
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.search.verify import verify
from certify.specification import Specification
from tests.search.oracle import Array, boxed, small_network, violation


@dataclass(frozen=True)
class Way:
    """A stage, and the problems it is for."""

    module: str
    function: str
    applies: Callable[[Any, Problem], bool]

    def run(self, problem: Problem) -> Progress | None:
        """What the stage finds out, from nothing; None where it is for other problems."""
        home = import_module(f"certify.search.{self.module}")
        if not self.applies(home, problem):
            return None
        start = Progress(problem.spec.nonempty(), np.full(len(problem.spec.clauses), -inf))
        return getattr(home, self.function)(problem, start)


WAYS = {
    "linear programs": Way("lp_split", "split_by_lp", lambda home, problem: home.small(problem)),
    "inputs": Way("input_split", "split_inputs", lambda home, problem: home.few_inputs(problem)),
    "chain": Way("chain_split", "split_chain", lambda home, problem: home.chain_applies(problem.model.graph, problem.spec)),
    "neurons": Way("neuron_split", "split_neurons", lambda home, problem: home.splittable(problem.model.graph)),
}
PRESENT = [name for name, way in WAYS.items() if find_spec(f"certify.search.{way.module}")]


def answer(name: str, model: Model, spec: Specification, timeout: float = 3.0) -> str | None:
    """The verdict of a stage or, for a name of `METHODS` or "auto", of the verifier; every witness is replayed here."""
    if name in WAYS:
        bound = spec.bind(model.graph.input_shape, model.graph.output_shape)
        progress = WAYS[name].run(Problem(model, bound, tabulate(bound), time.monotonic() + timeout))
        if progress is None:
            return None
        witness = progress.witness
        verdict = "sat" if witness is not None else "unknown" if progress.open.any() else "unsat"
    else:
        result = verify(model, spec, method=name, timeout=timeout)
        verdict, witness = result.verdict, result.witness
    assert (witness is not None) == (verdict == "sat")
    assert witness is None or replay(model, spec, witness.x).ok
    return verdict


@dataclass(frozen=True)
class Known:
    """A question with a known answer: clauses that miss being satisfiable by `gaps`, or are so by as much where negative."""

    model: Model
    lower: Array
    upper: Array
    clauses: tuple[tuple[tuple[Array, float], ...], ...]
    truth: str
    strict: bool = False

    @property
    def spec(self) -> Specification:
        """The specification."""
        return boxed(self.lower, self.upper, self.clauses, self.strict)


GAPS = (-0.1, -1e-3, 1e-4, 1e-3, 1e-2, 0.1)


@st.composite
def known(draw: st.DrawFn, activations: tuple[str, ...] = ("relu", "leaky_relu", "max", "clip")) -> Known:
    """Conjunctions of comparisons of outputs, in a disjunction over one or two boxes, with thresholds next to the true optimum."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    inputs, boxes = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    model = small_network(
        int(rng.integers(10**6)), (inputs, *rng.integers(2, 5, 2).tolist(), 3), draw(st.sampled_from(activations))
    )
    lower = rng.normal(size=(boxes, inputs)).astype(np.float32).astype(np.float64)
    upper = lower + rng.random((boxes, inputs)).astype(np.float32)
    gaps = draw(st.lists(st.sampled_from(GAPS), min_size=1, max_size=3))
    clauses = []
    for k, gap in enumerate(gaps):
        rows = rng.integers(-2, 3, (int(rng.integers(1, 3)), 3)).astype(np.float64)
        least = violation(model.graph, lower[k % boxes], upper[k % boxes], rows, np.zeros(len(rows)))
        clauses.append(tuple((row, least - gap) for row in rows))
    return Known(model, lower, upper, tuple(clauses), "sat" if min(gaps) < 0 else "unsat", draw(st.booleans()))


@pytest.mark.parametrize("name", [*PRESENT, "auto", *METHODS])
@settings(max_examples=15)
@given(question=known())
def test_verdicts_agree_with_the_visit_of_all_affine_pieces(name: str, question: Known) -> None:
    assert answer(name, question.model, question.spec) in (None, question.truth, "unknown", "timed-out")


@settings(max_examples=15)
@given(question=known())
def test_linear_programs_decide_every_small_piecewise_linear_network(question: Known) -> None:
    assert answer("linear programs", question.model, question.spec) == question.truth


@pytest.mark.parametrize("name", [*PRESENT, "auto"])
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), gap=st.sampled_from([-0.05, 0.05]))
def test_verdicts_on_sigmoid_networks_agree_with_a_fine_grid(name: str, seed: int, gap: float) -> None:
    model = small_network(seed, (1, 4, 4, 2), "sigmoid")
    x = np.linspace(-1, 1, 20001)
    y = model.program(torch.float64).evaluate(torch.from_numpy(x).reshape(-1, 1, 1)).reshape(len(x), 2).numpy()
    margin = y[:, 0] - y[:, 1]
    weights = [value for key, value in model.program(torch.float64).constants.items() if key.startswith("w")]
    steepest = float(np.prod([np.linalg.norm(w.numpy(), 2) for w in weights])) * 2**0.5 / 16  # sigmoid's slope is at most 1/4
    assume(steepest * (x[1] - x[0]) < abs(gap) / 2)
    spec = boxed(-np.ones((1, 1)), np.ones((1, 1)), [[(np.array([1.0, -1.0]), float(margin.min()) - gap)]])
    assert answer(name, model, spec) in (None, "unsat" if gap > 0 else "sat", "unknown", "timed-out")


def spike(seed: int, inputs: int, width: float) -> tuple[Model, Array]:
    """A random ReLU network plus a spike of height 2 around a hidden point, which is returned: flat everywhere else.

    The spike is relu(2 - sum_i |x_i - p_i| * 2 / width), its |.| made of two ReLU; the random part stays below 1 / 2.
    """
    rng, builder = np.random.default_rng(seed), GraphBuilder()
    hidden = rng.integers(-500, 500, inputs) / 512
    x = builder.input("x", (1, inputs))

    def linear(node: str, weight: Array, bias: Array) -> str:
        constants = {
            "weight": builder.constant("w", weight.astype(np.float32)),
            "bias": builder.constant("b", bias.astype(np.float32)),
        }
        return builder.add("linear", [node], constants)

    noise = rng.normal(size=(6, inputs))
    identity = np.eye(inputs)
    first = builder.add(
        "relu", [linear(x, np.vstack([identity, -identity, noise]), np.concatenate([-hidden, hidden, rng.normal(size=6)]))]
    )
    mixing = rng.normal(size=(4, 6)) / 8
    steep = np.hstack([np.full((1, 2 * inputs), -2 / width), np.zeros((1, 6))])
    mixed = np.hstack([np.zeros((4, 2 * inputs)), mixing])
    second = builder.add("relu", [linear(first, np.vstack([steep, mixed]), np.array([2.0, 0, 0, 0, 0]))])
    rest = rng.normal(size=4)
    rest *= 0.5 / (np.abs(rest).sum() * 6 * (np.abs(noise).sum() + 6) / 8)
    return Model(builder.build(linear(second, np.append(1.0, rest)[None], np.zeros(1)))), hidden


@pytest.mark.parametrize("name", [*PRESENT, "auto", *METHODS])
@pytest.mark.parametrize(("inputs", "width"), [(1, 1e-5), (2, 1e-3), (3, 1e-2), (8, 1e-2)])
def test_a_hidden_counterexample_is_never_proved_away(name: str, inputs: int, width: float) -> None:
    model, hidden = spike(inputs, inputs, width)
    spec = boxed(-np.ones((1, inputs)), np.ones((1, inputs)), [[(-np.ones(1), -1.0)]])
    assert replay(model, spec, hidden).ok
    assert answer(name, model, spec, timeout=1.5) != "unsat"


@pytest.mark.parametrize("inputs", [1, 2, 3, 8])
def test_linear_programs_find_hidden_counterexamples(inputs: int) -> None:
    model, _ = spike(inputs, inputs, 1e-3)
    spec = boxed(-np.ones((1, inputs)), np.ones((1, inputs)), [[(-np.ones(1), -1.0)]])
    assert answer("linear programs", model, spec, timeout=10.0) == "sat"


@pytest.mark.parametrize("name", [*PRESENT, "auto"])
@settings(max_examples=5)
@given(question=known(), seed=st.integers(0, 100))
def test_the_order_of_clauses_decides_nothing(name: str, question: Known, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(question.clauses))
    spec = question.spec
    shuffled = replace(spec, clauses=tuple(spec.clauses[k] for k in order))
    first, second = (answer(name, question.model, s) for s in (spec, shuffled))
    assert {first, second} <= {None, question.truth, "unknown", "timed-out"}
    if name == "linear programs":
        assert first == second


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of torch's threads back afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", PRESENT)
def test_the_number_of_threads_decides_nothing(name: str) -> None:
    for seed in range(3):
        model = small_network(seed, (2, 5, 4, 3))
        rows = np.array([[1.0, -1.0, 0.0]])
        least = violation(model.graph, -np.ones(2), np.ones(2), rows, np.zeros(1))
        for gap in (-0.01, 0.01):
            spec = boxed(-np.ones((1, 2)), np.ones((1, 2)), [[(rows[0], least - gap)]])
            verdicts = []
            for number in (1, 2):
                torch.set_num_threads(number)
                verdicts.append(answer(name, model, spec, timeout=10.0))
            assert verdicts[0] == verdicts[1]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_size_of_batches_decides_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certify.search.lp_split._BATCH", size)
    for seed in range(3):
        model = small_network(seed, (2, 5, 4, 3))
        rows = np.array([[1.0, -1.0, 0.0]])
        least = violation(model.graph, -np.ones(2), np.ones(2), rows, np.zeros(1))
        for gap, truth in ((-0.01, "sat"), (0.01, "unsat")):
            spec = boxed(-np.ones((1, 2)), np.ones((1, 2)), [[(rows[0], least - gap)]])
            assert answer("linear programs", model, spec) == truth


@pytest.mark.parametrize("name", [*PRESENT, "auto"])
@settings(max_examples=10)
@given(question=known(("relu", "max")), timeout=st.floats(0.0, 0.1))
def test_cut_short_at_any_moment_a_search_says_nothing_wrong(name: str, question: Known, timeout: float) -> None:
    started = time.monotonic()
    assert answer(name, question.model, question.spec, timeout) in (None, question.truth, "unknown", "timed-out")
    assert time.monotonic() - started < timeout + 10  # seconds, on a machine that is busy


def test_the_least_representable_margins_are_told_apart() -> None:
    """y = x on [0, 1]: y >= 1 is satisfied, y > 1 is not, and neither is y >= the next number."""
    builder = GraphBuilder()
    model = Model(builder.build(builder.add("relu", [builder.input("x", (1, 1))])))
    row, box = -np.ones(1), (np.zeros((1, 1)), np.ones((1, 1)))
    for name in [*PRESENT, "auto"]:
        assert answer(name, model, boxed(*box, [[(row, -1.0)]])) in (None, "sat", "unknown")
        assert answer(name, model, boxed(*box, [[(row, -1.0)]], strict=True)) in (None, "unsat", "unknown")
        assert answer(name, model, boxed(*box, [[(row, float(np.nextafter(-1.0, -2)))]])) in (None, "unsat", "unknown")


DECLARED = "(declare-const X_0 Real)(declare-const Y_0 Real)"
BOX = "(assert (>= X_0 0))(assert (<= X_0 1))"


@pytest.mark.parametrize(
    "text",
    [
        "(",
        DECLARED + BOX + "(assert (<= Y_0 1)",
        DECLARED + BOX + "(assert (<= Y_1 1))",
        DECLARED + "(assert (<= Y_0 1))",
        DECLARED + BOX + "(assert (<= (* Y_0 Y_0) 1))",
        DECLARED + BOX + "(assert (<= Y_0 one))",
        DECLARED + BOX + "(assert (=> Y_0 1))",
    ],
)
def test_a_malformed_property_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        verify(small_network(0, (1, 2, 1)), read_vnnlib(text), timeout=1.0)


@pytest.mark.parametrize("content", [b"", b"no network", bytes(range(256))])
def test_a_malformed_model_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        load(path)
