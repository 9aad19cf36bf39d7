"""The public names and the library's main functions."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import certify
from certify import api
from certify.bounds.compute import compute_bounds
from certify.bounds.rounding import OUTWARD


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))


X = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.4, 0.9]])


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The modules that are captured while a test runs."""
    seen: list[nn.Module] = []
    original = api.Capture.of

    def counting(module: nn.Module, example: Any) -> Any:
        seen.append(module)
        return original(module, example)

    monkeypatch.setattr(api.Capture, "of", counting)
    return seen


def test_every_public_name_can_be_had_and_is_listed() -> None:
    for name in certify.__all__:
        assert getattr(certify, name) is not None
    assert set(certify.__all__) <= set(dir(certify))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        certify.nonsense  # noqa: B018


def test_bounds_stays_a_function_beside_the_package_of_that_name() -> None:
    import certify.bounds.interval

    assert certify.bounds is api.bounds
    assert compute_bounds.__module__ == "certify.bounds.compute"


@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown", "forward", "alpha-crown"])
def test_bounds_hold_the_outputs_of_points_of_the_set(method: str) -> None:
    module = network()
    ball = certify.LpBall(X, 0.1, domain=(0, 1))
    lower, upper = certify.bounds(module, ball, method)
    assert lower.shape == upper.shape == (2, 4)
    for point in torch.rand(50, 2, 3):
        with torch.no_grad():
            y = module(ball.box.lower + point * (ball.box.upper - ball.box.lower))
        assert bool((lower - 1e-5 <= y).all() & (y <= upper + 1e-5).all())


def test_tensors_give_tensors_and_arrays_give_arrays() -> None:
    model = certify.compile(network(), X)
    tensors = certify.bounds(model, certify.Box(X, X + 0.1))
    arrays = certify.bounds(model, certify.Box(X.numpy(), X.numpy() + np.float32(0.1)))
    ball = certify.bounds(model, certify.LpBall(X.numpy(), 0.1))
    assert all(isinstance(end, Tensor) for end in tensors)
    assert all(isinstance(end, np.ndarray) for end in (*arrays, *ball))
    np.testing.assert_allclose(arrays[0], tensors[0].detach().numpy())


def test_objectives_may_be_shared_or_per_element() -> None:
    rows = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0]])
    box = certify.Box(X, X + 0.1)
    shared = certify.bounds(network(), box, objective=rows)
    each = certify.bounds(network(), box, objective=rows.expand(2, 2, 4).numpy())
    assert shared[0].shape == (2, 2)
    torch.testing.assert_close(shared, each)


def test_a_node_inside_is_bounded_by_its_name() -> None:
    model = certify.compile(network(), X)
    lower, upper = certify.bounds(model, certify.Box(X, X), node="relu")
    torch.testing.assert_close(lower.reshape(2, 8), model_values(X))
    torch.testing.assert_close(upper.reshape(2, 8), model_values(X))


def model_values(x: Tensor) -> Tensor:
    return network()[:2](x)


def test_outward_bounds_hold_those_to_nearest() -> None:
    model = certify.compile(network(), X)
    box = certify.Box(X, X + 0.1)
    (inner, _), (outer, _) = certify.bounds(model, box), certify.bounds(model, box, rounding=OUTWARD)
    assert bool((outer < inner).all())


def test_bounds_are_differentiable_in_the_weights_of_a_module() -> None:
    module = network()
    lower, _ = certify.bounds(module, certify.Box(X - 0.1, X + 0.1), "ibp")
    lower.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_module_is_captured_once_while_its_weights_change(captures: list[nn.Module]) -> None:
    module = network()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    found = []
    for _ in range(3):
        optimiser.zero_grad()
        lower, _ = certify.bounds(module, certify.Box(X, X + 0.1), "ibp")
        lower.sum().backward()
        optimiser.step()
        found.append(float(lower.detach().sum()))
    assert len(captures) == 1
    assert len(set(found)) == 3


def test_a_changed_module_is_captured_again(captures: list[nn.Module]) -> None:
    module, box = network(), certify.Box(X, X)

    def agrees() -> bool:
        return torch.allclose(certify.bounds(module, box, "ibp")[0], module(X), atol=1e-5)

    assert agrees()
    module[1] = nn.Sigmoid()
    assert agrees()
    module[2] = nn.Linear(8, 4)
    assert agrees()
    module.double()
    module.float()
    assert agrees()
    assert len(captures) == 3


def test_a_module_in_training_mode_is_refused_even_after_it_was_captured() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    certify.bounds(module, certify.Box(X, X))
    module.train()
    with pytest.raises(certify.GraphError, match="training mode"):
        certify.bounds(module, certify.Box(X, X))


def test_a_captured_module_is_not_kept_alive() -> None:
    module = network()
    certify.bounds(module, certify.Box(X, X), "ibp")
    alive = weakref.ref(module)
    del module
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: certify.bounds("model.onnx", certify.Box(X, X)), "expected a model or a torch.nn.Module, got str; certify.load"),
        (lambda: certify.bounds(network(), certify.Box(X, X), "magic"), "unknown method 'magic'"),
        (lambda: certify.bounds(certify.compile(network(), X), certify.Box(X[:, :2], X[:, :2])), "takes inputs of shape"),
        (lambda: certify.bounds(network(), certify.Box(X, X), objective=torch.ones(1, 3)), "objective must be"),
        (lambda: certify.bounds(network(), certify.Box(X, X), node="relo"), "did you mean relu"),
    ],
)
def test_bad_calls_are_refused_in_one_line(call: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("x", [X[0], X[:1], X[0].numpy()])
def test_a_module_is_verified_on_the_shape_of_its_point(x: Any) -> None:
    module = network()
    label = int(module(X[:1]).argmax())
    assert certify.verify(module, certify.robust(x, label, eps="1/1000"), timeout=30).verdict == "unsat"
    assert certify.verify(module, certify.robust(x, (label + 1) % 4, eps="1/1000"), timeout=30).verdict == "sat"


def test_an_example_tells_the_shape_that_a_specification_leaves_open() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    x = torch.rand(1, 3, 3)
    label = int(module(x[None]).argmax())
    for spec, example in (
        (certify.robust(x, label, eps="1/10000"), None),
        (certify.robust(x.flatten(), label, eps="1/10000"), x[None]),
    ):
        assert certify.verify(module, spec, timeout=30, example=example).verdict == "unsat"
