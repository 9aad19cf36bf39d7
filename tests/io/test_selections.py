"""Selections by a comparison: those that are continuous have a rule, the others are refused, whatever onnxruntime does at ties."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from certify.graph import GraphError
from certify.graph.evaluate import evaluate
from certify.io.onnx import read_onnx

NUMBERS = st.integers(-6, 6).map(lambda n: n / 4)
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


ATTRIBUTES = {"Cast": {"to": 1}, "Concat": {"axis": 1}}


def model_of(*nodes: tuple[str, str, str], shape: tuple[int, ...] = (1, 9), **constants: object) -> ModelProto:
    """Nodes (operator, inputs, output) that turn x into y."""
    made = [helper.make_node(op, inputs.split(), [out], **ATTRIBUTES.get(op, {})) for op, inputs, out in nodes]
    fixed = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], fixed)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def assert_as_onnxruntime(model: ModelProto, x: np.ndarray) -> None:
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    np.testing.assert_allclose(evaluate(read_onnx(model), x.astype(np.float64)), wanted, rtol=1e-6, atol=1e-6)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(COMPARISONS), st.booleans())
def test_two_lines_have_a_rule_exactly_where_they_meet(
    t: float, a: float, b: float, c: float, d: float, op: str, meet: bool
) -> None:
    """where(x > t, a x + b, c x + d), with d such that the lines meet at t, or any d."""
    d = (a - c) * t + b if meet else d
    lines = [("Mul", "x a", "ax"), ("Add", "ax b", "p"), ("Mul", "x c", "cx"), ("Add", "cx d", "q")]
    numbers = {name: np.float32(value) for name, value in zip("tabcd", (t, a, b, c, d), strict=True)}
    model = model_of((op, "x t", "on"), *lines, ("Where", "on p q", "y"), **numbers)
    if a * t + b == c * t + d:
        assert_as_onnxruntime(model, np.array([[t, t - 1, t + 1, t + 0.25, t - 0.25, 0, -9, 9, 1e6]], np.float32))
    else:
        with pytest.raises(GraphError, match="selects by a comparison"):
            read_onnx(model)


@pytest.mark.parametrize("op", COMPARISONS)
def test_a_clip_of_two_selections_has_a_rule(op: str) -> None:
    greater = op.startswith("Greater")
    inner = ("Where", "low x zero" if greater else "low zero x", "r")
    outer = ("Where", "high six r" if greater else "high r six", "y")
    model = model_of((op, "x zero", "low"), inner, (op, "x six", "high"), outer, zero=np.float32(0), six=np.float32(6))
    assert_as_onnxruntime(model, np.array([[-1, 0, 3, 6, 7, -0.0, 1e9, -1e9, 5.5]], np.float32))


def test_a_comparison_as_a_mask_has_a_rule_where_the_product_is_continuous() -> None:
    nodes = [("Greater", "x t", "on"), ("Cast", "on", "mask"), ("Sub", "x t", "d"), ("Mul", "mask d", "y")]
    assert_as_onnxruntime(model_of(*nodes, t=np.float32(0.3)), np.linspace(-1, 1, 9, dtype=np.float32)[None])
    with pytest.raises(GraphError, match="selects by a comparison"):
        read_onnx(model_of(*nodes[:2], ("Mul", "mask x", "y"), t=np.float32(0.3)))


def test_lines_that_miss_each_other_by_one_unit_of_rounding_do_not_meet() -> None:
    t = np.float32(0.1)
    nodes = [("Greater", "x t", "on"), ("Sub", "x u", "d"), ("Where", "on d zero", "y")]
    read_onnx(model_of(*nodes, t=t, u=t, zero=np.float32(0)))
    with pytest.raises(GraphError, match="selects by a comparison"):
        read_onnx(model_of(*nodes, t=t, u=np.nextafter(t, np.float32(1)), zero=np.float32(0)))


@pytest.mark.parametrize("nodes", [[("Greater", "x zero", "y")], [("Greater", "x zero", "on"), ("Cast", "on", "y")]])
def test_a_comparison_alone_is_refused(nodes: list[tuple[str, str, str]]) -> None:
    with pytest.raises(GraphError, match="a comparison of what depends"):
        read_onnx(model_of(*nodes, zero=np.float32(0)))


# --- programs of them -----------------------------------------------------------------------------------------------------------


def program(random: np.random.Generator) -> ModelProto:
    """A few operators at random, most of which compare and choose; numbers are quarters, so that ties are met and nothing rounds."""
    names, nodes, constants = ["x"], [], {}

    def operand() -> str:
        if random.random() < 0.6:
            return str(random.choice(names))
        constants[f"k{len(constants)}"] = np.float32(random.choice([0, 1, -1, 0.5, 2, -2, 0.25]))
        return f"k{len(constants) - 1}"

    for i in range(int(random.integers(1, 6))):
        op, x, (a, b, p, q) = (
            str(random.choice(["Relu", "Add", "Sub", "Max", "Where", "Where", "Where"])),
            names[-1],
            [operand() for _ in range(4)],
        )
        if op == "Where":
            p, q = ((a, x), (x, b), (a, b), (b, a), (p, q))[int(random.integers(5))]
            nodes += [(str(random.choice(COMPARISONS)), f"{x} {b}", f"c{i}"), ("Where", f"c{i} {p} {q}", f"n{i}")]
        else:
            nodes.append((op, x if op == "Relu" else f"{x} {b}", f"n{i}"))
        names.append(f"n{i}")
    return model_of(*nodes, ("Identity", names[-1], "y"), **constants)


def refusal(model: ModelProto) -> str:
    """Why a model is refused, or nothing."""
    try:
        read_onnx(model)
    except GraphError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_programs_that_have_a_rule_compute_what_onnxruntime_computes_at_ties_too(first: int) -> None:
    loaded = 0
    for seed in range(first, first + 30):
        random = np.random.default_rng(seed)
        model = program(random)
        reason = refusal(model)
        if reason:
            assert "selects by a comparison" in reason or "is a constant" in reason, (seed, reason)
            continue
        loaded += 1
        for _ in range(4):
            assert_as_onnxruntime(model, (random.integers(-12, 13, (1, 9)) / 4).astype(np.float32))
    assert loaded > 5


# --- infinite entries -----------------------------------------------------------------------------------------------------------

MASK = np.array([0, -np.inf, 0, -np.inf, 0, 0, 0, -np.inf, -np.inf], np.float32)
CASES = {
    "a maximum": [("Add", "x mask", "m"), ("ReduceMax", "m", "y")],
    "a difference": [("Sub", "x far", "m"), ("ReduceMax", "m", "y")],
    "a maximum of two": [("Max", "x mask", "y")],
    "moved": [("Add", "x mask", "m"), ("Reshape", "m rows", "r"), ("Transpose", "r", "t"), ("ReduceMax", "t", "y")],
    "chosen": [("Where", "chosen x least", "m"), ("ReduceMax", "m", "y")],
    "functions with a limit": [("Add", "x mask", "m"), ("Relu", "m", "y")],
    "beside a constant": [("Concat", "row x", "m"), ("ReduceMax", "m", "y")],
    "side by side": [("Add", "x mask", "m"), ("Concat", "x m m", "c"), ("ReduceMax", "c", "y")],
    "a maximum with a number after it": [("Add", "x mask", "m"), ("Max", "m some", "y")],
    "a mask computed from constants": [("Add", "zeros mask", "n"), ("Add", "n x", "m"), ("ReduceMax", "m", "y")],
    "a mask computed the other way": [("Add", "mask zeros", "n"), ("Add", "x n", "m"), ("ReduceMax", "m", "y")],
}


@pytest.mark.parametrize("name", CASES)
def test_maxima_leave_infinite_entries_out(name: str) -> None:
    constants = {"mask": MASK, "rows": np.array([3, 3]), "far": -MASK, "chosen": MASK == 0, "least": np.float32(-np.inf)}
    constants |= {"row": MASK[None], "some": np.float32(-0.5), "zeros": np.zeros(9, np.float32)}
    model = model_of(*CASES[name], **constants)
    for x in (np.linspace(-3, 3, 9), np.linspace(3, -3, 9), np.zeros(9)):
        assert_as_onnxruntime(model, x.astype(np.float32)[None])


@pytest.mark.parametrize("op", ["Max", "Min", "Add", "Sub", "Where"])
def test_constants_that_are_no_numbers_are_refused(op: str) -> None:
    inputs = "chosen x nan" if op == "Where" else "x nan"
    with pytest.raises(GraphError, match="NaN"):
        read_onnx(model_of((op, inputs, "y"), nan=np.full(9, np.nan, np.float32), chosen=MASK == 0))


@pytest.mark.parametrize("last", [("Identity", "m", "y"), ("ReduceSum", "m", "y"), ("ReduceMin", "m", "y"), ("Mul", "m m", "y")])
def test_infinite_entries_that_reach_anything_else_are_refused(last: tuple[str, str, str]) -> None:
    with pytest.raises(GraphError, match="entries of -inf"):
        read_onnx(model_of(("Add", "x mask", "m"), last, mask=MASK))
