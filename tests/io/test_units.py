"""Units of inputs: one rule for bytes and for all other numbers, and a sentence wherever something looks wrong."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from certify.io.datasets import load_data
from certify.io.units import Units, channels_first, difference, domain_notes, notes, read_units


@given(arrays.arrays(np.uint8, (3, 2)), st.sampled_from([None, Fraction(255), Fraction(16), Fraction(1)]))
def test_bytes_are_divided_exactly_and_have_their_domain(values: np.ndarray, scale: Fraction | None) -> None:
    x, units = read_units(values, scale)
    divisor = scale or 255
    assert x.dtype == np.float32
    assert x.tolist() == [[np.float32(float(Fraction(int(k), int(divisor)))) for k in row] for row in values]
    assert units.domain == (0.0, 255 / divisor)
    assert (units.stored, units.divided_by) == ("uint8", divisor)


@given(st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u2", "u4", "u8"]), st.data())
def test_other_numbers_stay_what_they_are(kind: str, data: st.DataObject) -> None:
    finite = {"allow_nan": False, "allow_infinity": False} if kind.startswith("f") else {}
    values = data.draw(arrays.arrays(kind, 4, elements=arrays.from_dtype(np.dtype(kind), **finite)))
    x, units = read_units(values)
    assert x.dtype.kind == "f"
    assert units.domain is None
    if kind.startswith("f") or abs(values.astype(object)).max() <= 2**53:
        assert [Fraction(float(a)) for a in x] == [Fraction(b.item()) for b in values]


def test_no_interval_is_guessed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((2, 3), 0.5), y=[0, 1])
    data = load_data(str(tmp_path / "a.npz"))
    assert data.domain is None
    assert "no domain was given" in domain_notes(data.units)[0]
    assert domain_notes(data.units.within((0.0, 1.0))) == []


def test_the_same_image_as_bytes_and_as_shares_is_the_same_input(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2) * 10
    np.savez(tmp_path / "bytes.npz", x=image, y=[0, 1])
    np.savez(tmp_path / "whole.npz", x=image.astype(np.int64), y=[0, 1])
    np.savez(tmp_path / "shares.npz", x=image / 255, y=[0, 1])
    np.savez(tmp_path / "last.npz", x=np.moveaxis(image, 1, -1), y=[0, 1])
    expected = load_data(str(tmp_path / "bytes.npz")).x
    np.testing.assert_array_equal(load_data(str(tmp_path / "shares.npz")).x, expected)
    np.testing.assert_array_equal(load_data(str(tmp_path / "whole.npz"), scale=Fraction(255)).x, expected)
    np.testing.assert_array_equal(load_data(str(tmp_path / "last.npz"), layout="nhwc").x, expected)


def units(
    low: float, high: float, *, whole: bool = False, domain: tuple[float, float] | None = None, stored: str = "float32"
) -> Units:
    return Units(stored, Fraction(255 if stored == "uint8" else 1), low, high, domain, whole)


@pytest.mark.parametrize(
    ("given_units", "size", "p", "said"),
    [
        (units(0, 1), 0.1, inf, []),
        (units(0, 1, whole=True), 0.1, inf, []),
        (units(0, 1), 8, inf, ["covers the whole range of the data; was 8/255 meant?"]),
        (units(0, 1), 1, inf, ["covers the whole range"]),
        (units(0.2, 0.3), 0.5, inf, []),
        (units(0, 1), 1.5, 2, []),
        (units(0, 1), 2, 2, ["covers the whole range"]),
        (units(0, 1, domain=(0, 1), stored="uint8"), 0.1, inf, ["bytes were divided by 255"]),
        (units(0, 255, whole=True), 0.1, inf, ["whole numbers up to 255 and stay so"]),
        (units(-2.1, 2.6), 0.1, inf, ["lie in [-2.1, 2.6]"]),
        (units(0, 300.5), 0.1, inf, ["lie in [0, 300.5]"]),
        (units(0, 1), None, inf, []),
    ],
)
def test_what_looks_wrong_is_said(given_units: Units, size: float | None, p: float, said: list[str]) -> None:
    found = notes(given_units, size, p, (1, 2, 2))
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_inputs_in_other_units_than_those_learned_from_are_noticed() -> None:
    assert difference("test inputs", units(0, 1), "training samples", (0.0, 0.9)) == []
    assert "same units?" in difference("test inputs", units(0, 255), "training samples", (0.0, 1.0))[0]


@pytest.mark.parametrize(("scale", "domain"), [(Fraction(0), None), (Fraction(-1), None), (None, (2.0, 3.0))])
def test_units_that_cannot_be_are_refused(scale: Fraction | None, domain: tuple[float, float] | None) -> None:
    with pytest.raises(ValueError, match=r"positive number|outside the domain"):
        read_units(np.array([0.5]), scale, domain)


def test_only_images_have_a_layout() -> None:
    assert channels_first(np.zeros((2, 4, 5, 3)), "nhwc").shape == (2, 3, 4, 5)
    assert channels_first(np.zeros((4, 5, 3)), "nhwc", batched=False).shape == (3, 4, 5)
    for values, layout in ((np.zeros((2, 4)), "nhwc"), (np.zeros((2, 4, 5, 3)), "chwn")):
        with pytest.raises(ValueError, match="layout"):
            channels_first(values, layout)
