"""Which element is the nearest one in Resize and Upsample: as onnxruntime finds it, in single precision.

Where a position lies between two elements is decided by rounding: with the scale 0.6 the third of five elements is at 1.9999998 in real
arithmetic, and at 2 in onnxruntime's. The model is what the runtime makes of it, so its arithmetic is repeated, operation by operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray
HALF, ONE = np.float32(0.5), np.float32(1)


def _symmetric(i: Array, scale: Any, size: Any, count: Any) -> Array:
    adjustment = count / (scale * size)
    return (size / np.float32(2)) * (ONE - adjustment) + (i + HALF) / scale - HALF


# Where output element i lies on the input axis: (positions, scale, input size, output size), all in single precision.
COORDINATES: Mapping[str, Callable[[Array, Any, Any, Any], Array]] = {
    "half_pixel": lambda i, scale, size, count: (i + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda i, scale, size, count: (i + HALF) / scale - HALF if count > 1 else i * 0,
    "half_pixel_symmetric": _symmetric,
    "tf_half_pixel_for_nn": lambda i, scale, size, count: (i + HALF) / scale,
    "asymmetric": lambda i, scale, size, count: i / scale,
    "align_corners": lambda i, scale, size, count: i * (size - ONE) / (count - ONE) if count > 1 else i * 0,
}

# Which element that is. Halves are exact in single precision.
ROUNDING: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.where(x - np.floor(x) == HALF, np.floor(x), np.floor(x + HALF)),
    "round_prefer_ceil": lambda x: np.where(x - np.floor(x) == HALF, np.ceil(x), np.floor(x + HALF)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def nearest_cells(size: int, count: int, scale: float, rule: str, rounding: str) -> Array:
    """The elements of an axis of `size` that `count` output elements take."""
    i = np.arange(count, dtype=np.float32)
    positions = COORDINATES[rule](i, np.float32(scale), np.float32(size), np.float32(count))
    return np.clip(ROUNDING[rounding](positions), 0, size - 1).astype(np.int64)
