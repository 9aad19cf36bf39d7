"""Modules that change after they were captured: bounds are those of the module as it is, or refused; nothing else changes hands."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import certify
from certify import api
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.io.torch.capture import Capture
from certify.io.torch.trace import trace

X = torch.tensor([[0.3, -0.7, 1.5]])
BOX = certify.Box(X - 1.0, X + 1.0)
GLOBAL = {"factor": 1.0}


class Net(nn.Module):
    """A linear layer, and what `function(self, y)` makes of its output."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 3)
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.layer(x))


def layers(*modules: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), *modules)


def image() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3, padding=1), nn.AvgPool2d(2), nn.Flatten())


def norm() -> nn.Sequential:
    return layers(nn.BatchNorm1d(3)).eval()


def setter(name: str, value: Any) -> Callable[[Any], None]:
    def change(module: Any) -> None:
        *path, last = name.split(".")
        for part in path:
            module = getattr(module, part)
        setattr(module, last, value)

    return change


def replace_forward(module: nn.Module) -> None:
    module.forward = lambda x: module.layer(x) * 3.0  # type: ignore[method-assign,operator]


def swap(module: nn.Sequential) -> None:
    first, second = module[0], module[1]
    first.weight, second.weight = second.weight, first.weight


def numbers_of_another_shape(module: Any) -> None:
    module.layer.bias.data = torch.tensor([5.0])


