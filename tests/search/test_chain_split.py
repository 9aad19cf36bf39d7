"""Input splitting of chains: verdicts against the truth, hidden counterexamples, what it takes on, and what it does not depend on."""

from __future__ import annotations

import subprocess
import sys
import time
from math import inf
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from certify.graph import Graph, GraphBuilder
from certify.graph.evaluate import evaluate
from certify.io.vnnlib import read_vnnlib
from certify.kernels.chain import fresh_work
from certify.model import Model
from certify.search import chain_engine
from certify.search.chain import as_chain, chain_applies, is_chain
from certify.search.chain_boxes import Stack, clauses_of, halve
from certify.search.chain_split import split_chain
from certify.search.evidence import Keep
from certify.search.problem import tabulate
from certify.search.stage import Problem, Progress
from certify.specification import Specification
from tests.search.oracle import boxed, small_network, violation

SEEDS = st.integers(0, 10**6)
COMPILED = pytest.mark.parametrize("plain_boxes", [0, 10**9], ids=["compiled", "numpy"])


def search(model: Model, spec: Specification, seconds: float = 20.0, **settings_: object) -> Progress:
    problem = Problem(model, spec, tabulate(spec), time.monotonic() + seconds, **settings_)  # type: ignore[arg-type]
    return split_chain(problem, Progress(spec.nonempty(), np.full(len(spec.clauses), -inf)))


def verdict(progress: Progress) -> str:
    return "sat" if progress.witness is not None else "open" if progress.open.any() else "unsat"


def question(seed: int, clauses: int = 2) -> tuple[Model, Specification, list[float]]:
    """A random chain, clauses of up to three atoms on boxes of their own, and the least violation of each."""
    rng = np.random.default_rng(seed)
    inputs, outputs = int(rng.integers(1, 3)), int(rng.integers(2, 4))
    model = small_network(seed, (inputs, *rng.integers(2, 5, size=rng.integers(1, 3)).tolist(), outputs))
    lower = rng.normal(size=(clauses, inputs)).astype(np.float32).astype(float)
    upper = lower + rng.random((clauses, inputs)).astype(np.float32)
    atoms = []
    for k in range(clauses):
        y = evaluate(model.graph, lower[k].reshape(model.graph.input_shape)).ravel()
        rows = [rng.integers(-2, 3, size=outputs).astype(float) for _ in range(int(rng.integers(1, 4)))]
        atoms.append([(row, float(np.float32(row @ y + 0.3 * rng.normal()))) for row in rows])
    least = [
        violation(model.graph, lower[k], upper[k], np.array([row for row, _ in part]), np.array([rhs for _, rhs in part]))
        for k, part in enumerate(atoms)
    ]
    return model, boxed(lower, upper, atoms), least


@COMPILED
@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_verdicts_are_the_truth(plain_boxes: int, seed: int) -> None:
    model, spec, least = question(seed)
    assume(all(abs(value) > 1e-5 for value in least))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_engine, "_PLAIN_BOXES", plain_boxes)
        found = search(model, spec)
    assert verdict(found) == ("sat" if min(least) <= 0 else "unsat")
    assert not any(value <= 0 and not open_ for value, open_ in zip(least, found.open, strict=True))


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_chain_computes_what_its_graph_computes(seed: int) -> None:
    """Also with opposite ReLUs, of which one remains."""
    rng = np.random.default_rng(seed)
    graph = lattice(rng)
    layers = as_chain(graph).layers
    assert sum((slope == 0.0).sum() for _, _, slope in layers) == 1
    for _ in range(5):
        x = rng.normal(size=2)
        y = x
        for weight, bias, slope in layers:
            z = weight @ y + bias
            y = np.maximum(z, slope * z)
        np.testing.assert_allclose(y, evaluate(graph, x.reshape(1, 2)).ravel(), rtol=1e-12, atol=1e-12)


def lattice(rng: np.random.Generator) -> Graph:
    """max(a @ x, b @ x) as lattices write it: ((s)+ - (-s)+ + (d)+ + (-d)+) / 2 with the sum s and the difference d."""
    a, b = rng.normal(size=(2, 2)).astype(np.float32)
    rows = np.stack([a + b, -(a + b), a - b, b - a])
    builder = GraphBuilder()
    node = builder.add("linear", [builder.input("x", (1, 2))], {"weight": builder.constant("w", rows)})
    node = builder.add("relu", [node])
    half = builder.constant("v", np.array([[0.5, -0.5, 0.5, 0.5]], np.float32))
    return builder.build(builder.add("linear", [node], {"weight": half}))


