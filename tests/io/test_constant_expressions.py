"""What a model computes of its constants is what real arithmetic makes of the stored numbers, in both front ends: against fractions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from certify.bounds.compute import compute_bounds
from certify.bounds.rounding import OUTWARD
from certify.graph import Graph, GraphError
from certify.io.onnx import load_onnx, read_onnx
from certify.io.torch.capture import freeze
from certify.operators.program import bind
from certify.sets import Box

HOSTILE = [2.0**60, -(2.0**60), 2.0**-60, 2.0**24, 1.0, -1.0, 3.0, 0.1, -7.5, 1e8, 1e-8, 2.0**-24, 0.0, 1 / 3]
NUMBERS = st.one_of(st.sampled_from(HOSTILE), st.floats(-4, 4, width=32))
SIZE = 3
Real = np.ndarray
"""Fractions, as an array of objects."""


def real(values: Any) -> Real:
    return np.vectorize(lambda v: Fraction(float(v)), otypes=[object])(np.asarray(values))


class Operation(NamedTuple):
    """What an operation on square matrices is in fractions, in ONNX and in torch."""

    arity: int
    real: Callable[..., Real]
    onnx: Callable[..., list[NodeProto]]
    torch: Callable[..., Tensor]


def one(op: str, **attrs: Any) -> Callable[..., list[NodeProto]]:
    return lambda out, *inputs: [helper.make_node(op, list(inputs), [out], **attrs)]


def quotient(out: str, a: str, b: str) -> list[NodeProto]:
    """a / (|b| + 1)"""
    steps = [("Abs", [b], f"{out}.abs"), ("Add", [f"{out}.abs", "one"], f"{out}.sum"), ("Div", [a, f"{out}.sum"], out)]
    return [helper.make_node(op, inputs, [made]) for op, inputs, made in steps]


def row_mean(out: str, a: str, b: str) -> list[NodeProto]:
    return [helper.make_node("ReduceMean", [a], [f"{out}.mean"], axes=[1]), helper.make_node("Sub", [b, f"{out}.mean"], [out])]


OPERATIONS: Mapping[str, Operation] = {
    "add": Operation(2, lambda a, b: a + b, one("Add"), lambda a, b: a + b),
    "sub": Operation(2, lambda a, b: a - b, one("Sub"), lambda a, b: a - b),
    "mul": Operation(2, lambda a, b: a * b, one("Mul"), lambda a, b: a * b),
    "div": Operation(2, lambda a, b: a / (abs(b) + 1), quotient, lambda a, b: a / (b.abs() + 1)),
    "sum": Operation(3, lambda a, b, c: a + b + c, one("Sum"), lambda a, b, c: a + b + c),
    "mean": Operation(2, lambda a, b: (a + b) / 2, one("Mean"), lambda a, b: (a + b) / 2),
    "centred": Operation(2, lambda a, b: b - a.sum(1, keepdims=True) / 3, row_mean, lambda a, b: b - a.mean(1, keepdim=True)),
    "matmul": Operation(2, lambda a, b: a @ b, one("MatMul"), lambda a, b: a @ b),
    "gemm": Operation(3, lambda a, b, c: 2 * (a.T @ b) + c / 2, one("Gemm", transA=1, alpha=2.0, beta=0.5),
                      lambda a, b, c: torch.addmm(c, a.T, b, beta=0.5, alpha=2.0)),
    "abs": Operation(1, abs, one("Abs"), torch.abs),
    "relu": Operation(1, lambda a: np.maximum(a, Fraction(0)), one("Relu"), torch.relu),
    "max": Operation(2, np.maximum, one("Max"), torch.maximum),
    "min": Operation(2, np.minimum, one("Min"), torch.minimum),
    "transpose": Operation(1, lambda a: a.T, one("Transpose"), lambda a: a.T),
    "square": Operation(1, lambda a: a * a, lambda out, a: [helper.make_node("Mul", [a, a], [out])], lambda a: a**2),
}  # fmt: skip


class Expression(NamedTuple):
    """Leaves, and operations on what was there before, by numbers; the value is the last one."""

    leaves: tuple[np.ndarray, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]

    def values(self) -> list[Real]:
        values = [real(leaf) for leaf in self.leaves]
        for name, inputs in self.steps:
            values.append(OPERATIONS[name].real(*(values[i] for i in inputs)))
        return values

    def value(self) -> Real:
        return self.values()[-1]

    def onnx(self) -> ModelProto:
        """x * value, for x of the constants' precision."""
        kind = helper.np_dtype_to_tensor_dtype(self.leaves[0].dtype)
        leaves = [numpy_helper.from_array(leaf, f"v{i}") for i, leaf in enumerate(self.leaves)]
        first = len(leaves)
        nodes = [
            node
            for i, (name, inputs) in enumerate(self.steps)
            for node in OPERATIONS[name].onnx(f"v{first + i}", *(f"v{j}" for j in inputs))
        ]
        nodes.append(helper.make_node("Mul", ["x", f"v{first + len(self.steps) - 1}"], ["y"]))
        return model(nodes, [*leaves, numpy_helper.from_array(np.ones((), self.leaves[0].dtype), "one")], (SIZE, SIZE), kind)

    def module(self) -> Scaled:
        return Scaled(self)


