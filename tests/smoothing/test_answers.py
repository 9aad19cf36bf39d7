"""What a base classifier returns is checked wherever it is counted: anything but one label for every row is refused."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from certify.smoothing import Gaussian, Sampler, Smooth, Smoothed, checkerboard, dual_smoothed
from certify.smoothing.answers import BaseClassifier, by_threshold, classes_of, labels_of
from certify.smoothing.deterministic import Windows, certify_exactly

Classify = Callable[[Tensor], Tensor]
SHAPE, CLASSES, ALPHA = (1, 4, 4), 3, Fraction(1, 100)
WEIGHT = torch.randn(32, CLASSES, generator=torch.Generator().manual_seed(0))


def scores(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return flat @ WEIGHT[: flat.shape[1]]


def normalised(x: Tensor) -> Tensor:
    return scores((x - x.mean(0)) / (x.std(0, correction=0) + 1e-3))


class Forgetful(nn.Module):
    """A module that somebody puts back into training mode after it was handed over."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *layers)

    def eval(self) -> Forgetful:
        return self.train()

    def forward(self, x: Tensor) -> Tensor:
        flat = self.layers(x)
        return flat @ WEIGHT[: flat.shape[1]]


WRONG: dict[str, tuple[Classify, str]] = {
    "scores of more classes": (lambda x: torch.cat((scores(x), scores(x)[:, :1]), dim=1), "4 scores to every input, and 3"),
    "scores of fewer classes": (lambda x: scores(x)[:, :2], "2 scores to every input, and 3"),
    "scores of every pixel": (lambda x: scores(x)[:, :, None].expand(-1, -1, 4), "12 scores to every input, and 3"),
    "one score": (lambda x: scores(x)[:, :1], "one score"),
    "one number": (lambda x: scores(x)[:, 0], "one score"),
    "several outputs": (lambda x: (scores(x), x), "returns tuple"),  # type: ignore[dict-item,return-value]
    "no tensor": (lambda x: scores(x).numpy(), "returns ndarray"),  # type: ignore[dict-item,return-value]
    "one answer to all": (lambda x: scores(x)[:1], r"shape \[1, 3\] for"),
    "a mean": (lambda x: scores(x).mean(0), r"shape \[3\] for"),
    "one answer too few": (lambda x: scores(x)[:-1], "every row"),
    "nothing": (lambda x: scores(x)[:, :0], r"0\] for"),
    "complex scores": (lambda x: torch.complex(scores(x), scores(x)), "complex64"),
    "labels beyond the classes": (lambda x: scores(x).argmax(1) + 1, "labels from 1 to 3, of 3"),
    "labels below zero": (lambda x: scores(x).argmax(1) - 1, "labels from -1 to 1, of 3"),
    "batches normalised": (normalised, "no function of one"),
    "the row above": (lambda x: scores(x).roll(1, 0), "no function of one"),
    "places in the batch": (lambda x: scores(x) + torch.linspace(0, 1, len(x))[:, None], "no function of one"),
    "scores at random": (lambda x: scores(x) + torch.rand(len(x), 1), "no function of one"),
    "labels at random": (lambda x: torch.randint(0, CLASSES, (len(x),)), "no function of one"),
    "batch norm": (Forgetful(nn.BatchNorm1d(16, affine=False)), "training mode"),
    "dropout": (Forgetful(nn.Dropout(0.01)), "training mode"),
    "dropout in a function": (lambda x: scores(nn.functional.dropout(x, 0.2)), "no function of one"),
    "a batch of one inside": (lambda x: scores(x.reshape(1, -1)), "cannot take inputs of shape"),
    "channels last": (lambda x: nn.functional.conv2d(x.movedim(1, -1), torch.ones(3, 1, 1, 1)), "do channels come last"),
    "NaN": (lambda x: scores(x) * float("nan"), "returned NaN"),
}
# A mistake in rows shows with at least two of them, and what windows show has two channels, some of them hidden.
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1))


def certified(classify: Classify) -> object:
    return list(Smoothed((Sampler(classify, CLASSES, Gaussian(0.5), batch=24),)).certify(IMAGES, 20, 50, ALPHA))


def predicted(classify: Classify) -> object:
    return Smoothed((Sampler(classify, CLASSES, Gaussian(0.5), batch=24),)).predict(IMAGES, 50, ALPHA)


def decided(classify: Classify) -> object:
    return list(Smoothed((Sampler(classify, CLASSES, Gaussian(0.5), batch=24),)).certify_at(IMAGES, 0.1, ALPHA, max_n=50))


