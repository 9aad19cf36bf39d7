"""The attack finds what is there, stays inside the set, and is deterministic."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

import numpy as np
import pytest
import torch

from certify.io.vnnlib import read_vnnlib
from certify.model import Model
from certify.search.attack import find_witness, pgd
from certify.search.descent import Effort
from certify.sets import Box, LpBall

ROWS = torch.tensor([[[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]]])


def least(model: Model, x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bso,bo->bs", ROWS.expand(len(x), -1, -1), model(x)).amin(dim=1)


@pytest.mark.parametrize("p", [1.0, 2.0, inf])
def test_the_attack_comes_close_to_the_best_of_many_samples(network: Callable[..., Model], p: float) -> None:
    model, center = network(3), torch.tensor([[0.4, 0.5, 0.6], [0.1, 0.9, 0.2]])
    ball = LpBall(center, torch.tensor(0.3), p, (0, 1))
    found = pgd(model, ball, ROWS.expand(2, -1, -1), seed=1)
    distance = torch.linalg.vector_norm(found.double().flatten(1) - center.double(), ord=p, dim=1)
    assert bool((distance <= ball.eps.double()).all())
    generator = torch.Generator().manual_seed(0)
    offsets = torch.rand(2, 20_000, 3, generator=generator) * 0.6 - 0.3
    points = (center[:, None] + offsets).clamp(0, 1)
    allowed = torch.linalg.vector_norm(points - center[:, None], ord=p, dim=2) <= 0.3
    for k in range(2):
        sampled = least(model, points[k][allowed[k]]).min()
        reached = least(model, found[k : k + 1].reshape(1, 3))
        assert reached < 0 if sampled < 0 else reached <= sampled + 1e-3  # the attack stops at the first negative value


def test_the_same_seed_gives_the_same_points_and_leaves_the_global_generator_alone(network: Callable[..., Model]) -> None:
    model, box = network(1), Box(torch.zeros(2, 3), torch.ones(2, 3))
    state = torch.random.get_rng_state()
    first, second = (pgd(model, box, ROWS.expand(2, -1, -1) + 9, seed=5) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_set_of_one_point_gives_that_point(network: Callable[..., Model]) -> None:
    point = torch.tensor([[0.25, 0.5, 0.75]])
    found = pgd(network(), Box(point, point), ROWS)
    assert torch.equal(found.reshape(1, 3), point)


def test_a_nan_output_is_an_error(network: Callable[..., Model]) -> None:
    model = network()
    model.program(torch.float32).constants["b"].fill_(float("nan"))
    with pytest.raises(ValueError, match="the output is NaN"):
        pgd(model, Box(torch.zeros(1, 3), torch.ones(1, 3)), ROWS)


def property_text(condition: str, low: str = "0", high: str = "1") -> str:
    declared = "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "X_2", "Y_0", "Y_1", "Y_2"))
    box = "".join(f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))" for i in range(3))
    return declared + box + f"(assert {condition})"


def search(model: Model, text: str, **options: object) -> object:
    spec = read_vnnlib(text).bind((1, 3), (1, 3))
    return find_witness(model, spec, range(len(spec.clauses)), Effort(steps=50, restarts=8), **options)  # type: ignore[arg-type]


def reachable(model: Model) -> torch.Tensor:
    """Outputs at a point that is not the middle of the box."""
    return model(torch.tensor([[0.9, 0.2, 0.7]]))[0].double()


def test_a_conjunction_is_satisfied_as_a_whole(network: Callable[..., Model]) -> None:
    model = network(2)
    y = reachable(model)
    near = " ".join(f"(<= Y_{i} {float(y[i]) + 0.01:.6f}) (>= Y_{i} {float(y[i]) - 0.01:.6f})" for i in range(2))
    witness = search(model, property_text(f"(and {near})"))
    assert witness is not None
    assert np.abs(witness.y.ravel()[:2] - y[:2].numpy()).max() <= 0.01


def test_witnesses_lie_in_the_exact_box(network: Callable[..., Model]) -> None:
    model = network(2)
    witness = search(model, property_text("(<= Y_0 1000)", "0.1", "0.3"))
    assert witness is not None
    assert witness.x.dtype == np.float32
    assert read_vnnlib(property_text("(<= Y_0 1000)", "0.1", "0.3")).inputs.contains(0, witness.x.ravel())


def test_a_box_without_float32_points_has_no_witness(network: Callable[..., Model]) -> None:
    assert search(network(), property_text("(<= Y_0 1000)", "0.1", "0.1")) is None


def test_conditions_that_mix_inputs_and_outputs_are_attacked(network: Callable[..., Model]) -> None:
    model = network(4)
    x = torch.tensor([[0.9, 0.2, 0.7]])
    target = float((model(x)[0, 0] - 2 * x[0, 1]).double())
    witness = search(model, property_text(f"(<= (- Y_0 (* 2 X_1)) {target:.6f})"))
    assert witness is not None


def test_strict_replay_rejects_what_float32_only_touches(network: Callable[..., Model]) -> None:
    assert search(network(), property_text("(and (< Y_0 0) (>= Y_0 0))")) is None


def test_a_passed_deadline_ends_the_search(network: Callable[..., Model]) -> None:
    assert search(network(), property_text("(<= Y_0 1000)"), deadline=time.monotonic() - 1) is None
