"""Numbers of sets: of float32 or float64, never rounded inward, differentiable; others are refused in one line."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import certify
from certify.bounds.rounding import OUTWARD
from certify.sets import Box, LpBall
from certify.sets.rounding import as_tensor, outward

DOUBLES = st.floats(-1e30, 1e30) | st.floats(-1e-44, 1e-44) | st.sampled_from([0.1, -0.1, 2 / 255, 1e-46, -1e-46, 0.0])


def given_as(value: float, form: str) -> Any:
    return {
        "number": value,
        "list": [[value]],
        "array": np.array([[value]]),
        "tensor": torch.tensor([[value]], dtype=torch.float64),
        "scalar": np.float64(value),
    }[form]


@pytest.mark.parametrize("form", ["number", "list", "array", "tensor", "scalar"])
@given(value=DOUBLES)
def test_numbers_of_a_float32_set_are_rounded_away_from_it(form: str, value: float) -> None:
    like = torch.zeros(1, dtype=torch.float32)
    low, high = (as_tensor("end", given_as(value, form), like, end) for end in (-inf, inf))
    assert low.dtype == high.dtype == torch.float32
    assert Fraction(low.item()) <= Fraction(value) <= Fraction(high.item())
    assert torch.nextafter(low, torch.full_like(low, inf)) >= high  # and no further than to the next number


@given(lower=DOUBLES, width=st.floats(0, 1e30))
def test_a_box_given_as_lists_holds_the_numbers_that_were_written(lower: float, width: float) -> None:
    box = Box([[lower]], [[lower + width]])
    assert box.lower.dtype == torch.float32
    assert Fraction(box.lower.item()) <= Fraction(lower)
    assert Fraction(lower + width) <= Fraction(box.upper.item())


@given(eps=st.floats(0, 1e30), low=st.floats(-10, 0), high=st.floats(0, 10))
def test_a_float32_ball_holds_the_radius_and_the_domain_it_was_given(eps: float, low: float, high: float) -> None:
    ball = LpBall(torch.zeros(1, 2), eps, 2, (low, high))
    assert Fraction(ball.eps.item()) >= Fraction(eps)
    assert ball.domain is not None
    assert Fraction(ball.domain[0][0, 0].item()) <= Fraction(low)
    assert Fraction(ball.domain[1][0, 0].item()) >= Fraction(high)


def test_boxes_of_balls_hold_subnormal_ends_where_such_numbers_are_dropped() -> None:
    center, eps = torch.full((1, 1), 1e-40), torch.tensor(2e-40)
    torch.set_flush_denormal(True)
    try:
        ball = LpBall(center, eps)
        box, other = ball.box, LpBall(torch.zeros(1, 1), 1e-40)
    finally:
        torch.set_flush_denormal(False)
    assert box.lower.item() < -0.9e-40
    assert box.upper.item() > 2.9e-40
    assert other.eps.item() >= 1e-40


REFUSED: dict[str, Any] = {
    "float16": torch.zeros(1, 2, dtype=torch.float16),
    "bfloat16": torch.zeros(1, 2, dtype=torch.bfloat16),
    "float16 array": np.zeros((1, 2), np.float16),
    "complex64": torch.zeros(1, 2, dtype=torch.complex64),
    "float8": torch.zeros(1, 2).to(torch.float8_e5m2),
    "text": np.array([["a", "b"]]),
    "objects": [["a", None]],
    "ragged": [[0.0], [0.0, 1.0]],
    "long double": np.zeros((1, 2), np.longdouble),
    "large integers": torch.tensor([[2**24 + 1, 0]]),
    "no numbers": torch.zeros(1, 2, device="meta"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("make", [lambda x: Box(x, x), lambda x: LpBall(x, 0.1)])
def test_other_precisions_are_refused_in_one_line_that_names_those_there_are(kind: str, make: Any) -> None:
    with pytest.raises(ValueError, match="meta" if kind == "no numbers" else "float") as caught:
        make(REFUSED[kind])
    assert "\n" not in str(caught.value)
    assert kind == "no numbers" or "float64" in str(caught.value)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_are_the_float32_numbers_they_are(kind: torch.dtype) -> None:
    box = Box(torch.tensor([[0, 1]]).to(kind), torch.tensor([[1, 1]]).to(kind))
    assert box.lower.dtype == torch.float32
    assert box.lower.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_modules_of_half_precision_are_bounded_over_sets_of_float32(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(kind)
    box = Box(torch.zeros(1, 4), torch.ones(1, 4))
    lower, upper = certify.bounds(module, box, rounding=OUTWARD)
    value = module.double()(torch.full((1, 4), 0.5, dtype=torch.float64))
    assert lower.dtype == torch.float32
    assert bool(((lower <= value) & (value <= upper)).all())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_points_of_any_precision_are_asked_about_exactly(kind: torch.dtype) -> None:
    x = torch.tensor([1.0, 3.0]).to(kind)
    builder = certify.graph.GraphBuilder()
    model = certify.Model(builder.build(builder.add("relu", [builder.input("x", (2,))])))
    assert certify.verify(model, certify.robust(x, 1, eps="1/2")).verdict == "unsat"


def test_points_that_are_no_float64_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no float64 numbers; convert it first"):
        certify.robust(np.array([2**53 + 1, 0]), 0, eps=1)


# --- derivatives -----------------------------------------------------------------------------------------------------------------

CENTER = torch.tensor([[0.31, -0.42, 0.17], [0.9, 0.05, -0.66]], dtype=torch.float64)
EPS = torch.tensor([0.11, 0.23], dtype=torch.float64)


def network() -> certify.Model:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    return certify.compile(module, CENTER)


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
@pytest.mark.parametrize("domain", [None, (-0.7, 0.95)])
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_bounds_are_differentiable_in_centre_and_radius_of_a_ball(p: float, domain: Any, method: str) -> None:
    model = network()

    def ends(center: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        return certify.bounds(model, LpBall(center, eps, p, domain), method)

    inputs = (CENTER.clone().requires_grad_(), EPS.clone().requires_grad_())
    assert torch.autograd.gradcheck(ends, inputs, eps=1e-6, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_the_box_of_a_ball_moves_with_centre_radius_and_domain(p: float) -> None:
    inputs = [
        t.clone().requires_grad_() for t in (CENTER, EPS, torch.tensor(-0.5, dtype=torch.float64), torch.tensor(1.0).double())
    ]

    def ends(center: Tensor, eps: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        box = LpBall(center, eps, p, (low - 0.2, high)).box
        return box.lower, box.upper

    assert torch.autograd.gradcheck(ends, inputs)
    assert torch.autograd.gradgradcheck(ends, inputs)


def test_a_radius_of_another_precision_gets_its_gradient() -> None:
    eps = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    box = LpBall(torch.zeros(1, 3), eps).box
    (box.upper - box.lower).sum().backward()
    assert eps.grad is not None
    assert float(eps.grad) == 6.0


def test_the_next_number_has_the_derivative_of_the_number() -> None:
    x = torch.tensor([0.0, 1.0, -3.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: outward(x, inf), x)
    assert torch.equal(outward(x, -inf), torch.nextafter(x.detach(), torch.tensor(-inf, dtype=torch.float64)))
    assert torch.func.jvp(lambda x: outward(x, inf), (x.detach(),), (torch.ones(3).double(),))[1].tolist() == [1.0, 1.0, 1.0]
