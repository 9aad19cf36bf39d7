"""Every kernel against its numpy definition: numba on the CPU and the torch operations of other devices, contiguous or not."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from certify.kernels import autograd, dispatch, reference

SEEDS = st.integers(0, 10**6)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


class Elsewhere(torch.Tensor):
    """A tensor on the CPU that says it is not: what runs on it is the code for other devices."""

    @property
    def device(self) -> SimpleNamespace:  # type: ignore[override]
        return SimpleNamespace(type="elsewhere")


@pytest.fixture(params=["numba", "torch"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Makes the dispatch take the branch of the CPU, or of any other device."""
    if request.param == "numba":
        yield lambda tensor: tensor
        return
    arange = torch.arange
    monkeypatch.setattr(torch, "arange", lambda *args, device=None, **kwargs: arange(*args, **kwargs))
    yield lambda tensor: tensor.as_subclass(Elsewhere)


class Draw:
    """Random operands: rows with zeros, transposed storage every other time, owners in any order."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float64) -> None:
        self.random, self.dtype = np.random.default_rng(seed), dtype
        self.rows, self.owners, self.n = (int(self.random.integers(1, top)) for top in (7, 4, 20))

    def tensor(self, *shape: int) -> Tensor:
        values = self.random.normal(size=shape) * (self.random.random(shape) < 0.8)
        tensor = torch.from_numpy(values).to(self.dtype)
        return tensor.transpose(0, -1).contiguous().transpose(0, -1) if self.random.random() < 0.5 else tensor

    def owner(self) -> Tensor:
        return torch.from_numpy(self.random.integers(self.owners, size=self.rows))

    def lines(self, *shape: int) -> list[Tensor]:
        return [self.tensor(self.owners, *shape) for _ in range(4)]

    def windows(self) -> tuple[Tensor, Tensor, tuple[int, int, int], int]:
        """Windows, origins inside and outside the space, the space, and the channels."""
        channels, *space = (int(n) for n in self.random.integers(1, 5, 4))
        size = self.random.integers(1, 4, 3)
        origin = np.stack([self.random.integers(-4, n + 3, self.rows) for n in space], axis=1)
        return self.tensor(self.rows, channels, *size), torch.from_numpy(origin), (space[0], space[1], space[2]), channels


def close(found: Tensor, expected: np.ndarray) -> None:
    """Equal up to the order of a few additions."""
    rtol = 1e-4 if found.dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(found.detach().as_subclass(torch.Tensor).numpy(), expected, rtol=rtol, atol=rtol)


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@DTYPES
def test_rows_are_relaxed_followed_minimised_and_measured_as_defined(place, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    @given(seed=SEEDS)
    def holds(seed: int) -> None:
        draw = Draw(seed, dtype)
        a, x, lower, upper = draw.tensor(draw.rows, draw.n), draw.tensor(draw.rows, draw.n), draw.owner(), draw.owner()
        ls, lb, us, ub = draw.lines(draw.n)
        operands = (a, ls, lb, lower, us, ub, upper)
        for found, expected in zip(dispatch.relax(place(a), *operands[1:]), reference.relax(*arrays(*operands)), strict=True):
            close(found, expected)
        close(dispatch.follow(x, place(a), *operands[1:]), reference.follow(*arrays(x, *operands)))
        close(dispatch.minimise(place(a), ls, us, lower), reference.minimise(*arrays(a, ls, us, lower)))
        close(dispatch.magnitude(place(a), ls.abs(), lower), reference.magnitude(*arrays(a, ls.abs(), lower)))
        close(dispatch.norm(place(a)), reference.norm(*arrays(a)))
        gradients = (draw.tensor(draw.rows, draw.n), draw.tensor(draw.rows))
        found = dispatch.relax_gradients(place(a), *operands[1:], *gradients)
        for one, expected in zip(found, reference.relax_gradients(*arrays(*operands, *gradients)), strict=True):
            close(one, expected)

    holds()


@DTYPES
@pytest.mark.parametrize("size", ["tiny", "max"])
def test_norms_survive_squares_that_underflow_or_overflow(place, dtype: torch.dtype, size: str) -> None:  # type: ignore[no-untyped-def]
    unit = getattr(torch.finfo(dtype), size) / 8
    rows = unit * torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=dtype)
    close(dispatch.norm(place(rows)) / unit, np.array([5.0, 0.0, 1.0]))


@DTYPES
def test_windows_stand_for_the_rows_they_are_defined_as(place, dtype: torch.dtype) -> None:  # type: ignore[no-untyped-def]
    @given(seed=SEEDS)
    def holds(seed: int) -> None:
        draw = Draw(seed, dtype)
        windows, origin, space, channels = draw.windows()
        owner, lines = draw.owner(), draw.lines(channels, *space)
        flat = [line.flatten(2) for line in lines]
        dense = reference.window_dense(*arrays(windows, origin), space)
        close(dispatch.window_dense(place(windows), origin, space).flatten(2), dense)
        new, shift = dispatch.window_relax(place(windows), origin, *lines, owner)
        wanted = reference.window_relax(*arrays(windows, origin), space, *arrays(*flat, owner))
        close(new, wanted[0])
        close(shift, wanted[1])
        lowest = reference.minimise(dense.reshape(draw.rows, -1), *arrays(lines[0].flatten(1), lines[2].flatten(1), owner))
        close(dispatch.window_minimise(place(windows), origin, lines[0], lines[2], owner), lowest)

    holds()


@DTYPES
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_is_never_lost(place, dtype: torch.dtype, bad: float) -> None:  # type: ignore[no-untyped-def]
    a = torch.tensor([[1.0, bad, -1.0]], dtype=dtype)
    one, owner = torch.ones(1, 3, dtype=dtype), torch.zeros(1, dtype=torch.int64)
    new, shift = dispatch.relax(place(a), one, one, owner, one, one, owner)
    results = (new[0, 1], shift, dispatch.minimise(place(a), one, one, owner), dispatch.magnitude(place(a), one, owner))
    results = (*results, dispatch.norm(place(a)))
    assert not any(bool(torch.isfinite(value).any()) for value in results)
    window, origin, lines = a.reshape(1, 1, 1, 1, 3), torch.zeros(1, 3, dtype=torch.int64), one.reshape(1, 1, 1, 1, 3)
    assert not bool(torch.isfinite(dispatch.window_minimise(place(window), origin, lines, lines, owner)).any())
    assert not bool(torch.isfinite(dispatch.window_relax(place(window), origin, lines, lines, lines, lines, owner)[1]).any())


@settings(max_examples=15)
@given(seed=SEEDS)
def test_gradients_of_the_row_kernels_are_finite_differences(seed: int) -> None:
    draw = Draw(seed)
    draw.n = 5
    lower, upper = draw.owner(), draw.owner()
    a = torch.from_numpy(draw.random.choice([-1, 1], (draw.rows, 5)) * draw.random.uniform(0.1, 1, (draw.rows, 5)))
    inputs = [x.contiguous().requires_grad_() for x in (a, *draw.lines(5))]
    assert gradcheck(lambda a, ls, lb, us, ub: autograd.relax(a, ls, lb, lower, us, ub, upper), inputs)
    assert gradcheck(lambda a, low, high: autograd.minimise(a, low, high, lower), inputs[:3])
    assert gradcheck(autograd.norm, inputs[:1])


@settings(max_examples=15)
@given(seed=SEEDS)
def test_gradients_of_the_window_kernels_are_finite_differences(seed: int) -> None:
    draw = Draw(seed)
    draw.rows = 2
    windows, origin, space, channels = draw.windows()
    windows = torch.where(windows.abs() < 0.1, 0.5, windows)  # away from the kink
    owner = draw.owner()
    inputs = [x.contiguous().requires_grad_() for x in (windows, *draw.lines(channels, *space))]
    slow = {"fast_mode": True}
    assert gradcheck(lambda w, *lines: autograd.window_relax(w, origin, *lines, owner), inputs, **slow)
    assert gradcheck(lambda w, low, high: autograd.window_minimise(w, origin, low, high, owner), inputs[:3], **slow)
    assert gradcheck(lambda w: autograd.window_dense(w, origin, space), inputs[:1], **slow)
    assert gradcheck(lambda w: autograd.window_mask(w, origin, space), inputs[:1], **slow)


def test_rows_shared_among_threads_give_what_one_thread_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Draw(3)
    draw.rows, draw.n = 7, 11
    a, owner, (ls, lb, us, ub) = draw.tensor(7, 11), draw.owner(), draw.lines(11)
    gradients = (draw.tensor(7, 11), draw.tensor(7))
    alone = [
        *dispatch.relax(a, ls, lb, owner, us, ub, owner),
        *dispatch.relax_gradients(a, ls, lb, owner, us, ub, owner, *gradients),
    ]
    monkeypatch.setattr(dispatch, "_ELEMENTS_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = [
        *dispatch.relax(a, ls, lb, owner, us, ub, owner),
        *dispatch.relax_gradients(a, ls, lb, owner, us, ub, owner, *gradients),
    ]
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one, other)
