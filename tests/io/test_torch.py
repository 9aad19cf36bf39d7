"""Live modules: what is captured, what stays shared, what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from certify.api import bounds
from certify.graph import GraphError
from certify.io.torch import compile
from certify.sets import Box


class Function(nn.Module):
    """A module that applies a function to its layers' output and the input."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def residual(x: Tensor, first: nn.Module, norm: nn.Module, second: nn.Module) -> Tensor:
    y = norm(first(x)).relu_()
    return functional.relu(x + second(y)).mean((2, 3))


def written_in_place(x: Tensor, first: nn.Module, second: nn.Module) -> Tensor:
    y = first(x)
    z = y
    y.mul_(2.0)
    z.relu_()
    return second(z) + y[:, :2]


def branches(x: Tensor, left: nn.Module, right: nn.Module) -> Tensor:
    both = torch.cat([left(x).sigmoid(), torch.maximum(right(x), left(x)), x.flatten(1)[:, :1]], 1)
    return both.unflatten(1, (1, -1)).amax(1) - both.mean(1, keepdim=True)


def computed_weight(x: Tensor, layer: nn.Linear) -> Tensor:
    scaled = layer.weight * layer.weight.abs().sum()
    return x @ scaled.t() + functional.linear(x, layer.weight[:2], layer.bias[:2]).sum(1, keepdim=True)


def without_gradient(x: Tensor, layer: nn.Module) -> Tensor:
    with torch.no_grad():
        scaled = functional.interpolate(x[:, None], scale_factor=2.0, mode="linear")[:, 0]
    return layer(scaled)


def chunks(x: Tensor, layer: nn.Module) -> Tensor:
    first, second = layer(x).chunk(2, 1)
    return torch.stack([first, second], -1).flatten(1).clamp(min=torch.tensor(0.1)) * x.new_ones(1) * x.size(0)


