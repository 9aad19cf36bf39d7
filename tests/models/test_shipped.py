"""The shipped networks are what their cards say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import certify
from certify.bounds.rounding import OUTWARD
from certify.io.datasets import load_data
from certify.search.accuracy import Threat
from certify.training import margin_rows

FOLDER = Path(__file__).parents[2] / "models"
CARDS = sorted(path for path in FOLDER.glob("*_*.md"))
DIGITS = [card for card in CARDS if card.stem.startswith("digits")]
every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
every_digits_card = pytest.mark.parametrize("card", DIGITS, ids=lambda card: card.stem)


def images(name, count=None):
    """Test images in float64 and labels of the network's data set; skips where the data is not there."""
    if name.startswith("digits"):
        data = load_data("digits", count)
    else:
        folder = Path(os.environ.get("CERTIFY_DATA") or FOLDER.parents[1] / "shared" / "data") / "mnist"
        if not folder.is_dir():
            pytest.skip(f"MNIST is not at {folder}; set CERTIFY_DATA")
        data = load_data(f"mnist:{folder}", count)
    return torch.as_tensor(data.x).double(), torch.as_tensor(data.y)


def certified_column(card, method):
    """{radius: per cent} of a card's second table, as printed."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in card.read_text().splitlines() if "|" in line]
    head = next(i for i, row in enumerate(rows) if row[0] == "eps")
    column = rows[head].index(f"certified ({method})")
    return {row[0]: row[column] for row in rows[head + 2 :]}


def test_every_network_has_both_formats_and_a_card():
    names = {path.stem for suffix in ("onnx", "pt2") for path in FOLDER.glob(f"*.{suffix}")}
    assert names == {card.stem for card in CARDS}
    assert all((FOLDER / name).with_suffix(suffix).is_file() for name in names for suffix in (".onnx", ".pt2"))


@every_card
def test_both_formats_compute_the_same(card):
    from_onnx, from_torch = (certify.load(card.with_suffix(suffix)) for suffix in (".onnx", ".pt2"))
    x = torch.rand(8, *from_onnx.graph.input_shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(from_onnx(x), from_torch(x), rtol=1e-12, atol=1e-12)


@every_card
def test_the_card_states_the_clean_accuracy_of_the_file(card):
    correct, total = map(int, re.search(r"\((\d+) of (\d+) test images\)", card.read_text()).groups())
    x, y = images(card.stem)
    with torch.no_grad():
        assert (int((certify.load(card.with_suffix(".onnx"))(x).argmax(1) == y).sum()), len(y)) == (correct, total)


@every_digits_card
@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_the_card_states_the_certified_accuracy_of_the_file(card, method):
    model, (x, y) = certify.load(card.with_suffix(".onnx")), images(card.stem)
    rows = margin_rows(y, 10, x.dtype)
    for eps, stated in certified_column(card, method).items():
        lower, _ = certify.bounds(model, Threat(eps).region(x), method=method, objective=rows, rounding=OUTWARD)
        assert f"{100 * float((lower > 0).all(1).double().mean()):.1f}" == stated


@pytest.mark.parametrize("name", ["digits_mlp", "digits_conv"])
def test_certified_training_pays_at_the_largest_radius(name):
    plain, hardened = (certified_column(FOLDER / f"{name}{suffix}.md", "crown") for suffix in ("", "_certified"))
    assert float(hardened["0.1"]) > float(plain["0.1"]) + 50


def test_the_script_makes_a_network_like_the_shipped_one(tmp_path):
    script = [sys.executable, FOLDER / "train_digits.py", "digits_mlp", "--into", tmp_path]
    subprocess.run(script, check=True, capture_output=True, timeout=300, env={**os.environ, "PYTHONPATH": str(FOLDER.parent)})
    x, y = images("digits_mlp")
    made, shipped = (certify.load(folder / "digits_mlp.onnx") for folder in (tmp_path, FOLDER))
    with torch.no_grad():
        accuracies = [float((model(x).argmax(1) == y).double().mean()) for model in (made, shipped)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.03)
    assert (tmp_path / "digits_mlp.pt2").is_file()
    assert certified_column(tmp_path / "digits_mlp.md", "ibp").keys() == certified_column(FOLDER / "digits_mlp.md", "ibp").keys()
