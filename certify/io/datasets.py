"""Labelled data as arrays, from files that the user has. Nothing is downloaded."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Data:
    """Inputs x, float32 (count, *shape), labels y, int64 (count,), and the interval that inputs lie in (None: anywhere)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    name: str
    domain: tuple[float, float] | None = (0.0, 1.0)


def load_data(spec: str, count: int | None = None, split: str = "test") -> Data:
    """The first `count` elements (default: all) of a data set, in an order that never changes.

    | spec | what it is |
    |---|---|
    | `digits` | scikit-learn's digits as (1, 8, 8), divided by 16: every fifth image is a test image, the others train |
    | `mnist:DIR` | the four IDX files, gzipped or not, as (1, 28, 28), divided by 255 |
    | `cifar10:DIR` | `train_jpeg.npz` and `test_jpeg.npz`: arrays jpeg, offsets, labels; as (3, 32, 32), divided by 255 |
    | `FILE.npz` | arrays x and y (or images, inputs, data; labels, targets) as stored, bytes divided by 255; no splits. An array |
    | | `domain` of two numbers says where inputs lie; without it that is (0, 1) if all of them do |

    A ValueError says what is missing, and which files were looked for.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(SPLITS)}, not {split!r}")
    kind, _, folder = spec.partition(":")
    if spec.endswith(".npz"):
        data = _npz(Path(spec))
    elif kind in FOLDERS and folder:
        data = FOLDERS[kind](Path(folder), split, count)
    elif spec == "digits":
        data = _digits(split)
    else:
        raise ValueError(f"unknown data {spec!r}: expected digits, mnist:DIR, cifar10:DIR or a FILE.npz")
    return data if count is None else Data(data.x[:count], data.y[:count], data.name, data.domain)


def _digits(split: str) -> Data:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits come with scikit-learn: pip install certify[data]") from None
    digits = load_digits()
    test = np.arange(len(digits.target)) % 5 == 0
    chosen = test if split == "test" else ~test
    x = (digits.images[chosen, None] / 16).astype(np.float32)
    return Data(x, digits.target[chosen].astype(np.int64), "digits")


# --- MNIST: IDX files ------------------------------------------------------------------------------------------------------

IDX_FILES: Mapping[str, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def _mnist(folder: Path, split: str, count: int | None) -> Data:
    images, labels = (_read_idx(_find_idx(folder, name)) for name in IDX_FILES[split])
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{folder}: images of shape {list(images.shape)} and labels of shape {list(labels.shape)} do not belong together"
        )
    chosen = slice(count)
    return Data(_pixels(images[chosen, None]), labels[chosen].astype(np.int64), "mnist")


def _find_idx(folder: Path, name: str) -> Path:
    """The file under its usual names: with a dot for the last hyphen, as some archives unpack it, and gzipped or not."""
    candidates = [folder / f"{stem}{suffix}" for stem in (name, name.replace("-idx", ".idx")) for suffix in (".gz", "")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    expected = ", ".join(f"{file}[.gz]" for files in IDX_FILES.values() for file in files)
    raise ValueError(f"{folder}: {name} is missing; MNIST's four files are {expected}")


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Bytes in the IDX format: two zero bytes, type 8 (unsigned byte), the rank, then sizes as big-endian 32-bit integers."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a readable gzip file ({error})") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path}: {values.size} bytes of data where its header says {'x'.join(map(str, shape))}; is it truncated?")
    return values.reshape(shape)


# --- CIFAR-10: JPEG images in an array of bytes ----------------------------------------------------------------------------


def _cifar10(folder: Path, split: str, count: int | None) -> Data:
    path = folder / f"{split}_jpeg.npz"
    with _open_npz(path) as file:
        missing = {"jpeg", "offsets", "labels"} - set(file.files)
        if missing:
            raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
        raw, offsets, labels = file["jpeg"].tobytes(), file["offsets"].tolist(), file["labels"][:count]
    images = np.stack(list(_jpegs(raw, offsets[: len(labels) + 1])))
    return Data(_pixels(images.transpose(0, 3, 1, 2)), labels.astype(np.int64), "cifar10")


def _jpegs(raw: bytes, offsets: list[int]) -> Iterator[NDArray[np.uint8]]:
    import io

    try:
        from PIL import Image
    except ImportError:
        raise ValueError("reading JPEG images needs pillow: pip install pillow") from None
    for start, end in pairwise(offsets):
        yield np.asarray(Image.open(io.BytesIO(raw[start:end])).convert("RGB"))


FOLDERS: Mapping[str, Callable[[Path, str, int | None], Data]] = {"mnist": _mnist, "cifar10": _cifar10}

# --- arrays ----------------------------------------------------------------------------------------------------------------

INPUT_NAMES = ("x", "images", "inputs", "data", "X")
LABEL_NAMES = ("y", "labels", "targets", "label")


def _npz(path: Path) -> Data:
    with _open_npz(path) as file:
        try:
            arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: cannot be read ({error})") from error
    x, y = _first(arrays, INPUT_NAMES, path), _first(arrays, LABEL_NAMES, path)
    if x.ndim < 2 or y.shape != x.shape[:1] or y.dtype.kind not in "iu" or x.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: expected inputs (count, ...) and integer labels (count,), "
            f"got {x.dtype} {list(x.shape)} and {y.dtype} {list(y.shape)}"
        )
    inputs = _pixels(x) if x.dtype == np.uint8 else x.astype(np.float32)
    if not np.isfinite(inputs).all():
        raise ValueError(f"{path}: {int((~np.isfinite(inputs)).sum())} entries of the inputs are NaN or infinite")
    return Data(inputs, y.astype(np.int64), path.stem, _domain(arrays.get("domain"), inputs, path))


def _domain(stored: NDArray[np.generic] | None, x: NDArray[np.float32], path: Path) -> tuple[float, float] | None:
    if stored is None:
        return (0.0, 1.0) if bool((x >= 0).all() and (x <= 1).all()) else None
    if stored.shape != (2,) or stored.dtype.kind not in "fiu":
        raise ValueError(f"{path}: the array domain must hold two numbers, lowest and highest value of an input")
    low, high = (float(value) for value in stored.astype(np.float64))
    if not (low <= float(x.min(initial=low)) and float(x.max(initial=high)) <= high):
        raise ValueError(f"{path}: inputs lie in [{x.min():g}, {x.max():g}], outside the domain [{low:g}, {high:g}] the file names")
    return low, high


def _first(arrays: Mapping[str, NDArray[np.generic]], names: tuple[str, ...], path: Path) -> NDArray[np.generic]:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise ValueError(f"{path}: expected an array named {' or '.join(names)}; it holds {', '.join(arrays) or 'none'}")


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    import zipfile

    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an .npz file ({error})") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: one array, not an .npz file with inputs and labels")
    return file


def _pixels(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Bytes as float32 in [0, 1], each correctly rounded."""
    return (np.arange(256) / 255).astype(np.float32)[values.astype(np.uint8)]