def fused(module: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(module)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3)), (4,)),
    "conv": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3, padding="same"),
            nn.BatchNorm2d(3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.BatchNorm1d(12),
            nn.Linear(12, 3),
        ),
        (1, 8, 8),
    ),
    "residual": (lambda: Function(residual, nn.Conv2d(2, 3, 3, 1, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)), (2, 4, 4)),
    "uneven mean": (
        lambda: nn.Sequential(nn.AvgPool2d(2, 1, 1, count_include_pad=False), nn.BatchNorm2d(2), nn.Hardswish(), nn.Flatten()),
        (2, 3, 3),
    ),
    "generator": (
        lambda: nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2)), nn.ConvTranspose2d(2, 1, 3, 2, 1, 1), nn.Tanh()),
        (3,),
    ),
    "written in place": (lambda: Function(written_in_place, nn.Linear(3, 3), nn.Linear(3, 2)), (3,)),
    "branches": (lambda: Function(branches, nn.Linear(3, 2), nn.Linear(3, 2)), (3,)),
    "computed weight": (lambda: Function(computed_weight, nn.Linear(3, 4)), (3,)),
    "weight norm": (lambda: nn.Sequential(fused(nn.Linear(3, 4)), nn.ELU(), fused(nn.Linear(4, 2))), (3,)),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)), (3,)),
    "no_grad": (lambda: Function(without_gradient, nn.Linear(6, 2)), (3,)),
    "chunks": (lambda: Function(chunks, nn.Linear(3, 4)), (3,)),
    "channels last": (lambda: nn.Sequential(nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last), nn.Flatten()), (1, 4, 4)),
    "double": (lambda: nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.PReLU(4)).double(), (3,)),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A module in eval mode with statistics that are not those of a new one, and a batch of inputs."""
    make, shape = MODULES[name]
    torch.manual_seed(0)
    module = make().eval()
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 2.0)
    return module, torch.rand(3, *shape, dtype=next(module.parameters()).dtype)


@pytest.mark.parametrize("name", MODULES)
def test_a_captured_module_computes_what_the_module_computes(name: str) -> None:
    module, x = made(name)
    model = compile(module, x)
    expected = torch.cat([module(point) for point in x.split(1)])
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)
    assert model.live
    assert model.reference is not None
    np.testing.assert_allclose(model.reference(x[:1].float().numpy()), expected[:1].detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_gradients_reach_the_parameters_through_the_model(name: str) -> None:
    module, x = made(name)
    model = compile(module, x)
    parameters = [p for p in module.parameters() if p.requires_grad]
    weights = torch.rand_like(model(x))
    expected = torch.autograd.grad((torch.cat([module(point) for point in x.split(1)]) * weights).sum(), parameters)
    found = torch.autograd.grad((model(x) * weights).sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_later_changes_of_parameters_and_buffers_are_seen(name: str) -> None:
    module, x = made(name)
    model = compile(module, x)
    before = model(x)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.25)
    torch.testing.assert_close(model(x), torch.cat([module(point) for point in x.split(1)]), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(x), before)


def test_constants_are_the_modules_own_tensors() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    constants = compile(module, torch.zeros(1, 3)).graph.constants
    assert {id(value) for value in constants.values()} == {id(p) for p in module.parameters()}


def test_capturing_leaves_the_module_as_it_was() -> None:
    module, x = made("conv")
    state, modes = copy.deepcopy(module.state_dict()), [layer.training for layer in module.modules()]
    compile(module, x)
    assert [layer.training for layer in module.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_a_module_in_training_mode_without_layers_that_mind_is_captured() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.0), nn.ReLU()).train()
    compile(module, torch.zeros(1, 3))
    assert module.training


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.Dropout(0.1)])
def test_layers_in_training_mode_are_refused_with_the_next_step(layer: nn.Module) -> None:
    module = nn.Sequential(nn.Linear(3, 3), layer).train()
    with pytest.raises(GraphError, match=rf"layer 1 \({type(layer).__name__}\) is in training mode.*call \.eval\(\)"):
        compile(module, torch.zeros(1, 3))


def test_batch_statistics_are_refused_even_in_eval_mode() -> None:
    module = nn.Sequential(nn.Conv1d(1, 3, 1), nn.BatchNorm1d(3, track_running_stats=False)).eval()
    with pytest.raises(GraphError, match="statistics of the batch"):
        compile(module, torch.zeros(1, 1, 4))


def decides(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def repeats(x: Tensor) -> Tensor:
    for _ in range(int(x.sum())):
        x = x + 1
    return x


@pytest.mark.parametrize("function", [decides, repeats])
def test_control_flow_on_values_is_refused_with_the_next_step(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(GraphError, match=r"depends on values of its input.*torch\.clamp") as caught:
        compile(Function(function), torch.ones(1, 3))
    assert "\n" not in str(caught.value)
    assert "test_torch.py" in str(caught.value)


def test_an_unknown_operation_is_named_with_its_node_and_place() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Softmax(1))
    with pytest.raises(GraphError, match=r"node softmax: aten\.softmax\.int is not supported.*of module 1") as caught:
        compile(module, torch.zeros(1, 3))
    assert "\n" not in str(caught.value)


def test_what_the_output_does_not_depend_on_needs_no_rule() -> None:
    def unused(x: Tensor) -> Tensor:
        (x > 0).sum()
        x.sort(1)
        return x * 2

    assert compile(Function(unused), torch.zeros(1, 3)).graph.output_shape == (1, 3)


def test_reading_a_program_leaves_the_state_of_torch_alone() -> None:
    with pytest.raises(GraphError, match="is not supported"):
        compile(Function(lambda x: torch.vmap(torch.relu)(x)), torch.zeros(1, 3))
    torch.rand(1)  # which vmap forbids inside


class Counting(nn.Module):
    """Changes a buffer whenever it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x + 1


def test_a_module_that_changes_its_buffers_is_refused_and_left_alone() -> None:
    module = Counting()
    with pytest.raises(GraphError, match="changes count when it is evaluated"):
        compile(module, torch.zeros(1, 3))
    assert module.count == 0


def test_a_module_that_writes_to_its_input_leaves_the_example_alone() -> None:
    x = torch.tensor([[-1.0, 2.0]])
    model = compile(nn.ReLU(inplace=True), x)
    point = np.array([[-1.0, 2.0]], np.float32)
    assert model.reference is not None
    np.testing.assert_array_equal(model.reference(point), [[0.0, 2.0]])
    assert point[0, 0] == -1.0
    assert x[0, 0] == -1.0


REFUSED = [
    (Function(lambda x: (x, x)), torch.zeros(1, 2), "returns tuple"),
    (Function(lambda x: x.argmax(1)), torch.zeros(1, 2), "returns a tensor of torch.int64"),
    (Function(lambda x: torch.ones(1, 2)), torch.zeros(1, 2), "does not depend on its input"),
    (Function(lambda x: functional.dropout(x, 0.5, training=True)), torch.ones(1, 2), "random in training mode"),
    (
        nn.Linear(3, 2),
        torch.zeros(1, 4),
        r"cannot be captured on an input of shape \[1, 4\]: .*mat1 and mat2|a and b must have same",
    ),
    (nn.Bilinear(3, 3, 2), torch.zeros(1, 3), "cannot be captured on an input.*missing a required argument"),
    (nn.Linear(3, 2), torch.zeros(1, 3, dtype=torch.int64), "must be a batch of inputs, floating-point"),
    (nn.Linear(3, 2), torch.zeros(0, 3), "must be a batch of inputs"),
    (nn.Linear(3, 2), torch.tensor(0.0), "must be a batch of inputs"),
]


