"""Switches that the owner of a process may have set: what is claimed holds all the same, or is refused with the reason."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import certify
from certify.bounds.rounding import NEAREST, OUTWARD
from certify.environment import own_settings, proving, user_settings

ROOT = Path(__file__).resolve().parents[1]
SUBNORMAL = sys.float_info.min / 8


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def flushing() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


SWITCHES: dict[str, Callable[[], Any]] = {
    "nothing": ExitStack,
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype float16": lambda: default_dtype(torch.float16),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device meta": lambda: torch.device("meta"),
    "deterministic algorithms": deterministic,
    "flushed subnormals": flushing,
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "bfloat16 products": lambda: matmul_precision("medium"),
}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 3)).eval()


X = torch.rand(2, 40, generator=torch.Generator().manual_seed(0))
DOUBLE = X.double()


def settings() -> tuple[Any, ...]:
    """What the owner of a process set and must find again."""
    return (
        torch.is_autocast_enabled("cpu"),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_float32_matmul_precision(),
        SUBNORMAL * 1.0 == 0.0,
    )


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown"])
def test_outward_bounds_hold_the_values_whatever_is_set(switch: str, method: str) -> None:
    exact = network().double()(DOUBLE).detach()
    lowest = network().double()(DOUBLE - 0.01).detach()
    for source in (network(), certify.compile(network(), X)):
        with SWITCHES[switch]():
            before = settings()
            box = certify.Box(DOUBLE - 0.01, DOUBLE)
            lower, upper = certify.bounds(source, box, method, rounding=OUTWARD)
            assert settings() == before
        assert lower.dtype == torch.float64
        assert bool(((lower <= exact) & (exact <= upper) & (lower <= lowest) & (lowest <= upper)).all())


@pytest.mark.parametrize("switch", SWITCHES)
def test_float32_bounds_hold_the_values_or_are_refused(switch: str) -> None:
    exact = network().double()(DOUBLE).detach()
    module = network()
    with SWITCHES[switch]():
        try:
            lower, upper = certify.bounds(module, certify.Box(X, X), "ibp", rounding=OUTWARD)
        except ValueError as error:
            assert switch == "bfloat16 products"
            assert "set_float32_matmul_precision('highest')" in str(error)  # noqa: PT017
            return
    assert lower.dtype == torch.float32
    assert bool(((lower <= exact) & (exact <= upper)).all())


@pytest.mark.parametrize("switch", SWITCHES)
def test_bounds_for_training_are_the_same_whatever_is_set(switch: str) -> None:
    if switch == "bfloat16 products":
        pytest.skip("its owner wants products of fewer digits in training")
    expected = certify.bounds(network(), certify.Box(X, X + 0.1), "crown")
    module = network()
    with SWITCHES[switch]():
        found = certify.bounds(module, certify.Box(X, X + 0.1), "crown")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("switch", SWITCHES)
def test_verdicts_are_the_same_whatever_is_set(switch: str) -> None:
    module, x = network(), X[0]
    label = int(module(x[None]).argmax())
    questions = [certify.robust(x.numpy(), answer, eps="1/50") for answer in (label, (label + 1) % 3)]
    expected = [certify.verify(module, question, timeout=60).verdict for question in questions]
    assert expected == ["unsat", "sat"]
    model = certify.compile(module, x[None])
    with SWITCHES[switch]():
        before = settings()
        assert [certify.verify(module, question, timeout=60).verdict for question in questions] == expected
        assert [certify.verify(model, question, timeout=60).verdict for question in questions] == expected
        assert settings() == before


@pytest.mark.parametrize("switch", SWITCHES)
def test_modules_are_compiled_and_files_read_whatever_is_set(switch: str, tmp_path: Path) -> None:
    module = network()
    torch.export.save(torch.export.export(module, (X[:1],)), tmp_path / "net.pt2")
    with SWITCHES[switch]():
        models = [certify.compile(module, X), certify.load(tmp_path / "net.pt2"), certify.load(ROOT / "models" / "digits_mlp.onnx")]
        for model in models:
            model.program()
    for model in models:  # what was kept inside can be used outside, by autograd too
        box = certify.Box(
            torch.zeros(1, *model.graph.input_shape[1:]), torch.ones(1, *model.graph.input_shape[1:]).requires_grad_()
        )
        lower, upper = certify.bounds(model, box, "ibp")
        (upper - lower).sum().backward()
        assert box.upper.grad is not None


class Scaled(nn.Module):
    """Makes numbers of the default dtype, on the default device, when it is run."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor(0.1)