class Scaled(nn.Module):
    """x * value"""

    def __init__(self, expression: Expression) -> None:
        super().__init__()
        self.steps = expression.steps
        self.leaves = nn.ParameterList(
            [nn.Parameter(torch.from_numpy(leaf.copy()), requires_grad=False) for leaf in expression.leaves]
        )

    def forward(self, x: Tensor) -> Tensor:
        values: list[Tensor] = list(self.leaves)
        for name, inputs in self.steps:
            values.append(OPERATIONS[name].torch(*(values[i] for i in inputs)))
        return x * values[-1]


def model(nodes: Sequence[NodeProto], constants: Sequence[TensorProto], shape: Sequence[int], kind: int = TensorProto.FLOAT,
          opset: int = 17) -> ModelProto:  # fmt: skip
    ends = [helper.make_tensor_value_info(name, kind, list(shape)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 9
    return made


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    count = draw(st.integers(1, 3))
    numbers = st.lists(NUMBERS, min_size=SIZE**2, max_size=SIZE**2)
    leaves = tuple(np.array(draw(numbers), dtype).reshape(SIZE, SIZE) for _ in range(count))
    steps = []
    for i in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(sorted(OPERATIONS)))
        inputs = st.integers(0, count + i - 1)
        steps.append((name, tuple(draw(inputs) for _ in range(OPERATIONS[name].arity))))
    return Expression(leaves, tuple(steps))


def outputs(graph: Graph, x: float = 1.0) -> tuple[list[Fraction], list[Fraction]]:
    """Outward bounds at one point."""
    point = torch.full((1, *graph.input_shape), x, dtype=torch.float64)
    ends = compute_bounds(bind(graph, torch.float64), Box(point, point), "ibp", rounding=OUTWARD)
    return tuple([Fraction(v) for v in end.flatten().tolist()] for end in ends)  # type: ignore[return-value]


def largest(expression: Expression) -> Fraction:
    """The size of what is met on the way: a runtime's numbers have an end."""
    return max(abs(number) for value in expression.values() for number in value.flat)


def assert_holds(graph: Graph, values: Sequence[Fraction]) -> None:
    """The bounds at ones hold the values, and are no wider than rounding makes them."""
    for low, value, high in zip(*(outputs(graph)[0], values, outputs(graph)[1]), strict=True):
        assert low <= value <= high
        assert high - low <= Fraction(2.0**-44) * abs(value) + Fraction(1e-290)


@settings(max_examples=120, deadline=None)
@given(expressions())
def test_onnx_constants_are_those_of_real_arithmetic(expression: Expression) -> None:
    assume(largest(expression) < 1e30)
    assert_holds(read_onnx(expression.onnx()), expression.value().ravel().tolist())


def drawn(seed: int) -> Expression:
    """As `expressions`, without a search for the least: exporting a module takes a second."""
    random = np.random.default_rng(seed)
    dtype = (np.float32, np.float64)[seed % 2]
    leaves = tuple(random.choice([*HOSTILE, *random.normal(size=14)], (SIZE, SIZE)).astype(dtype) for _ in range(3))
    names = random.choice(sorted(OPERATIONS), 6)
    return Expression(
        leaves, tuple((n, tuple(random.integers(i, 3 + i, OPERATIONS[n].arity))) for i, n in enumerate(names.tolist()))
    )


SEEDS = [seed for seed in range(40) if largest(drawn(seed)) < 1e30][:8]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_numbers_of_modules_are_combined_in_real_arithmetic(seed: int) -> None:
    expression = drawn(seed)
    module = expression.module()
    graph = freeze(module, torch.ones(1, SIZE, SIZE, dtype=module.leaves[0].dtype)).graph
    assert_holds(graph, expression.value().ravel().tolist())


@pytest.mark.parametrize("correction", [0, 1])
def test_variances_of_weights_are_those_of_real_numbers(correction: int) -> None:
    class Variance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1e4, 1e4 + 2.0**-10, 1e4 - 1], [0.1, 0.2, 0.4]]))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight.var(1, correction=correction)

    module = Variance()
    rows = [[Fraction(w) for w in row] for row in module.weight.tolist()]
    expected = [sum((w - sum(row) / 3) ** 2 for w in row) / (3 - correction) for row in rows]
    assert_holds(freeze(module, torch.ones(1, 2)).graph, expected)


