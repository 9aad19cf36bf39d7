"""Selections by comparisons in torch: those that are continuous are read as what they are, the others are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx

from certify.graph import GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.io.torch.call import Constant, Variable
from certify.io.torch.program import Reader
from tests.io.fuzz_torch import with_error

QUARTERS = st.integers(-6, 6).map(lambda n: n / 4)
COMPARISONS = (torch.gt, torch.ge, torch.lt, torch.le)


def read(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (2, 5)
) -> Callable[[Tensor], tuple[np.ndarray, np.ndarray]]:
    """The function's graph, as a function that gives values with what rounding may have done to them."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    program = torch.export.export(Module(function), (x,), strict=False)
    builder = GraphBuilder()
    stored = [program.constants[str(s.target)] for s in program.graph_signature.input_specs if s.kind.name != "USER_INPUT"]
    inputs = [*map(Constant, stored), Variable(builder.input("x", shape), x)]
    (result,) = Reader(builder).run(program.graph_module, inputs)
    if not isinstance(result, Variable):
        raise GraphError("the output is no function that has a rule")
    graph = builder.build(result.node)
    return lambda point: with_error(graph, point.numpy())


class Module(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def assert_same(function: Callable[[Tensor], Tensor], *ties: float) -> None:
    graph = read(function)
    pool = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -7.0, 1e6, *ties, *np.nextafter(ties, np.inf), *np.nextafter(ties, -np.inf)]
    random = np.random.default_rng(1)
    for _ in range(8):
        point = torch.from_numpy(np.where(random.random((2, 5)) < 0.7, random.choice(pool, (2, 5)), random.normal(size=(2, 5))))
        found, error = graph(point)
        assert (np.abs(found - function(point).numpy()) <= 2 * error + 1e-300).all()


def clamped(h: Tensor) -> Tensor:
    return torch.where(h > 1, 1.0, torch.where(h < -1, -1.0, h))