def familiar(classify: Classify) -> object:
    return Smooth(classify, CLASSES, 0.5).certify(IMAGES[0], 20, 50, 0.01, 24)


def halved(classify: Classify) -> object:
    noises = [Gaussian(0.5)] * 2
    return list(dual_smoothed(scores, classify, CLASSES, noises, checkerboard(4, 4), batch=24).certify(IMAGES, 20, 50, ALPHA))


def windowed(classify: Classify) -> object:
    return certify_exactly(classify, IMAGES, CLASSES, Windows(4, 2, (4, 4)))


WAYS = (certified, predicted, decided, familiar, halved, windowed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_label_for_every_row_is_refused(way: Callable[[Classify], object], kind: str) -> None:
    classify, said = WRONG[kind]
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=said):
        way(classify)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "classify",
    [
        lambda x: scores(x)[:, :, None, None],
        lambda x: (scores(x) * 1000).round().int(),
        lambda x: scores(x).argmax(1),
        lambda x: scores(x).argmax(1, keepdim=True).to(torch.uint8),
        lambda x: scores(x.sub_(0.0)),
        lambda x: scores(x).double(),
    ],
    ids=["a pixel", "whole numbers", "labels", "a column of bytes", "in place", "double"],
)
def test_other_forms_of_the_same_answer_give_the_same_certificate(way: Callable[[Classify], object], classify: Classify) -> None:
    assert way(classify) == way(scores)


@given(st.integers(1, 6), st.integers(2, 5), st.data())
def test_labels_are_those_of_the_largest_scores(rows: int, classes: int, data: st.DataObject) -> None:
    values = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([float("inf"), float("-inf"), float("nan")]))
    table = data.draw(st.lists(st.lists(values, min_size=classes, max_size=classes), min_size=rows, max_size=rows))
    expected = [-1 if any(v != v for v in row) else row.index(max(row)) for row in table]
    assert labels_of(torch.tensor(table), rows, classes).tolist() == expected


def test_a_threshold_makes_two_classes_of_one_score() -> None:
    def score(x: Tensor) -> Tensor:
        return x.flatten(1).mean(1, keepdim=True)

    answers = [Smooth(score, 2, 0.05, threshold=0.5).certify(torch.full((4,), level), 50, 500, 0.001, 64) for level in (0.3, 0.7)]
    assert [label for label, _ in answers] == [0, 1]
    assert all(0 < radius < 0.4 for _, radius in answers)  # the boundary is at distance 0.2 * 2
    assert labels_of(by_threshold(lambda x: x, 0.5)(torch.tensor([0.5, 0.75, float("nan")])), 3, 2).tolist() == [0, 1, -1]
    with pytest.raises(ValueError, match="one score per input"):
        Smooth(scores, 2, 0.05, threshold=0.5).certify(IMAGES[0], 20, 50, 0.01, 24)
    with pytest.raises(ValueError, match="two classes apart"):
        Smooth(score, 3, 0.05, threshold=0.5)
    with pytest.raises(ValueError, match="finite"):
        Smooth(score, 2, 0.05, threshold=float("nan"))


@pytest.mark.parametrize("classes", [1, 0, -2])
def test_one_class_is_no_classifier(classes: int) -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        Smooth(lambda x: scores(x)[:, :1], classes, 0.5).certify(IMAGES[0], 20, 50, 0.01, 24)


def test_the_number_of_classes_is_read_from_the_scores() -> None:
    assert classes_of(scores, IMAGES[:1]) == CLASSES
    for classify, said in ((lambda x: scores(x)[:, :1], "one score"), (lambda x: scores(x).argmax(1), "--classes")):
        with pytest.raises(ValueError, match=said):
            classes_of(classify, IMAGES[:1])


def test_only_the_first_batch_is_asked_twice() -> None:
    calls: list[int] = []

    def counted(x: Tensor) -> Tensor:
        calls.append(len(x))
        return scores(x)

    base = BaseClassifier(counted, CLASSES)
    for _ in range(3):
        base.labels(torch.rand(8, *SHAPE))
    assert calls == [8] * 4


def test_a_module_put_back_into_training_is_noticed_at_the_next_call() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES), nn.Dropout(1e-6))
    smooth = Smooth(module, CLASSES, 0.5)
    smooth.certify(IMAGES[0], 20, 50, 0.01, 24)
    module.train()
    with pytest.raises(ValueError, match="training mode"):
        smooth.certify(IMAGES[0], 20, 50, 0.01, 24)