@pytest.mark.parametrize(("module", "example", "reason"), REFUSED)
def test_what_is_no_network_of_one_input_and_output_is_refused(module: nn.Module, example: Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        compile(module, example)
    assert "\n" not in str(caught.value)


def test_an_example_may_be_an_array_of_several_inputs() -> None:
    assert compile(nn.Linear(3, 2), np.zeros((5, 3))).graph.input_shape == (1, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", MODULES)
def test_a_module_on_a_gpu_is_captured_and_evaluated_there(name: str) -> None:
    module, x = made(name)
    module, x = module.cuda(), x.cuda()
    model = compile(module, x.cpu())
    assert model(x).device == x.device
    torch.testing.assert_close(model(x), torch.cat([module(point) for point in x.split(1)]), rtol=1e-3, atol=1e-4)


@st.composite
def networks(draw: st.DrawFn) -> nn.Sequential:
    """A convolutional network of random layers, for inputs of shape (2, 6, 6)."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels, size, layers = 2, 6, []
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel // 2))
        if size + 2 * padding < kernel:
            break
        kind = draw(st.sampled_from(["conv", "grouped", "pool", "mean", "up", "norm"]))
        layers += {
            "conv": lambda c, k, s, p: [nn.Conv2d(c, 4, k, s, p), nn.ReLU(inplace=True)],
            "grouped": lambda c, k, s, p: [nn.Conv2d(c, c, k, s, p, groups=c, bias=False), nn.LeakyReLU(0.2)],
            "pool": lambda c, k, s, p: [nn.MaxPool2d(k, s, p)],
            "mean": lambda c, k, s, p: [nn.AvgPool2d(k, s, p, count_include_pad=False)],
            "up": lambda c, k, s, p: [nn.ConvTranspose2d(c, 2, k, s, min(p, (k - 1) // 2)), nn.Sigmoid()],
            "norm": lambda c, k, s, p: [nn.BatchNorm2d(c), nn.Hardswish()],
        }[kind](channels, kernel, stride, padding)
        channels, size = nn.Sequential(*layers).eval()(torch.zeros(1, 2, 6, 6)).shape[1:3]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size**2, 3)).eval()


@settings(max_examples=15)
@given(networks())
def test_random_networks_are_captured_as_they_are(module: nn.Module) -> None:
    x = torch.randn(2, 2, 6, 6)
    torch.testing.assert_close(compile(module, x)(x), module(x), rtol=1e-4, atol=1e-5)


def test_layers_that_cancel_when_they_are_merged_are_no_misreading() -> None:
    module = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[10001.123], [10000.456]]))
        module[1].weight.copy_(torch.tensor([[1.0, -1.0]]))
    assert compile(module, torch.zeros(1, 1)).frozen().graph.plain is not None


def test_threads_that_ask_about_one_module_at_once_are_all_answered() -> None:
    module, box = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), Box(torch.zeros(1, 3), torch.ones(1, 3))
    expected = bounds(module, box)
    start = Barrier(4)

    def ask(_: int) -> tuple[Tensor, Tensor]:
        other = copy.deepcopy(module)  # not captured yet
        start.wait()
        for asked in (other, module):
            found = bounds(asked, box)
        return found

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(ask, range(4)):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert type(module[0].weight) is nn.Parameter


def test_bounds_of_one_number_written_to_several_places() -> None:
    def write(x: Tensor) -> Tensor:
        y = x * 2
        y[:, [0, 2]] = 1.5
        return y.index_fill(1, torch.tensor([3]), 0.5)

    lower, upper = bounds(Function(write), Box(torch.zeros(1, 4), torch.ones(1, 4)))
    torch.testing.assert_close(lower, torch.tensor([[1.5, 0.0, 1.5, 0.5]]))
    torch.testing.assert_close(upper, torch.tensor([[1.5, 2.0, 1.5, 0.5]]))


def test_a_module_without_numbers_is_refused() -> None:
    with pytest.raises(GraphError, match="weight of the module lies on device meta"):
        compile(nn.Linear(2, 2, device="meta"), torch.zeros(1, 2))
