"""Labelled data as arrays, from files that the user has. Nothing is downloaded."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certify.io.units import Units, channels_first, read_units

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Data:
    """Inputs x, float32 (count, *shape), labels y, int64 (count,), and the units of x."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    name: str
    units: Units

    @property
    def domain(self) -> tuple[float, float] | None:
        """The interval that inputs cannot leave; None where nobody said that there is one."""
        return self.units.domain


def load_data(
    spec: str, count: int | None = None, split: str = "test", *, scale: Fraction | None = None, layout: str = "nchw"
) -> Data:
    """The first `count` elements (default: all) of a data set, in an order that never changes.

    | spec | what it is |
    |---|---|
    | `digits` | scikit-learn's digits as (1, 8, 8), divided by 16: every fifth image is a test image, the others train |
    | `mnist:DIR` | the four IDX files, gzipped or not, as (1, 28, 28), divided by 255 |
    | `cifar10:DIR` | `train_jpeg.npz` and `test_jpeg.npz`: arrays jpeg, offsets, labels; as (3, 32, 32), divided by 255 |
    | `FILE.npz` | arrays x and y (or images, inputs, data; labels, targets) as stored, bytes divided by 255; no splits. An array |
    | | `domain` of two numbers says what inputs cannot leave; bytes cannot leave [0, 1] |

    For an .npz file, `scale` is what to divide by instead (1: nothing), and the layout "nhwc" says that channels come last in it. A
    ValueError says what is missing, and which files were looked for.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(SPLITS)}, not {split!r}")
    kind, _, folder = spec.partition(":")
    if spec.endswith(".npz"):
        data = _npz(Path(spec), scale, layout)
    elif scale is not None or layout != "nchw":
        raise ValueError(f"--scale and --layout are for FILE.npz; {spec} comes in [0, 1] with channels first")
    elif kind in FOLDERS and folder:
        data = FOLDERS[kind](Path(folder), split, count)
    elif spec == "digits":
        data = _digits(split)
    else:
        raise ValueError(f"unknown data {spec!r}: expected digits, mnist:DIR, cifar10:DIR or a FILE.npz")
    if not len(data.x):
        raise ValueError(f"{spec}: holds no inputs")
    return data if count is None else replace(data, x=data.x[:count], y=data.y[:count])


def _images(pixels: NDArray[np.uint8], labels: NDArray[np.generic], name: str) -> Data:
    x, units = read_units(pixels)
    return Data(x, labels.astype(np.int64), name, replace(units, stored=f"{pixels.dtype} of {name}"))


def _digits(split: str) -> Data:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits come with scikit-learn: pip install certify[data]") from None
    digits = load_digits()
    test = np.arange(len(digits.target)) % 5 == 0
    chosen = test if split == "test" else ~test
    x, units = read_units(digits.images[chosen, None].astype(np.uint8), Fraction(16), (0.0, 1.0))
    return Data(x, digits.target[chosen].astype(np.int64), "digits", replace(units, stored="float64 of digits"))


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
    return _images(images[chosen, None], labels[chosen], "mnist")


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
    return _images(images.transpose(0, 3, 1, 2), labels, "cifar10")


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


def _npz(path: Path, scale: Fraction | None, layout: str) -> Data:
    with _open_npz(path) as file:
        try:
            arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: cannot be read ({error})") from error
    x, y = _first(arrays, INPUT_NAMES, path), _first(arrays, LABEL_NAMES, path)
    if x.ndim < 2 or y.shape != x.shape[:1] or y.dtype.kind not in "iu" or x.dtype.kind not in "fiu" or not x.size:
        raise ValueError(
            f"{path}: expected inputs (count, ...) and integer labels (count,), "
            f"got {x.dtype} {list(x.shape)} and {y.dtype} {list(y.shape)}"
        )
    if not 0 <= int(y.min()) <= int(y.max()) < 2**31:
        raise ValueError(f"{path}: labels count from 0, got {y.min()} to {y.max()}")
    if not np.isfinite(x).all():
        raise ValueError(f"{path}: {int((~np.isfinite(x)).sum())} entries of the inputs are NaN or infinite")
    try:
        inputs, units = read_units(channels_first(x, layout), scale, _domain(arrays.get("domain"), path))
        return Data(_single(inputs), y.astype(np.int64), path.stem, units)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _single(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """float32; a ValueError for numbers beyond its range."""
    with np.errstate(over="ignore"):
        single = x.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError("inputs reach beyond the range of float32")
    return single


def _domain(stored: NDArray[np.generic] | None, path: Path) -> tuple[float, float] | None:
    if stored is None:
        return None
    if stored.shape != (2,) or stored.dtype.kind not in "fiu":
        raise ValueError(f"{path}: the array domain must hold two numbers, lowest and highest value of an input")
    low, high = (float(value) for value in stored.astype(np.float64))
    if not low <= high:
        raise ValueError(f"{path}: the array domain must hold the lower end first, got {low:g} and {high:g}")
    return low, high


def _first(arrays: Mapping[str, NDArray[np.generic]], names: tuple[str, ...], path: Path) -> NDArray[np.generic]:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise ValueError(f"{path}: expected an array named {' or '.join(names)}; it holds {', '.join(arrays) or 'none'}")


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        file = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an .npz file ({error})") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError(f"{path}: one array, not an .npz file with inputs and labels")
    return file