# --- what no fractions are ---------------------------------------------------------------------------------------------------------

FUNCTIONS: Mapping[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "Exp": mpmath.exp,
    "Log": mpmath.log,
    "Sqrt": mpmath.sqrt,
    "Sin": mpmath.sin,
    "Cos": mpmath.cos,
    "Tan": mpmath.tan,
    "Atan": mpmath.atan,
    "Erf": mpmath.erf,
    "Tanh": mpmath.tanh,
    "Sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "Softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "Mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions_of_constants_are_known_beyond_the_last_digit(op: str) -> None:
    x = np.array([0.1, 1e-20, 0.7, 3.0, 11.0, 22 / 7, 1.5707963267948966], np.float64)
    x = x if op in ("Log", "Sqrt") else np.concatenate([x, -x])
    nodes = [helper.make_node(op, ["c"], ["f"]), helper.make_node("Mul", ["x", "f"], ["y"])]
    graph = read_onnx(model(nodes, [numpy_helper.from_array(x, "c")], x.shape, TensorProto.DOUBLE, 18))
    (name,) = graph.constants
    with mpmath.workdps(120):
        for found, value in zip(graph.constants[name].tolist(), x.tolist(), strict=True):
            expected = FUNCTIONS[op](mpmath.mpf(value))
            assert abs(mpmath.mpf(found) - expected) <= 1.001 * mpmath.mpf(2) ** -53 * abs(expected)


def test_softmax_of_constants_is_known_beyond_the_last_digit() -> None:
    x = np.array([[0.5, 3.0, -2.0], [10.0, 10.0, -30.0]], np.float32)
    found = constant_after([helper.make_node("Softmax", ["v"], ["c"], axis=1)], named("v", x), shape=(2, 3), opset=18)
    with mpmath.workdps(60):
        powers = [[mpmath.exp(float(v)) for v in row] for row in x]
        for row, own in zip(found, powers, strict=True):
            for value, power in zip(row, own, strict=True):
                expected = power / mpmath.fsum(own)
                assert abs(mpmath.mpf(value.numerator) / value.denominator - expected) <= expected * 2.0**-52


def constant_after(nodes: Sequence[NodeProto], *constants: TensorProto, shape: Sequence[int] = (SIZE,), opset: int = 21) -> Real:
    """What x is multiplied with by a model that computes `c` of its constants."""
    last = helper.make_node("Mul", ["x", "c"], ["y"])
    graph = read_onnx(model([*nodes, last], constants, shape, opset=opset))
    (factor,) = [node.params["factor"] for node in graph.nodes if node.op == "scale"]
    return real(np.broadcast_to(graph.constants[factor], shape))


def named(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def test_a_cast_rounds_as_the_standard_says_and_no_more() -> None:
    add = helper.make_node("Add", ["a", "b"], ["s"])
    narrow = helper.make_node("Cast", ["s"], ["c"], to=TensorProto.FLOAT)
    tiny = [2.0**-30, 2.0**-24 + 2.0**-60, -(2.0**-26)]
    doubles = constant_after([add, narrow], named("a", 1.0, np.float64), named("b", tiny, np.float64))
    assert doubles.tolist() == [1, 1 + Fraction(2.0**-23), 1]
    singles = constant_after([add, narrow], named("a", 1.0), named("b", [2.0**-30, 2.0**-24, -(2.0**-26)]))
    assert singles.tolist() == [1 + Fraction(t) for t in (2.0**-30, 2.0**-24, -(2.0**-26))]  # float32 to float32 is no cast


def test_integers_stay_integers() -> None:
    steps = [
        helper.make_node("Div", ["a", "b"], ["q"]),
        helper.make_node("Add", ["q", "big"], ["s"]),
        helper.make_node("Sub", ["s", "big"], ["d"]),
        helper.make_node("Cast", ["d"], ["c"], to=TensorProto.FLOAT),
    ]
    whole = [named(n, v, np.int64) for n, v in (("a", [7, -7, 2**40]), ("b", [2, 2, 3]), ("big", 2**60))]
    assert constant_after(steps, *whole).tolist() == [3, -3, real(np.float32(2**40 // 3)).item()]


def test_what_rounding_decides_is_refused_by_name() -> None:
    root = [helper.make_node("Sqrt", ["two"], ["r"]), helper.make_node("Mul", ["r", "r"], ["s"])]  # 2, but who knows
    for last in (helper.make_node("Floor", ["s"], ["c"], name="floor"), helper.make_node("Sub", ["s", "two"], ["c"])):
        with pytest.raises(GraphError, match="store"):
            constant_after([*root, last], named("two", 2.0))


@pytest.mark.parametrize("opset", [10, 13, 19, 21, 23])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
@pytest.mark.parametrize("kind", ["tensor", "axis", "block"])
def test_quantised_weights_are_whole_numbers_times_scales(opset: int, dtype: Any, kind: str) -> None:
    if (kind == "axis" and opset < 13) or (kind == "block" and opset < 21):
        return
    random = np.random.default_rng(opset)
    limits = np.iinfo(dtype)
    x = random.integers(max(limits.min, -(2**31) + 1), limits.max, (4, 6)).astype(dtype)
    zero_shape = {"tensor": (), "axis": (6,), "block": (2, 6)}[kind]
    scale = random.uniform(1e-3, 1, zero_shape).astype(np.float32)
    zero = (random.integers(0, 5, zero_shape) if dtype is not np.int32 else np.zeros(zero_shape)).astype(dtype)
    attrs = {"tensor": {}, "axis": {"axis": 1}, "block": {"axis": 0, "block_size": 2}}[kind]
    node = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["c"], **attrs)
    found = constant_after([node], named("q", x, dtype), named("s", scale), named("z", zero, dtype), shape=(4, 6), opset=opset)
    rows = np.repeat(np.arange(2), 2) if kind == "block" else slice(None)
    z, s = (real(part[rows] if kind == "block" else part) for part in (zero, scale))
    expected = (real(x) - z) * s
    assert all(abs(a - b) <= Fraction(2.0**-52) * abs(b) for a, b in zip(found.ravel(), expected.ravel(), strict=True))


def test_weights_that_are_quantised_and_back_are_the_nearest_of_the_grid() -> None:
    w, scale = np.array([0.26, -0.74, 1.25], np.float32), np.float32(0.5)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["c"]),
    ]
    found = constant_after(nodes, named("w", w), named("s", scale), named("z", 3, np.int8))
    assert found.tolist() == [Fraction(1, 2), Fraction(-1, 2), Fraction(1)]  # 2.5 steps go to the even number


@pytest.mark.parametrize("rule", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"])
def test_interpolation_is_that_of_real_numbers(rule: str) -> None:
    random = np.random.default_rng(0)
    for n, m in [(2, 7), (3, 200), (97, 5), (50, 49), (1, 4), (6, 1)]:
        node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="linear", coordinate_transformation_mode=rule)
        made = model([node], [named("s", [1, m], np.int64)], (1, n), opset=19)
        made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = m
        x = random.choice([-1.0, 1.0], n) * (1 + random.random(n))
        graph = read_onnx(made)
        point = torch.from_numpy(x).reshape(1, 1, n)
        ends = compute_bounds(bind(graph, torch.float64), Box(point, point), "ibp", rounding=OUTWARD)
        exact, scale = [Fraction(v) for v in x.tolist()], Fraction(m, n)
        for i, (low, high) in enumerate(zip(*(end.flatten().tolist() for end in ends), strict=True)):
            p = min(max(place(rule, i, n, m, scale), Fraction(0)), Fraction(n - 1))
            k = p.__floor__()
            y = exact[k] * (1 - (p - k)) + exact[min(k + 1, n - 1)] * (p - k)
            assert Fraction(low) <= y <= Fraction(high)


def place(rule: str, i: int, n: int, m: int, scale: Fraction) -> Fraction:
    """Where output i lies, by the formulas of the ONNX specification of Resize."""
    half = Fraction(1, 2)
    if rule == "align_corners":
        return Fraction(i * (n - 1), m - 1) if m > 1 else Fraction(0)
    if rule == "asymmetric":
        return i / scale
    if rule == "pytorch_half_pixel" and m == 1:
        return Fraction(0)
    return (i + half) / scale - half  # half_pixel_symmetric is the same where sizes are given


def test_a_model_whose_runtime_rounds_its_constants_is_the_model_of_the_stored_numbers() -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["p"]),
        helper.make_node("Add", ["p", "m"], ["q"]),
        helper.make_node("Add", ["x", "q"], ["y"]),
    ]
    loaded = load_onnx(model(nodes, [named("a", 2.0**60), named("b", 1.0), named("m", -(2.0**60))], (1,)))
    assert_holds(loaded.graph, [Fraction(2)])
    assert loaded.graph.runtime is not None
    assert loaded.reference is not None
    assert loaded.reference(np.ones(1, np.float32)).tolist() == [1.0]


