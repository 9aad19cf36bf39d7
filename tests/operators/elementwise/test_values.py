"""What the rows evaluate is what the vocabulary defines."""

from __future__ import annotations

import numpy as np
import torch

from certify.graph.evaluate import DEFINITIONS


def test_values_are_those_of_the_definition(case) -> None:
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    x = x[case.defined(x, x)]
    params = case.params(torch.float64)
    expected = DEFINITIONS[case.name](x.numpy(), {key: value.numpy() for key, value in params.items()}, case.attrs)
    np.testing.assert_allclose(case.row.value(x, case.node, params).numpy(), expected, rtol=1e-9, atol=1e-8)


def test_values_are_differentiable(case) -> None:
    x = torch.linspace(-4.05, 4.05, 20, dtype=torch.float64)
    x = x[case.defined(x, x)].requires_grad_()
    (gradient,) = torch.autograd.grad(case.row.value(x, case.node, case.params(torch.float64)).sum(), x)
    assert bool(gradient.isfinite().all())
