"""Deterministic l_1 certificates: exact, checked against every perturbation of tiny images."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from certify.smoothing.deterministic import Splitting, certified_vote, certify_l1

LEVELS = 4
SPLITTING = Splitting(passes=10, levels=LEVELS)


def classify(x: Tensor) -> Tensor:
    """Three classes, nothing smooth about them."""
    flat = x.flatten(1)
    return torch.stack((flat[:, 0] + 0.1, flat.square().sum(dim=1), flat[:, -1] * 1.3 - flat[:, 0]), dim=1)


def votes(images: list[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, float]]:
    x = torch.tensor(images) / LEVELS
    found = certify_l1(classify, x, 3, SPLITTING, batch=3)
    return {image: (vote.label, vote.radius) for image, vote in zip(images, found, strict=True)}


def test_no_image_within_the_radius_has_another_vote() -> None:
    """All images of three pixels with five levels, every one against every other."""
    images = list(product(range(LEVELS + 1), repeat=3))
    found = votes(images)
    assert any(radius > 0 for _, radius in found.values())
    for image, (label, radius) in found.items():
        for other in images:
            distance = sum(abs(a - b) for a, b in zip(image, other, strict=True)) / LEVELS
            assert distance > radius or found[other][0] == label


@pytest.mark.parametrize(
    ("counts", "label", "radius"), [([10, 0], 0, 5 / 255), ([0, 10], 1, 4 / 255), ([5, 5], 0, 0.0), ([3, 9, 4], 1, 2 / 255)]
)
def test_votes_are_lost_two_at_a_time_and_ties_go_to_the_smaller_class(counts: list[int], label: int, radius: float) -> None:
    vote = certified_vote(counts, 255)
    assert vote.label == label
    assert vote.radius <= radius
    assert vote.radius == pytest.approx(radius)


def test_a_step_of_one_level_changes_one_noisy_image() -> None:
    x = torch.randint(0, 255, (20,), dtype=torch.int16)
    splitting = Splitting(passes=300)
    for pixel in range(20):
        stepped = x.clone()
        stepped[pixel] += 1
        changed = (splitting.images(x) != splitting.images(stepped)).any(dim=1)
        assert int(changed.sum()) == 1


def test_inputs_off_the_grid_and_too_few_passes_are_refused() -> None:
    with pytest.raises(ValueError, match="need inputs k/4"):
        certify_l1(classify, torch.full((1, 3), 0.3), 3, SPLITTING)
    with pytest.raises(ValueError, match="at least as many passes"):
        Splitting(passes=100)
    with pytest.raises(ValueError, match="NaN"):
        certify_l1(lambda x: x * float("nan"), torch.zeros(1, 3), 3, SPLITTING)