class Clipped(nn.Linear):
    """A layer whose code is changed below."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(max=0.5)


class Wider(Clipped):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear.forward(self, x)


def other_class(module: nn.Sequential) -> None:
    module[1].__class__ = Wider


CHANGES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    "a number": (lambda: Net(lambda m, y: y * m.k, k=1.0), setter("k", 50.0)),
    "a whole number": (lambda: Net(lambda m, y: y * m.k, k=1), setter("k", 2)),
    "a flag": (lambda: Net(lambda m, y: y.relu() if m.flag else y, flag=True), setter("flag", False)),
    "a name": (lambda: Net(lambda m, y: getattr(y, m.what)(), what="relu"), setter("what", "tanh")),
    "a limit of a clamp": (lambda: Net(lambda m, y: y.clamp(max=m.k), k=0.1), setter("k", 0.7)),
    "an entry of a list": (lambda: Net(lambda m, y: y * m.k[0], k=[1.0]), lambda m: m.k.__setitem__(0, -3.0)),
    "an entry of a dictionary": (lambda: Net(lambda m, y: y * m.k["a"], k={"a": 1.0}), lambda m: m.k.update(a=4.0)),
    "an attribute of an attribute": (
        lambda: Net(lambda m, y: y + m.config.shift, config=SimpleNamespace(shift=0.0)),
        setter("config.shift", 9.0),
    ),
    "a global": (lambda: Net(lambda m, y: y * GLOBAL["factor"]), lambda m: GLOBAL.update(factor=GLOBAL["factor"] + 1)),
    "a mask in place": (lambda: Net(lambda m, y: y * m.k, k=torch.ones(3)), lambda m: m.k.mul_(7.0)),
    "a mask replaced": (lambda: Net(lambda m, y: y * m.k, k=torch.ones(3)), setter("k", torch.tensor([1.0, 0.0, 5.0]))),
    "a mask of truth values": (
        lambda: Net(lambda m, y: y * m.k, k=torch.tensor([True, True, False])),
        lambda m: m.k.fill_(True),
    ),
    "a mask that is not where the example is": (
        lambda: Net(lambda m, y: torch.minimum(y, m.k), k=torch.full((3,), 10.0)),
        lambda m: m.k.fill_(1.4),
    ),
    "a tensor in a list": (lambda: Net(lambda m, y: y * m.k[0], k=[torch.ones(3)]), lambda m: m.k[0].add_(1.0)),
    "a parameter in a list": (lambda: Net(lambda m, y: y * m.k[0], k=[nn.Parameter(torch.ones(3))]), lambda m: m.k[0].data.add_(1)),
    "an array": (lambda: Net(lambda m, y: y * torch.from_numpy(m.k), k=np.ones(3, np.float32)), lambda m: m.k.__imul__(3)),
    "numbers made to a tensor": (lambda: Net(lambda m, y: y * torch.tensor(m.k), k=[1.0, 1.0, 1.0]), setter("k", [1.0, 1.0, 2.0])),
    "the slope of a layer": (lambda: layers(nn.LeakyReLU(0.1)), setter("1.negative_slope", 0.7)),
    "the limit of a layer": (lambda: layers(nn.Hardtanh(-1, 1)), setter("1.max_val", 0.2)),
    "a layer": (lambda: layers(nn.ReLU()), lambda m: m.__setitem__(1, nn.Softplus())),
    "a layer without numbers": (lambda: layers(nn.ReLU()), lambda m: m.__setitem__(1, nn.Identity())),
    "a layer more": (lambda: layers(nn.ReLU()), lambda m: m.append(nn.Tanh())),
    "a layer less": (lambda: layers(nn.ReLU()), lambda m: m.pop(1)),
    "a linear layer": (lambda: layers(nn.ReLU(), nn.Linear(3, 2)), lambda m: m.__setitem__(2, nn.Linear(3, 2))),
    "a stride": (image, setter("2.stride", (2, 2))),
    "a padding": (lambda: layers(nn.Unflatten(1, (1, 3)), nn.MaxPool1d(3, 1, 1), nn.Flatten()), setter("2.padding", 0)),
    "an epsilon": (norm, setter("1.eps", 2.0)),
    "the code of the module": (lambda: Net(lambda m, y: y), replace_forward),
    "a function": (lambda: Net(lambda m, y: y.relu()), setter("function", lambda m, y: y.relu() + y)),
    "what is returned": (
        lambda: Net(lambda m, y: (y.sin(), y.cos())[m.k], k=0),
        setter("k", 1),
    ),
    "the class of a layer": (lambda: layers(Clipped(3, 3)), other_class),
    "a hook": (lambda: Net(lambda m, y: y), lambda m: m.register_forward_hook(lambda module, args, y: y * 2.0)),
    "a hook before": (lambda: layers(nn.ReLU()), lambda m: m[1].register_forward_pre_hook(lambda module, args: (args[0] - 1.0,))),
    "a parametrisation": (
        lambda: layers(nn.ReLU()),
        lambda m: parametrizations.weight_norm(m[0]).parametrizations.weight.original0.data.mul_(2),
    ),
    "a parameter replaced": (lambda: Net(lambda m, y: y), setter("layer.weight", nn.Parameter(torch.eye(3) * 4))),
    "a buffer replaced": (norm, setter("1.running_mean", torch.full((3,), 3.0))),
    "parameters swapped": (lambda: layers(nn.Linear(3, 3)), swap),
    "a bias left out": (lambda: Net(lambda m, y: y), setter("layer.bias", None)),
    "numbers of another shape": (lambda: Net(lambda m, y: y), numbers_of_another_shape),
    "the mode of interpolation": (
        lambda: Net(lambda m, y: functional.interpolate(y[:, None], size=5, mode=m.k)[:, 0], k="nearest"),
        setter("k", "linear"),
    ),
}
"""A module, and something that changes it and its function on the box."""

ROUNDINGS = {"nearest": NEAREST, "outward": OUTWARD}


def value_is_within(module: nn.Module, ends: tuple[Tensor, Tensor]) -> bool:
    lower, upper = ends
    points = [BOX.lower, BOX.upper, X, *(BOX.lower + torch.rand(20, 1, 3) * 2.0)]
    with torch.no_grad():
        return all(bool(((lower - 1e-4 <= module(x)) & (module(x) <= upper + 1e-4)).all()) for x in points)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_bounds_of_a_changed_module_are_those_of_the_module_as_it_is(change: str, rounding: str) -> None:
    make, mutate = CHANGES[change]
    module = make()
    before = certify.bounds(module, BOX, rounding=ROUNDINGS[rounding])
    assert value_is_within(module, before)
    mutate(module)
    after = certify.bounds(module, BOX, rounding=ROUNDINGS[rounding])
    assert value_is_within(module, after)
    for found, expected in zip(after, certify.bounds(certify.compile(module, X), BOX, rounding=ROUNDINGS[rounding]), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert before[0].shape != after[0].shape or not torch.equal(before[0], after[0]) or not torch.equal(before[1], after[1])


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_proved_about_a_compiled_module_that_was_changed(change: str) -> None:
    make, mutate = CHANGES[change]
    module = make()
    model = certify.compile(module, X)
    certify.bounds(model, BOX, rounding=OUTWARD)
    mutate(module)
    with pytest.raises(certify.GraphError, match="compile it again") as caught:
        certify.bounds(model, BOX, rounding=OUTWARD)
    assert "\n" not in str(caught.value)
    with pytest.raises(certify.GraphError, match="compile it again"):
        certify.verify(model, certify.robust(X[0], 0, eps="1/1000"))


@pytest.mark.parametrize("change", ["a parameter replaced", "a buffer replaced", "parameters swapped", "a linear layer"])
def test_a_compiled_module_whose_tensors_were_replaced_gives_no_bounds_at_all(change: str) -> None:
    make, mutate = CHANGES[change]
    module = make()
    model = certify.compile(module, X)
    mutate(module)
    with pytest.raises(certify.GraphError, match=r"was replaced since the module was compiled; compile it again"):
        certify.bounds(model, BOX, "ibp")


def test_numbers_that_change_in_place_are_seen_by_all() -> None:
    module = norm()
    model = certify.compile(module, X)
    for step in range(3):
        with torch.no_grad():
            for tensor in (*module.parameters(), module[1].running_mean, module[1].running_var):
                tensor.mul_(1.25 + step)
            module[0].weight.data += 0.5  # unseen by version counters
        for rounding in (NEAREST, OUTWARD):
            found, expected = certify.bounds(model, BOX, rounding=rounding), certify.bounds(module, BOX, rounding=rounding)
            assert torch.equal(found[0], expected[0])
            assert value_is_within(module, found)


def test_a_module_that_did_not_change_is_not_captured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, original = [], Capture.of
    monkeypatch.setattr(api.Capture, "of", lambda module, example: seen.append(module) or original(module, example))
    for make, _ in CHANGES.values():
        module = make()
        for rounding in (NEAREST, OUTWARD, NEAREST):
            certify.bounds(module, BOX, rounding=rounding)
    assert len(seen) == len(CHANGES)


def draws(module: Any, y: Tensor) -> Tensor:
    module.count += 1
    return y * (1.0 if module.count % 2 else 1.0 + 1e-7)


def leaves_torch(module: Any, y: Tensor) -> Tensor:
    return y if y.detach().numpy().max() < 1e3 else -y


def test_a_module_that_never_does_the_same_is_captured_each_time_and_never_proved_by_its_compiled_model() -> None:
    module = Net(draws, count=0)
    model = certify.compile(module, X)
    with pytest.raises(certify.GraphError, match="cannot be known whether the module still is the one that was compiled"):
        certify.bounds(model, BOX, rounding=OUTWARD)
    assert value_is_within(module, certify.bounds(module, BOX, rounding=OUTWARD))


@pytest.mark.parametrize("name", ["numpy", "tolist", "__array__"])
def test_runs_that_leave_torch_equal_no_others(name: str) -> None:
    module = Net(lambda m, y: y + 0.0 * float(np.max(getattr(y, name)())))
    assert trace(module, X).calls != trace(module, X).calls


def test_a_module_that_begins_to_leave_torch_is_not_taken_for_what_it_was() -> None:
    module = Net(lambda m, y: y)
    certify.bounds(module, BOX)
    module.function = leaves_torch
    with pytest.raises(certify.GraphError, match="cannot be captured"):
        certify.bounds(module, BOX)


def test_two_runs_of_a_module_are_equal_and_those_of_another_are_not() -> None:
    one, other = Net(lambda m, y: y.relu()), Net(lambda m, y: y.relu())
    assert trace(one, X).calls == trace(one, X).calls
    assert trace(one, X).calls == trace(other, X).calls  # the same operations, on other parameters
    assert Capture.of(one, X).stands_for(one)
    assert not Capture.of(one, X).stands_for(other)
