"""Gradients of the kernels that a certified training step goes through, against finite differences and the numpy definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from certify.kernels import autograd, dispatch, reference


def drawn(seed, rows, columns, owners, dtype=torch.float64):
    """Rows, two vectors per owner with lower < upper, and owners."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, columns, generator=generator, dtype=dtype)
    lower = torch.randn(owners, columns, generator=generator, dtype=dtype)
    return a, lower, lower + torch.rand(owners, columns, generator=generator, dtype=dtype), torch.randint(owners, (rows,))


shapes = {"seed": st.integers(0, 99), "rows": st.integers(1, 9), "columns": st.integers(1, 40), "owners": st.integers(1, 4)}


@given(**shapes)
def test_the_gradient_of_the_minimum_over_a_box_is_its_finite_difference(seed, rows, columns, owners):
    a, lower, upper, owner = drawn(seed, rows, columns, owners)
    inputs = tuple(tensor.requires_grad_() for tensor in (a, lower, upper))
    assert gradcheck(lambda *x: autograd.minimise(*x, owner), inputs, eps=1e-7, atol=1e-5)


@given(**shapes)
def test_the_minimiser_attains_the_minimum(seed, rows, columns, owners):
    a, lower, upper, owner = drawn(seed, rows, columns, owners)
    point = dispatch.minimiser(a, lower, upper, owner)
    assert (point == torch.from_numpy(reference.minimiser(*(x.numpy() for x in (a, lower, upper, owner))))).all()
    torch.testing.assert_close((a * point).sum(dim=1), dispatch.minimise(a, lower, upper, owner))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(**shapes)
def test_gradients_of_a_relaxation_equal_their_definition_in_every_block_of_columns(dtype, seed, rows, columns, owners):
    a, slope, shift, owner = drawn(seed, rows, columns, owners, dtype)
    _, other_slope, other_shift, other = drawn(seed + 100, rows, columns, owners, dtype)
    a[:, ::5] = 0.0
    grads = torch.randn(rows, columns, dtype=dtype), torch.randn(rows, dtype=dtype)
    inputs = (a, slope, shift, owner, other_slope, other_shift, other, *grads)
    expected = reference.relax_gradients(*(x.numpy() for x in inputs))
    for found, wanted in zip(dispatch.relax_gradients(*inputs), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 99), shape=st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_the_gradient_of_centre_and_radius_is_their_finite_difference(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    ends = tuple(torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert gradcheck(autograd.halves, ends)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centre_and_radius_equal_their_definition_at_every_scale(dtype):
    info = torch.finfo(dtype)
    ends = torch.tensor([0.0, -0.0, info.tiny, -info.tiny * info.eps, 1.0, -3.5, info.max, -info.max], dtype=dtype)
    lower, upper = (end.t() for end in torch.meshgrid(ends, ends, indexing="ij"))
    for found, wanted in zip(dispatch.halves(lower, upper), reference.halves(lower.numpy(), upper.numpy()), strict=True):
        assert (found == torch.from_numpy(wanted)).all()
