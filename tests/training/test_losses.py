"""Losses on certified margins against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from certify.training import certified_cross_entropy, fuse, margin_rows, mix, mixed_cross_entropy

SEEDS = st.integers(0, 2**31)
EXAMPLES = settings(max_examples=60, deadline=None)


def random_batch(seed, classes, batch=5, scale=4.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (batch,), generator=generator)
    return logits, labels, generator


def margins_of(logits, labels):
    rows = margin_rows(labels, logits.shape[1], logits.dtype)
    return (rows @ logits[:, :, None]).squeeze(2)


@EXAMPLES
@given(seed=SEEDS, classes=st.integers(2, 12))
def test_margin_rows_give_every_difference_to_the_label_once(seed, classes):
    logits, labels, _ = random_batch(seed, classes)
    for margins, values, label in zip(margins_of(logits, labels), logits, labels, strict=True):
        expected = [float(values[label] - values[other]) for other in range(classes) if other != label]
        assert margins.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("labels", [[0, 10], [-1], [3, 11]])
def test_labels_that_are_no_class_are_refused(labels):
    with pytest.raises(ValueError, match="outside the 10 classes"):
        margin_rows(torch.tensor(labels), 10)


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(3, 1, dtype=torch.int64)])
def test_labels_that_are_no_list_of_integers_are_refused(labels):
    with pytest.raises(ValueError, match="integers of shape"):
        margin_rows(labels, 10)


@EXAMPLES
@given(seed=SEEDS, classes=st.integers(2, 12))
def test_certified_cross_entropy_of_exact_margins_is_cross_entropy(seed, classes):
    logits, labels, _ = random_batch(seed, classes)
    torch.testing.assert_close(certified_cross_entropy(margins_of(logits, labels)), cross_entropy(logits, labels))


@EXAMPLES
@given(seed=SEEDS, classes=st.integers(2, 12))
def test_certified_cross_entropy_is_an_upper_bound(seed, classes):
    logits, labels, generator = random_batch(seed, classes)
    slack = torch.rand(len(labels), classes - 1, generator=generator, dtype=torch.float64)
    assert certified_cross_entropy(margins_of(logits, labels) - slack) >= cross_entropy(logits, labels)


def test_certified_cross_entropy_is_finite_at_huge_margins_and_pulls_the_worst_one():
    margins = torch.tensor([[-1e4, 1e4, -1e3]], requires_grad=True)
    loss = certified_cross_entropy(margins)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert margins.grad.tolist() == [[-1.0, 0.0, 0.0]]


@EXAMPLES
@given(seed=SEEDS, kappa=st.floats(0, 1))
def test_mixed_cross_entropy_weighs_clean_against_certified(seed, kappa):
    logits, labels, _ = random_batch(seed, 7)
    lower = margins_of(logits, labels) - 1.0
    expected = kappa * cross_entropy(logits, labels) + (1 - kappa) * certified_cross_entropy(lower)
    torch.testing.assert_close(mixed_cross_entropy(logits, labels, lower, kappa), expected)


@EXAMPLES
@given(seed=SEEDS, beta=st.floats(0, 1))
def test_a_mixture_of_lower_bounds_is_a_lower_bound(seed, beta):
    logits, labels, generator = random_batch(seed, 7)
    margins = margins_of(logits, labels)
    tight, cheap = (margins - scale * torch.rand(margins.shape, generator=generator, dtype=torch.float64) for scale in (0.1, 3.0))
    assert bool((mix(tight, cheap, beta) <= margins + 1e-12).all())


@EXAMPLES
@given(seed=SEEDS, classes=st.integers(2, 12), width=st.sampled_from([0.0, 1e-9, 0.3, 20.0, 800.0]))
def test_the_fused_row_bounds_the_loss_at_every_point_of_the_intervals(seed, classes, width):
    logits, labels, generator = random_batch(seed, classes)
    rows, margins = margin_rows(labels, classes, torch.float64), margins_of(logits, labels)
    below, above = (width * torch.rand(margins.shape, generator=generator, dtype=torch.float64) for _ in range(2))
    fused = fuse(rows, margins - below, margins + above)
    at_the_point = (fused.row @ logits[:, :, None]).squeeze(2)
    assert fused.loss(at_the_point) >= cross_entropy(logits, labels) - 1e-9


@EXAMPLES
@given(seed=SEEDS, classes=st.integers(2, 12))
def test_the_fused_loss_is_exact_where_the_intervals_are_points(seed, classes):
    logits, labels, _ = random_batch(seed, classes)
    margins = margins_of(logits, labels)
    fused = fuse(margin_rows(labels, classes, torch.float64), margins, margins)
    torch.testing.assert_close(fused.loss((fused.row @ logits[:, :, None]).squeeze(2)), cross_entropy(logits, labels))


def test_the_fused_loss_has_finite_gradients_at_any_width():
    lower = torch.tensor([[-300.0, 0.0, 2.0]], requires_grad=True)
    upper = torch.tensor([[300.0, 0.0, 2.5]], requires_grad=True)
    fused = fuse(margin_rows(torch.tensor([1]), 4), lower, upper)
    fused.loss(torch.full((1, 1), -5.0)).backward()
    assert torch.isfinite(lower.grad).all()
    assert torch.isfinite(upper.grad).all()
