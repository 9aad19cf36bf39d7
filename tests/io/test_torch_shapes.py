"""Which axis of a point is the batch axis, and what becomes of errors of a module's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import certify
from certify.bounds.rounding import OUTWARD
from certify.io.torch import example_of


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    # a module, the shape of a point, and that of the example
    "vector": (lambda: nn.Linear(3, 2), (3,), (1, 3)),
    "vector in a batch": (lambda: nn.Linear(3, 2), (1, 3), (1, 3)),
    "one number": (lambda: nn.Linear(1, 2), (1,), (1, 1)),
    "one number in a batch": (lambda: nn.Linear(1, 2), (1, 1), (1, 1)),
    "no axis": (lambda: nn.Linear(1, 2), (), (1,)),
    "image": (convolution, (1, 4, 4), (1, 1, 4, 4)),
    "image in a batch": (convolution, (1, 1, 4, 4), (1, 1, 4, 4)),
    "image of three channels": (lambda: nn.Conv2d(3, 2, 3), (3, 4, 4), (1, 3, 4, 4)),
    "image without channels": (lambda: Function(lambda x: x.flatten(1)), (1, 4, 4), (1, 4, 4)),
    "signal": (lambda: nn.Conv1d(1, 2, 3), (1, 4), (1, 1, 4)),
    "written for a batch of one": (lambda: nn.Sequential(Function(lambda x: x.view(1, 4)), nn.Linear(4, 2)), (1, 2, 2), (1, 2, 2)),
    "nothing fits": (lambda: nn.Linear(5, 2), (1, 3), (1, 1, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_batch_axis_is_the_one_along_which_rows_stay_apart(case: str) -> None:
    make, shape, expected = CASES[case]
    assert tuple(example_of(make(), shape).shape) == expected


def test_flat_variables_have_no_batch_axis() -> None:
    assert tuple(example_of(Function(lambda x: 2 * x), (1,), flat=True).shape) == (1, 1)


def question(inputs: int, limit: float) -> certify.Specification:
    box = "".join(f"(declare-const X_{i} Real) (assert (>= X_{i} -2)) (assert (<= X_{i} 2))" for i in range(inputs))
    return certify.read_vnnlib(f"{box} (declare-const Y_0 Real) (assert (>= Y_0 {limit}))")


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_modules_of_few_inputs_are_split(inputs: int, activation: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(inputs, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 1))
    with torch.no_grad():
        most = float(module(4 * torch.rand(20000, inputs) - 2).max())
    assert certify.verify(module, question(inputs, most + 0.05), timeout=60).verdict == "unsat"
    assert certify.verify(module, question(inputs, most - 0.05), timeout=60).verdict == "sat"


def fails(x: Tensor) -> Tensor:
    raise KeyError("no such layer")


FAILING: dict[str, nn.Module] = {
    "an error of its own": Function(fails),
    "a wrong shape": nn.Linear(7, 2),
    "an axis that is not there": Function(lambda x: x.sum(5)),
    "no tensor": Function(lambda x: None),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize(
    "ask",
    [
        lambda module: certify.verify(module, question(2, 0.0)),
        lambda module: certify.verify(module, certify.robust(torch.zeros(1, 2), 0, eps=0.1)),
        lambda module: certify.bounds(module, certify.Box(torch.zeros(1, 2), torch.ones(1, 2))),
        lambda module: certify.compile(module, torch.zeros(1, 2)),
    ],
)
def test_errors_of_a_module_come_as_one_line(kind: str, ask: Any) -> None:
    with pytest.raises(certify.GraphError, match=r"the module (cannot be captured|fails|returns)") as caught:
        ask(FAILING[kind])
    assert "\n" not in str(caught.value)


def test_a_shape_that_does_not_fit_is_said_to_be_possibly_wrong() -> None:
    with pytest.raises(certify.GraphError, match="give example=, an input with a batch axis in front"):
        certify.verify(convolution(), question(16, 0.0))


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)), (6,)),
    "curves": (lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3)), (3,)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)),
        (1, 6, 6),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_and_its_file_get_the_same_graph_bounds_and_verdicts(name: str, tmp_path: Path) -> None:
    make, shape = MODULES[name]
    torch.manual_seed(1)
    module, x = make().eval(), torch.rand(1, *shape)
    torch.export.save(torch.export.export(module, (x,)), tmp_path / "net.pt2")
    model, compiled = certify.load(tmp_path / "net.pt2"), certify.compile(module, x)
    assert [node.op for node in compiled.frozen().graph.nodes] == [node.op for node in model.graph.nodes]
    box = certify.Box(x - 0.05, x + 0.05)
    for one, other in zip(certify.bounds(module, box, rounding=OUTWARD), certify.bounds(model, box, rounding=OUTWARD), strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad
    label = int(module(x).argmax())
    for answer, eps in ((label, "1/200"), ((label + 1) % 3, "1/200"), (label, 1)):
        asked = certify.robust(x.numpy(), answer, eps=eps)
        results = [certify.verify(source, asked, timeout=60) for source in (module, compiled, model)]
        assert len({result.verdict for result in results}) == 1
        assert results[0].verdict in ("unsat", "sat")


def test_nothing_records_derivatives_while_a_module_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    from certify.bounds import compute

    seen: list[bool] = []
    original = compute.bound_rows

    def watching(relaxed: Any, *arguments: Any, **settings: Any) -> Tensor:
        seen.append(any(constant.requires_grad for constant in relaxed.program.constants.values()))
        return original(relaxed, *arguments, **settings)

    monkeypatch.setattr("certify.search.proving.bound_rows", watching)
    module = MODULES["convolutions"][0]().eval()
    x = torch.rand(1, 1, 6, 6)
    certify.verify(module, certify.robust(x, int(module(x).argmax()), eps="1/1000"), timeout=30)
    assert seen
    assert not any(seen)