def test_a_tiny_unsafe_region_is_never_excluded() -> None:
    """y = relu(1 - 1e6 |x - 1/3|_1) exceeds 1/2 within 5e-7 of one point only."""
    steep = np.float32(1e6)
    builder = GraphBuilder()
    node = builder.input("x", (1, 2))
    one = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    third = np.float32(1 / 3)
    bias = np.array([-third, third, -third, third], np.float32)
    node = builder.add("linear", [node], {"weight": builder.constant("w", one), "bias": builder.constant("b", bias)})
    node = builder.add("relu", [node])
    sum_ = {"weight": builder.constant("v", np.full((1, 4), -steep)), "bias": builder.constant("c", np.ones(1, np.float32))}
    node = builder.add("relu", [builder.add("linear", [node], sum_)])
    model = Model(builder.build(node))
    box = " ".join(f"(declare-const X_{i} Real)(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(2))
    hidden = read_vnnlib(f"{box}(declare-const Y_0 Real)(assert (>= Y_0 0.5))")
    assert verdict(search(model, hidden)) == "sat"
    assert verdict(search(model, hidden, seconds=0.0)) == "open"
    impossible = read_vnnlib(f"{box}(declare-const Y_0 Real)(assert (>= Y_0 1.001))")
    assert verdict(search(model, impossible)) == "unsat"


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_verdicts_and_witnesses_do_not_depend_on_threads(seed: int) -> None:
    model, spec, _ = question(seed)
    found = []
    for threads in ("1", "3"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", threads)
            patch.setattr(chain_engine, "_PLAIN_LEAST", 1)
            found.append(search(model, spec))
    assert verdict(found[0]) == verdict(found[1])
    np.testing.assert_array_equal(found[0].open, found[1].open)
    if found[0].witness is not None and found[1].witness is not None:
        np.testing.assert_allclose(found[0].witness.x, found[1].witness.x, atol=1e-6)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_recorded_boxes_cover_the_input_set(seed: int) -> None:
    model, spec, least = question(seed, clauses=1)
    assume(least[0] > 1e-3)
    kept = Keep()
    search(model, spec, evidence=kept)
    lower, upper = (np.concatenate([part.data[end] for part in kept.closed]) for end in ("lower", "upper"))
    start, end = spec.inputs.outward()  # type: ignore[union-attr]
    assert np.isclose(np.prod(upper - lower, axis=1).sum(), np.prod(end - start))
    points = start[0] + np.random.default_rng(seed).random((100, lower.shape[1])) * (end - start)[0]
    assert ((points[:, None] >= lower) & (points[:, None] <= upper)).all(axis=2).any(axis=1).all()


@given(SEEDS, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_halves_cover_their_box_and_come_back_from_the_stack(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.normal(size=(count, 3))
    root, mask = rng.integers(5, size=count), rng.integers(1, 8, size=count)
    work = fresh_work(lower, lower + rng.random((count, 3)), np.zeros((count, 2), np.int8), root, mask)
    work.axis[:] = rng.integers(3, size=count)
    left, right = halve(work)
    stack = Stack(3, 2)
    for half in (left, right):
        stack.push(half)
    expected = sorted(_bits(root, mask))
    assert clauses_of(*stack.rest()).tolist() == expected
    back = stack.pop(count)
    np.testing.assert_array_equal(back.lower, right.lower)
    assert len(stack) == count
    rows = np.arange(count)
    np.testing.assert_array_equal(left.upper[rows, work.axis], right.lower[rows, work.axis])
    np.testing.assert_array_equal(left.lower, work.lower)
    np.testing.assert_array_equal(right.upper, work.upper)


def _bits(root: np.ndarray, mask: np.ndarray) -> set[int]:
    return {int(r) + bit for r, m in zip(root, mask, strict=True) for bit in range(3) if m >> bit & 1}


def test_it_takes_chains_of_affine_maps_and_activations_only() -> None:
    model = small_network(0, (2, 3, 2))
    assert is_chain(model.graph)
    assert not is_chain(small_network(0, (2, 4, 2), "max").graph)
    spec = boxed(np.zeros((1, 2)), np.ones((1, 2)), [[(np.array([1.0, 0.0]), 0.0)]])
    assert chain_applies(model.graph, spec)
    declared = "".join(f"(declare-const {name}_{i} Real)" for name in "XY" for i in range(2))
    box = "".join(f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(2))
    for condition in ("(assert (<= Y_0 X_0))", "(assert (<= (* 0.12345678901234567 Y_0) (* 0.98765432109876543 Y_1)))", ""):
        assert not chain_applies(model.graph, read_vnnlib(declared + box + condition))


def test_the_command_line_settles_a_chain_without_torch(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    weight = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    ends = [helper.make_tensor_value_info(name, 1, [1, 2]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    declared = "".join(f"(declare-const {name}_{i} Real)" for name in "XY" for i in range(2))
    box = "".join(f"(assert (>= X_{i} 0))(assert (<= X_{i} 1))" for i in range(2))
    (tmp_path / "p.vnnlib").write_text(declared + box + "(assert (>= Y_0 2.1))")
    code = (
        "import sys; from certify.cli.main import main; main(sys.argv[1:]); print(sorted({'torch', 'numba'} & sys.modules.keys()))"
    )
    arguments = ["verify", str(tmp_path / "m.onnx"), str(tmp_path / "p.vnnlib")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["unsat", "[]"]