def test_a_module_is_run_with_the_default_dtype_of_its_owner() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    with default_dtype(torch.float64):
        lower, upper = certify.bounds(Scaled(), certify.Box(x, x), "ibp")
    assert float(lower) == float(upper) == 0.1
    lower, upper = certify.bounds(Scaled(), certify.Box(x, x), "ibp")
    assert float(lower) == float(upper) == float(torch.tensor(0.1))


def fail_inside() -> None:
    with own_settings():
        assert torch.get_default_dtype() == torch.float32
        with user_settings():
            assert torch.get_default_dtype() == torch.float64
        raise RuntimeError("within")


def test_what_the_owner_set_comes_back_behind_an_error_and_between_threads() -> None:
    with default_dtype(torch.float64):
        with pytest.raises(RuntimeError, match="within"):
            fail_inside()
        assert torch.get_default_dtype() == torch.float64
        inside, over = threading.Event(), threading.Event()

        def work() -> None:
            with own_settings():
                inside.set()
                over.wait()

        other = threading.Thread(target=work)
        with own_settings():
            other.start()
            inside.wait()
        assert torch.get_default_dtype() == torch.float32  # the other thread still computes
        over.set()
        other.join()
        assert torch.get_default_dtype() == torch.float64


def test_subnormal_numbers_are_kept_inside_and_dropped_again_behind() -> None:
    with flushing():
        assert SUBNORMAL * 1.0 == 0.0
        with proving():
            assert SUBNORMAL * 1.0 == SUBNORMAL
            assert float(torch.tensor(SUBNORMAL, dtype=torch.float64) * 1.0) == SUBNORMAL
            found: list[float] = []
            thread = threading.Thread(target=lambda: found.append(SUBNORMAL * 1.0))
            thread.start()
            thread.join()
            assert found == [SUBNORMAL]
        assert SUBNORMAL * 1.0 == 0.0
    assert SUBNORMAL * 1.0 == SUBNORMAL


UPWARD, DOWNWARD, TO_ZERO = 0x800, 0x400, 0xC00  # x86: fenv.h


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of the rounding modes")
@pytest.mark.parametrize("mode", [UPWARD, DOWNWARD, TO_ZERO])
def test_nothing_is_proved_where_sums_are_not_rounded_to_nearest(mode: int) -> None:
    library = ctypes.CDLL(None)
    before = library.fegetround()
    library.fesetround(mode)
    try:
        with pytest.raises(ValueError, match=r"does not round to nearest: .* fesetround"), proving():
            pass
    finally:
        library.fesetround(before)
    with proving():
        pass


