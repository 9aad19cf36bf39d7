"""Tensors that share memory: writes through views, into bases and constants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.graph.passes import normalise
from certify.io.torch.call import Constant, Variable
from certify.io.torch.program import read_program

Step = Callable[[list[Tensor]], "Tensor | None"]


class Function(nn.Module):
    """A module that applies a function to its input, a parameter and a buffer."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.arange(1.0, 13.0, dtype=torch.float64).reshape(3, 4), requires_grad=False)
        self.register_buffer("kept", torch.ones(4, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight, self.kept)


def point(seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 4)))


def assert_read_as_it_is(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    graph = graph_of(function)
    for seed in range(3):
        expected = Function(function)(point(seed)).detach().numpy()
        np.testing.assert_allclose(evaluate(graph, point(seed).numpy()), expected, rtol=1e-12, atol=1e-12)


def graph_of(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Graph:
    module = Function(function)
    program = torch.export.export(module, (point(0),), strict=False)
    builder = GraphBuilder()
    kept = {**program.constants, **dict(module.named_parameters()), **dict(module.named_buffers())}
    stored = [kept[str(spec.target)] for spec in program.graph_signature.input_specs if spec.kind.name != "USER_INPUT"]
    inputs = [*(Constant(t.detach()) for t in stored), Variable(builder.input("x", (3, 4)), point(0))]
    return builder.build(read_program(program, builder, inputs).output)


# --- generated programs --------------------------------------------------------------------------------------------------------

VIEWS: list[Callable[[Tensor, int], Tensor]] = [
    lambda t, k: t[..., k % t.shape[-1] :],
    lambda t, k: t[:, :: 1 + k % 2],
    lambda t, k: t[k % t.shape[0]][None],
    lambda t, k: t.t(),
    lambda t, k: t.reshape(1, -1),
    lambda t, k: t.view_as(t),
    lambda t, k: t.detach(),
    lambda t, k: t.chunk(2, k % 2)[-1],
    lambda t, k: t.unbind(k % 2)[0][:, None],
    lambda t, k: t.diagonal()[None],
    lambda t, k: t.narrow(k % 2, 0, 1),
    lambda t, k: t[:1].expand(2, t.shape[1]),
    lambda t, k: t.split(1, k % 2)[-1],
    lambda t, k: t.contiguous(),
]
WRITES: list[Callable[[Tensor, Tensor, int], object]] = [
    lambda t, u, k: t.mul_(k + 0.5),
    lambda t, u, k: t.relu_(),
    lambda t, u, k: t.fill_(float(k)),
    lambda t, u, k: t[0].zero_(),
    lambda t, u, k: t.copy_(u.flatten()[k % u.numel()].clone()),
    lambda t, u, k: t.add_(u.flatten()[0].clone(), alpha=2),
    lambda t, u, k: t[:, k % t.shape[1]].copy_(u.flatten()[0].clone()),
    lambda t, u, k: torch.sub(t, 1.5, out=t),
    lambda t, u, k: t.__setitem__((..., 0), u.flatten()[-1].clone()),
    lambda t, u, k: t.masked_fill_(torch.arange(t.shape[1]) == k % t.shape[1], 3.0),
    lambda t, u, k: t.index_put_((torch.tensor([0]),), u.flatten()[0].clone(), accumulate=True),
    lambda t, u, k: t.unsqueeze_(0).squeeze_(0),
]


def once(t: Tensor) -> bool:
    """Whether a tensor shows no place in memory twice."""
    return all(size == 1 or stride != 0 for size, stride in zip(t.shape, t.stride(), strict=True))


def run(steps: list[tuple[str, int, int, int, int]], x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    pool = [x + 1.0, torch.zeros(3, 4, dtype=torch.float64), weight * 2.0]
    for kind, which, first, second, k in steps:
        t, u = pool[first % len(pool)], pool[second % len(pool)]
        if kind == "view":
            pool.append(VIEWS[which % len(VIEWS)](t, k))
        elif once(t):
            WRITES[which % len(WRITES)](t, u, k)
    return torch.cat([t.flatten() for t in [*pool, x]])


@settings(max_examples=12)
@given(
    st.lists(
        st.tuples(st.sampled_from(["view", "write"]), *(st.integers(0, 13) for _ in range(3)), st.integers(0, 3)),
        min_size=2,
        max_size=9,
    )
)
def test_random_programs_of_views_and_writes_are_read_as_they_are(steps: list[tuple[str, int, int, int, int]]) -> None:
    assert_read_as_it_is(partial(run, steps))


# --- particular programs -------------------------------------------------------------------------------------------------------


def into_a_constant(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = torch.zeros(3, 5, dtype=x.dtype)
    y[:, ::2] = x[:, :3]
    y[:, 1] = x[:, 3].relu()
    return y


def constant_computed_before_a_write(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    mask = torch.zeros(4, dtype=x.dtype)
    before = weight * mask
    mask.fill_(1.0)
    return x * (before + weight * mask)


def out_of_what_was_empty(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, 1:] = x[:, 1:] * 2
    y[:, 0] = kept[0]
    return y


def inside_no_grad(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = x * 2
    row = y[0]
    with torch.no_grad():
        row.add_(1.0)
    return y


def of_the_input(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = x.view(-1)
    y[3] = 7.0
    return x + 1


def one_number_at_several_places(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = x * 2
    y[:, [0, 2]] = 1.5
    y[:, torch.tensor([False, True, False, False])] = -1.0
    return y.index_fill(1, torch.tensor([3]), 0.5) + x


@pytest.mark.parametrize(
    "function",
    [
        into_a_constant,
        constant_computed_before_a_write,
        out_of_what_was_empty,
        inside_no_grad,
        of_the_input,
        one_number_at_several_places,
    ],
)
def test_a_write_is_seen_wherever_its_memory_is_read_and_nowhere_else(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    assert_read_as_it_is(function)


def partly_empty(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y[:, 1:] = x[:, 1:]
    return y


def element_by_element(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    y = torch.zeros(3, 12, dtype=x.dtype)
    for i in range(12):
        y[:, i] = x[:, i % 4] * i
    return y


def test_a_tensor_that_is_written_element_by_element_is_put_together_once() -> None:
    assert_read_as_it_is(element_by_element)
    assert len([n for n in normalise(graph_of(element_by_element)).nodes if n.op == "concat"]) == 1


def changes_its_buffer(x: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    kept.view(2, 2)[0].mul_(2.0)
    return x * kept


REFUSED: list[tuple[Callable[[Tensor, Tensor, Tensor], Tensor], str]] = [
    (partly_empty, "nothing was written"),
    (changes_its_buffer, "mul_.*changes .* when it is evaluated"),
    (lambda x, weight, kept: (x * 1).as_strided((1, 2), (1, 1)), "as_strided"),
    (lambda x, weight, kept: (x * 1).set_(x), "set_.*another memory"),
    (lambda x, weight, kept: torch.zeros(3, 4, dtype=torch.int32).copy_(x) + x, r"copy_.*torch\.int32"),
    (lambda x, weight, kept: torch.zeros(3, 4, dtype=torch.float16).copy_(x) + x, r"copy_.*torch\.float16"),
    (lambda x, weight, kept: x.index_put((torch.tensor([0, 0]),), x[:2]), "one place several times"),
    (lambda x, weight, kept: x + torch.randn(4), "randn.*random"),
    (lambda x, weight, kept: x + x.max(1, keepdim=True)[1], "found its values"),
    (lambda x, weight, kept: x.unfold(1, 2, 1).mul_(2.0), "one place in memory"),
]


@pytest.mark.parametrize(("function", "reason"), REFUSED)
def test_writes_without_one_meaning_are_refused_by_name(function: Callable[[Tensor, Tensor, Tensor], Tensor], reason: str) -> None:
    with pytest.raises(GraphError, match=reason) as caught:
        assert_read_as_it_is(function)
    assert "\n" not in str(caught.value)
