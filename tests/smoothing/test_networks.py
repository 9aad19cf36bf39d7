"""The networks shipped for smoothing: complete, the same in both formats, and halves that see their half only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from certify.smoothing import checkerboard
from certify.smoothing.classifiers import load_classifier

FOLDER = Path(__file__).resolve().parents[2] / "models" / "smoothing"
CARDS = sorted(path for path in FOLDER.glob("*_*.md"))
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28)}


def test_every_network_has_both_formats_and_a_card() -> None:
    names = {path.stem for suffix in ("onnx", "pt2") for path in FOLDER.glob(f"*.{suffix}")}
    assert names == {card.stem for card in CARDS}
    assert all((FOLDER / name).with_suffix(suffix).is_file() for name in names for suffix in (".onnx", ".pt2"))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_both_formats_give_the_same_scores(card: Path) -> None:
    x = torch.rand(5, *SHAPES[card.stem.split("_")[0]], generator=torch.Generator().manual_seed(0))
    onnx, program = (load_classifier(card.with_suffix(suffix))(x) for suffix in (".onnx", ".pt2"))
    torch.testing.assert_close(onnx, program, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "card", [card for card in CARDS if "_left" in card.stem or "_right" in card.stem], ids=lambda card: card.stem
)
def test_a_half_does_not_see_the_other_half(card: Path) -> None:
    shape = SHAPES[card.stem.split("_")[0]]
    black = checkerboard(*shape[1:])
    keep = black if "_left" in card.stem else ~black
    x, other = torch.rand(2, 4, *shape, generator=torch.Generator().manual_seed(0))
    classify = load_classifier(card.with_suffix(".onnx"))
    assert torch.equal(classify(x), classify(torch.where(keep, x, other)))
    assert not torch.equal(classify(x), classify(torch.where(keep, other, x)))