def added(nodes: Sequence[NodeProto], made: str, **constants: np.ndarray) -> ModelProto:
    """y = x + made, for a constant that the nodes make of others."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    stored = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph([*nodes, helper.make_node("Add", ["x", made], ["y"])], "g", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30, 2.0**63])
@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.INT8])
def test_a_constant_that_an_integer_type_does_not_hold_is_not_cast_to_it(number: float, kind: int) -> None:
    casts = [
        helper.make_node("Cast", ["c"], ["whole"], to=kind),
        helper.make_node("Cast", ["whole"], ["real"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(GraphError, match="Cast"):
        read_onnx(added(casts, "real", c=number))


@pytest.mark.parametrize("op", ["Relu", "Abs", "Sign", "Floor", "Round"])
def test_what_is_made_of_a_constant_that_is_no_number_is_refused(op: str) -> None:
    with pytest.raises(GraphError):
        read_onnx(added([helper.make_node(op, ["c"], ["made"])], "made", c=np.nan))


BIG = 2.0**60
CANCELLING: Mapping[str, tuple[NodeProto, dict[str, Any]]] = {
    "terms": (helper.make_node("Sum", ["a", "b", "c"], ["made"]), {"a": BIG, "b": 1.0, "c": -BIG}),
    "axis": (helper.make_node("ReduceSum", ["a"], ["made"]), {"a": [[BIG, 1.0, -BIG]]}),
    "product": (helper.make_node("MatMul", ["a", "b"], ["made"]), {"a": [[BIG, 1.0, -BIG]], "b": [[1.0]] * 3}),
}


@pytest.mark.parametrize("kind", CANCELLING)
def test_a_sum_that_the_runtime_loses_is_no_misreading(kind: str) -> None:
    node, constants = CANCELLING[kind]
    loaded = load_onnx(added([node], "made", **constants))
    point = torch.zeros(1, 1, 1, dtype=torch.float64)
    lower, upper = compute_bounds(bind(loaded.graph, torch.float64), Box(point, point), "ibp", rounding=OUTWARD)
    assert float(lower) <= 1 <= float(upper)
    assert float(upper - lower) < 1e-9