CONTINUOUS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky relu": lambda x: torch.where(x > 0, x, 0.1 * x),
    "leaky relu, reversed": lambda x: torch.where(x <= 0, 0.1 * x, x),
    "relu by a number": lambda x: torch.where(x >= 0, x, 0.0),
    "relu by a mask": lambda x: x * (x > 0),
    "relu by a mask of numbers": lambda x: x * (x > 0).to(x.dtype),
    "relu by filling": lambda x: x.masked_fill(x < 0, 0.0),
    "relu by a negation": lambda x: torch.where(~(x > 0), 0.0, x),
    "minus relu of minus": lambda x: -(x < 0).type_as(x) * x,
    "abs": lambda x: torch.where(x > 0, x, -x),
    "abs by a sign": lambda x: torch.where(x > 0, 1.0, -1.0) * x,
    "maximum": lambda x: torch.where(x > x.flip(1), x, x.flip(1)),
    "minimum with a constant": lambda x: torch.where(x > torch.tensor([0.5, 1.0, -1.0, 0.0, 2.0]), torch.tensor(
        [0.5, 1.0, -1.0, 0.0, 2.0]), x),
    "clamp": lambda x: torch.where(x > 1, torch.ones_like(x), torch.where(x < -1, -torch.ones_like(x), x)),
    "relu6": lambda x: torch.where(x > 6, 6.0, x.relu()),
    "two masks": lambda x: (x > 0) * x + (x <= 0) * 0.25 * x,
    "a mask and the rest": lambda x: (x > 1).to(x.dtype) * (2 * x - 1) + (1 - (x > 1).to(x.dtype)) * x,
    "softshrink": lambda x: torch.where(x > 0.5, x - 0.5, torch.where(x < -0.5, x + 0.5, 0.0)),
    "clamp of a sum": lambda x: torch.where(x.relu() + 0.3 > 1, 1.0, torch.where(x.relu() + 0.3 < -1, -1.0, x.relu() + 0.3)),
    "clamp of a sum of two": lambda x: clamped(x + 0.1 * x.flip(1).relu()),
    "elu": lambda x: torch.where(x > 0, x, 2.0 * (torch.exp(x) - 1)),
    "behind a move": lambda x: torch.where((x > 0).unsqueeze(-1), x.unsqueeze(-1), torch.zeros(1, dtype=x.dtype))[..., 0],
    "a function of a choice": lambda x: torch.tanh(torch.where(x > 1, 2.0, 1.0) * (x - 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_selection_is_read_as_what_it_is(name: str) -> None:
    assert_same(CONTINUOUS[name], 0.5, -0.5, 6.0)


def written(x: Tensor) -> Tensor:
    y = x + 1
    y[y < 0] = 0
    return y


def multiplied(x: Tensor) -> Tensor:
    y = x * 2
    y.mul_(y > 0)
    return y


def test_a_number_is_compared_as_torch_compares_it_in_the_type_of_the_tensor() -> None:
    x = torch.tensor([[0.1, 0.3]])
    program = torch.export.export(Module(lambda x: x.masked_fill(x < 0.2, 0.2)), (x,), strict=False)
    builder = GraphBuilder()
    (doubles,) = Reader(builder).run(program.graph_module, [Variable(builder.input("x", (1, 2)), x)])
    assert isinstance(doubles, Variable)
    program = torch.export.export(Module(filled), (x,), strict=False)
    builder = GraphBuilder()
    constant = Constant(torch.tensor(0.2))
    (singles,) = Reader(builder).run(program.graph_module, [constant, Variable(builder.input("x", (1, 2)), x)])
    assert isinstance(singles, Variable)
    found = evaluate(builder.build(singles.node), np.array([[0.2, 0.3]]))
    np.testing.assert_array_equal(found, [[float(np.float32(0.2)), 0.3]])


def filled(x: Tensor) -> Tensor:
    y = x + 0.0
    y[y < 0.2] = 0.2
    return y


@pytest.mark.parametrize("function", [written, multiplied])
def test_a_selection_may_be_written_in_place(function: Callable[[Tensor], Tensor]) -> None:
    assert_same(function)


JUMPING: dict[str, Callable[[Tensor], Tensor]] = {
    "a mask": lambda x: (x > 0).to(x.dtype),
    "a step": lambda x: torch.where(x > 0, x, x + 1),
    "a step that is small": lambda x: torch.where(x > 0, x, x + 1e-300),
    "a mask of something else": lambda x: x * (x > 1),
    "a limit off by one unit": lambda x: torch.where(x > 0.1, 0.1, torch.where(x > 1, x, x) + (0.1 - np.nextafter(0.1, 1))),
    "nothing at the tie": lambda x: (x > 1).to(x.dtype) * (2 * x - 1) + (x < 1).to(x.dtype) * x,
    "both at the tie": lambda x: (x >= 1).to(x.dtype) * (2 * x - 1) + (x <= 1).to(x.dtype) * x,
    "hardshrink": lambda x: torch.where(x.abs() > 0.5, x, 0.0),
    "two comparisons": lambda x: torch.where((x > 0) & (x < 1), x, 0.0),
    "softplus with a threshold": lambda x: torch.where(x > 20, x, torch.log1p(torch.exp(x))),
    "another element": lambda x: torch.where(x[:, :1] > 0, x, 0 * x),
    "a largest element": lambda x: x * (x == x.max()),
    "a power of a mask": lambda x: torch.cat([(x > 0).to(x.dtype), x], 1),
}


@pytest.mark.parametrize("name", JUMPING)
def test_a_selection_that_jumps_or_is_not_known_not_to_is_refused(name: str) -> None:
    with pytest.raises(GraphError, match=r"comparison|comparisons|aten\.eq|no function that has a rule"):
        read(JUMPING[name])


@given(st.tuples(QUARTERS, QUARTERS, QUARTERS, QUARTERS, QUARTERS), st.sampled_from(COMPARISONS), st.booleans())
def test_two_lines_have_a_rule_exactly_where_they_meet(
    numbers: tuple[float, ...], compare: Callable[[Tensor, float], Tensor], meet: bool
) -> None:
    t, a, b, c, d = numbers
    d = (a - c) * t + b if meet else d
    point = torch.tensor([[t, t - 1, t + 1, 9.0, -9.0]], dtype=torch.float64)
    graph, x = fx.Graph(), None
    x = graph.placeholder("x")
    lines = [graph.call_function(torch.ops.aten.add.Tensor, (graph.call_function(torch.ops.aten.mul.Tensor, (x, k)), e))
             for k, e in ((a, b), (c, d))]  # fmt: skip
    on = graph.call_function(getattr(torch.ops.aten, compare.__name__).Scalar, (x, t))
    graph.output(graph.call_function(torch.ops.aten.where.self, (on, *lines)))
    builder = GraphBuilder()
    result = Reader(builder).run(fx.GraphModule(torch.nn.Module(), graph), [Variable(builder.input("x", (1, 5)), point)])
    assert isinstance(result, Variable) == (a * t + b == c * t + d)
    if isinstance(result, Variable):
        expected = torch.where(compare(point, t), a * point + b, c * point + d)
        np.testing.assert_allclose(evaluate(builder.build(result.node), point.numpy()), expected.numpy(), rtol=1e-12, atol=1e-12)
