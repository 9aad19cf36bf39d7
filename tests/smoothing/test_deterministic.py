"""Exact votes: l_1 and patch certificates, checked against every perturbation of tiny images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from certify.smoothing.deterministic import Splitting, Windows, certify_exactly, concluded

LEVELS = 4
SPLITTING = Splitting(passes=10, levels=LEVELS)


def classify(x: Tensor) -> Tensor:
    """Three classes, nothing smooth about them."""
    flat = x.flatten(1)
    return torch.stack((flat[:, 0] + 0.1, flat.square().sum(dim=1), flat[:, -1] * 1.3 - flat[:, 0]), dim=1)


def votes(images: list[tuple[int, ...]]) -> dict[tuple[int, ...], tuple[int, float]]:
    x = torch.tensor(images) / LEVELS
    found = certify_exactly(classify, x, 3, SPLITTING, batch=3)
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


def test_a_classifier_that_knows_the_views_of_one_image_loses_it_just_beyond_the_radius() -> None:
    """Class 0 for seven of the ten views of one image, class 1 for all else: a step of one level takes one vote away."""
    image, beyond = (2, 1, 3), (2, 1, 0)
    views, others = (SPLITTING.views(torch.tensor(x, dtype=torch.int16)) for x in (image, beyond))
    known = torch.cat((views[(views != others).any(dim=1)], views[(views == others).all(dim=1)][:4]))

    def remembers(x: Tensor) -> Tensor:
        hit = (x[:, None] == known[None]).all(dim=2).any(dim=1).float()
        return torch.stack((hit, 1 - hit), dim=1)

    images = list(product(range(LEVELS + 1), repeat=3))
    found = certify_exactly(remembers, torch.tensor(images) / LEVELS, 2, SPLITTING)
    steps = [sum(abs(a - b) for a, b in zip(image, other, strict=True)) for other in images]
    radius = round(found[images.index(image)].radius * LEVELS)
    assert radius == 2
    assert found[images.index(beyond)].label == 1
    assert all(vote.label == 0 for vote, step in zip(found, steps, strict=True) if step <= radius)


@pytest.mark.parametrize(
    ("counts", "label", "radius"), [([10, 0], 0, 5 / 255), ([0, 10], 1, 4 / 255), ([5, 5], 0, 0.0), ([3, 9, 4], 1, 2 / 255)]
)
def test_votes_are_lost_two_at_a_time_and_ties_go_to_the_smaller_class(counts: list[int], label: int, radius: float) -> None:
    vote = concluded(counts, Splitting())
    assert vote.label == label
    assert vote.radius <= radius
    assert vote.radius == pytest.approx(radius)


def test_a_step_of_one_level_changes_one_noisy_image() -> None:
    x = torch.randint(0, 255, (20,), dtype=torch.int16)
    splitting = Splitting(passes=300)
    for pixel in range(20):
        stepped = x.clone()
        stepped[pixel] += 1
        changed = (splitting.views(x) != splitting.views(stepped)).any(dim=1)
        assert int(changed.sum()) == 1


def test_inputs_off_the_grid_and_too_few_passes_are_refused() -> None:
    with pytest.raises(ValueError, match="need inputs k/4"):
        certify_exactly(classify, torch.full((1, 3), 0.3), 3, SPLITTING)
    with pytest.raises(ValueError, match="at least as many passes"):
        Splitting(passes=100)
    with pytest.raises(ValueError, match="NaN"):
        certify_exactly(lambda x: x * float("nan"), torch.zeros(1, 3), 3, SPLITTING)


IMAGE = (3, 4)


def see(x: Tensor) -> Tensor:
    """Three classes from what a window shows of a binary image and of its negative."""
    seen = x.sum(dim=(2, 3))
    return torch.stack((seen[:, 1] - 0.5, seen[:, 0], x[:, 0, 1].sum(dim=1) + 0.2), dim=1)


def patched(image: Tensor, side: int) -> Iterator[Tensor]:
    """All binary images that differ from one in a square only."""
    for top, left in product(range(IMAGE[0] - side + 1), range(IMAGE[1] - side + 1)):
        for content in product((0.0, 1.0), repeat=side * side):
            changed = image.clone()
            changed[0, top : top + side, left : left + side] = torch.tensor(content).reshape(side, side)
            yield changed


@pytest.mark.parametrize("window", [(3, 1), (1, 1), (2, 2), (1, 4)])
def test_no_patch_within_the_radius_changes_the_vote(window: tuple[int, int]) -> None:
    scheme = Windows(*window, IMAGE)
    generator = torch.Generator().manual_seed(0)
    images = [torch.zeros(1, *IMAGE), torch.ones(1, *IMAGE), *(torch.rand(6, 1, *IMAGE, generator=generator) > 0.7).float()]
    votes = certify_exactly(see, torch.stack(images), 3, scheme)
    for image, vote in zip(images, votes, strict=True):
        for side in range(1, int(vote.radius) + 1):
            attacked = certify_exactly(see, torch.stack(list(patched(image, side))), 3, scheme)
            assert {found.label for found in attacked} == {vote.label}
    assert window != (3, 1) or max(vote.radius for vote in votes) >= 1


@pytest.mark.parametrize(("window", "side"), [((3, 1), 1), ((3, 2), 2), ((1, 1), 2), ((2, 2), 1), ((2, 3), 3)])
def test_a_patch_reaches_as_many_windows_as_stated(window: tuple[int, int], side: int) -> None:
    """The most over all places, by hiding a patch of another colour in a black image."""
    scheme = Windows(*window, IMAGE)
    black = torch.zeros(1, *IMAGE)
    changed = [
        int((scheme.views(black) != scheme.views(image)).flatten(1).any(dim=1).sum())
        for image in patched(black, side)
        if int(image.sum()) == side * side
    ]
    assert max(changed) == scheme.reached(side)


def test_a_window_shows_its_pixels_and_their_negatives_and_hides_the_rest() -> None:
    x = torch.rand(1, *IMAGE)
    views = Windows(3, 2, IMAGE).views(x)
    assert views.shape == (4, 2, *IMAGE)
    assert torch.equal(views[3, 0, :, [3, 0]], x[0, :, [3, 0]])
    assert torch.equal(views[3, 1, :, [3, 0]], 1 - x[0, :, [3, 0]])
    assert not views[3, :, :, 1:3].any()
    with pytest.raises(ValueError, match="does not fit"):
        Windows(4, 1, IMAGE)
    with pytest.raises(ValueError, match="got inputs of shape"):
        Windows(3, 1, IMAGE).encode(torch.zeros(1, 1, 5, 5))