@pytest.mark.parametrize(
    ("name", "value"), [("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"), ("DNNL_DEFAULT_FPMATH_MODE", "any"), ("NVIDIA_TF32_OVERRIDE", "1")]
)
def test_variables_that_take_digits_from_float32_refuse_float32(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    device = "cuda" if name.startswith("NVIDIA") else "cpu"
    with pytest.raises(ValueError, match=f"variable {name} lets float32 products"), proving(torch.float32, device):
        pass
    with proving(torch.float64, device), proving(torch.float32, {"cpu": "cuda", "cuda": "cpu"}[device]):
        pass


@pytest.mark.parametrize(("backend", "operation"), [("mkldnn", "matmul"), ("mkldnn", "conv"), ("cuda", "matmul")])
@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this torch has no such switch")
def test_precisions_by_backend_are_read(backend: str, operation: str) -> None:
    switch = getattr(getattr(torch.backends, backend), operation)
    before = switch.fp32_precision
    switch.fp32_precision = "tf32"
    device = "cuda" if backend == "cuda" else "cpu"
    try:
        with pytest.raises(ValueError, match="float32 products are computed with fewer digits"), proving(torch.float32, device):
            pass
    finally:
        switch.fp32_precision = before
    with proving(torch.float32, device):
        pass


def test_convolutions_of_libraries_that_mix_pixels_are_off_in_float32_and_on_again() -> None:
    with proving(torch.float64, "cuda"):
        assert torch.backends.cudnn.enabled
    with proving(torch.float32, "cuda"):
        assert not torch.backends.cudnn.enabled
        with proving(torch.float32, "cuda"):
            pass
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled


def test_a_default_device_of_the_whole_process_is_none_of_ours() -> None:
    module = network()
    torch.set_default_device("meta")
    try:
        model = certify.compile(module, X)
        box = certify.Box(X.numpy(), X.numpy())
        assert len(certify.bounds(model, box, rounding=OUTWARD)) == 2
        assert certify.verify(model, certify.robust(X[0], 0, eps=0, targets=[0])).verdict != "timed-out"
        with pytest.raises(ValueError, match="device meta, where tensors hold no numbers"):
            certify.Box(torch.zeros(1, 40), torch.zeros(1, 40))
    finally:
        torch.set_default_device(None)


IN_PROCESS = """
import torch, certify, numpy as np
from certify.bounds.rounding import OUTWARD
from certify.graph import GraphBuilder
builder = GraphBuilder()
x = builder.input("x", (1, 2))
model = certify.Model(builder.build(builder.add("relu", [x])))
torch.set_num_threads(2)
{then}
box = certify.Box(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
for question in (
    lambda: str(certify.bounds(model, box, rounding=OUTWARD)[0] <= 0),
    lambda: certify.verify(model, certify.robust(np.array([3.0, 1.0]), 0, eps=0.5), timeout=30).verdict,
):
    try:
        print(question())
    except ValueError as error:
        print(error)
"""

PROCESSES: dict[str, tuple[str, str, str]] = {
    # name: what is set, what bounds say, what verify says
    "threads that drop subnormal numbers": (
        "torch.set_flush_denormal(True); torch.ones(100000) + 1; torch.set_flush_denormal(False)",
        "threads of torch that run already drop subnormal numbers",
        "threads of torch that run already drop subnormal numbers",
    ),
    "threads made before subnormal numbers were dropped": (
        "torch.ones(100000) + 1; torch.set_flush_denormal(True)",
        "True",
        "unsat",
    ),
    "our own threads, made while subnormal numbers were dropped": (
        "torch.set_flush_denormal(True); from certify.kernels.dispatch import _pool; "
        "assert all(n * 1.0 for n in [2.0**-1030]) == False; "
        "assert all(_pool(2).map(lambda n: n * 1.0 > 0, [5e-324] * 4)); torch.set_flush_denormal(False)",
        "True",
        "unsat",
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_threads_of_a_process_are_checked(name: str) -> None:
    then, bounded, verdict = PROCESSES[name]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_PROCESS.format(then=then)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert bounded in first
    assert verdict in second


def test_a_verdict_without_torch_checks_its_thread_too() -> None:
    script = """
import ctypes, sys
import certify
from certify.environment import proving
assert "torch" not in sys.modules
library = ctypes.CDLL(None)
library.fesetround(0x800)
try:
    with proving():
        print("proved")
except ValueError as error:
    print(error)
"""
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of the rounding modes")
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "does not round to nearest" in done.stdout


def test_rounding_to_nearest_needs_no_claims() -> None:
    """Training goes on where nothing could be proved."""
    with matmul_precision("medium"):
        lower, _ = certify.bounds(network(), certify.Box(X, X), "ibp", rounding=NEAREST)
        lower.sum().backward()
