"""Labelled data from files."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from certify.io.datasets import IDX_FILES, load_data

IMAGES = np.arange(5 * 28 * 28, dtype=np.uint64).astype(np.uint8).reshape(5, 28, 28)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, zipped: bool = True) -> None:
    for images, labels in IDX_FILES.values():
        for name, values in ((images, IMAGES), (labels, LABELS)):
            content = idx(values)
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)


def test_digits_come_with_a_fixed_split() -> None:
    train, test = load_data("digits", split="train"), load_data("digits")
    assert train.x.shape == (1437, 1, 8, 8)
    assert test.x.shape == (360, 1, 8, 8)
    assert test.x.dtype == np.float32
    assert test.y.dtype == np.int64
    assert (test.x.min(), test.x.max(), test.domain) == (0.0, 1.0, (0.0, 1.0))
    assert set((test.x * 16).ravel()) == set(range(17))
    assert not {image.tobytes() for image in train.x} & {image.tobytes() for image in test.x}
    assert set(test.y) == set(range(10))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_mnist_is_bit_exact(tmp_path: Path, zipped: bool, split: str) -> None:
    write_mnist(tmp_path, zipped=zipped)
    data = load_data(f"mnist:{tmp_path}", split=split)
    np.testing.assert_array_equal(data.x[:, 0], IMAGES.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(data.y, LABELS)
    assert data.name == "mnist"


def test_real_mnist_is_read(data_dir: Path) -> None:
    data = load_data(f"mnist:{data_dir / 'mnist'}", 100)
    assert data.x.shape == (100, 1, 28, 28)
    assert data.y[:5].tolist() == [7, 2, 1, 0, 4]


def test_a_count_takes_the_first(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    whole, part = load_data(f"mnist:{tmp_path}"), load_data(f"mnist:{tmp_path}", 2)
    np.testing.assert_array_equal(part.x, whole.x[:2])
    np.testing.assert_array_equal(part.y, whole.y[:2])
    assert len(load_data(f"mnist:{tmp_path}", 99).x) == 5


def test_missing_mnist_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte is missing") as caught:
        load_data(f"mnist:{tmp_path}")
    assert all(name in str(caught.value) for names in IDX_FILES.values() for name in names)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x00", "not an IDX file of unsigned bytes"),
        (idx(IMAGES)[:-1], r"header says 5x28x28; is it truncated\?"),
        (idx(LABELS), "do not belong together"),
    ],
)
def test_damaged_mnist_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    write_mnist(tmp_path, zipped=False)
    (tmp_path / IDX_FILES["test"][0]).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        load_data(f"mnist:{tmp_path}")


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / f"{IDX_FILES['test'][0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a readable gzip file"):
        load_data(f"mnist:{tmp_path}")


def test_cifar_images_are_decoded_in_their_order(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    flat = [np.full((32, 32, 3), (40 * i, 20, 200), np.uint8) for i in range(3)]
    encoded = []
    for pixels in flat:
        buffer = io.BytesIO()
        image.fromarray(pixels).save(buffer, "JPEG", quality=100)
        encoded.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, encoded)])
    np.savez(tmp_path / "test_jpeg.npz", jpeg=np.frombuffer(b"".join(encoded), np.uint8), offsets=offsets, labels=[0, 1, 2])
    data = load_data(f"cifar10:{tmp_path}", 2)
    assert data.x.shape == (2, 3, 32, 32)
    np.testing.assert_allclose(data.x, np.stack(flat[:2]).transpose(0, 3, 1, 2) / 255, atol=2 / 255)


@pytest.mark.parametrize(("x_name", "y_name"), [("x", "y"), ("images", "labels"), ("data", "targets")])
def test_arrays_are_taken_as_they_are_stored(tmp_path: Path, x_name: str, y_name: str) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    np.savez(tmp_path / "set.npz", **{x_name: x, y_name: np.arange(4, dtype=np.int32)})
    data = load_data(str(tmp_path / "set.npz"))
    np.testing.assert_array_equal(data.x, x.astype(np.float32))
    assert data.y.tolist() == [0, 1, 2, 3]
    assert (data.name, data.domain) == ("set", None)


def test_arrays_within_zero_and_one_have_that_domain(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((2, 3), 255, np.uint8), y=[0, 1])
    np.savez(tmp_path / "b.npz", x=np.full((2, 3), 0.5), y=[0, 1], domain=[-1, 2])
    assert load_data(str(tmp_path / "a.npz")).domain == (0.0, 1.0)
    assert load_data(str(tmp_path / "a.npz")).x.max() == 1.0
    assert load_data(str(tmp_path / "b.npz")).domain == (-1.0, 2.0)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((2, 3))}, "expected an array named y or labels"),
        ({"y": np.zeros(2)}, "expected an array named x or images"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2)}, "integer labels"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(3, int)}, r"expected inputs \(count, \.\.\.\)"),
        ({"x": np.zeros(2), "y": np.zeros(2, int)}, r"expected inputs \(count, \.\.\.\)"),
        ({"x": np.full((2, 3), np.nan), "y": np.zeros(2, int)}, "6 entries of the inputs are NaN or infinite"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int), "domain": np.array([1, 2])}, "outside the domain"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int), "domain": np.array([1])}, "must hold two numbers"),
        ({"x": np.array([[None]]), "y": np.zeros(1, int)}, "cannot be read"),
    ],
)
def test_arrays_that_are_no_labelled_data_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(ValueError, match=reason) as caught:
        load_data(str(tmp_path / "set.npz"))
    assert "set.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("imagenet", "unknown data 'imagenet': expected digits, mnist:DIR"),
        ("mnist", "expected digits, mnist:DIR"),
        ("absent.npz", r"absent\.npz: no such file"),
    ],
)
def test_unknown_data_is_refused_with_what_there_is(spec: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_data(spec)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_files_that_are_no_archives_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.npz: not an \.npz file"):
        load_data(str(tmp_path / "set.npz"))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be train or test"):
        load_data("digits", split="validation")


def test_reading_data_imports_no_torch() -> None:
    script = "import sys, certify.io.datasets as d; d.load_data('digits', 1); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "False"
