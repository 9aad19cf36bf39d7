"""The definition of every kernel, in plain numpy: what the numba twins in `cpu.py` and the CUDA twins in `cuda/` must compute.

Rows of linear coefficients are (rows, n); per-owner vectors are (owners, n); `owner[r]` is the vector that row r uses. Windows are
(rows, channels, d, h, w) with `origin[r]` the position of their first cell in a space of shape (channels, D, H, W); cells outside the
space count as zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Index = NDArray[np.int64]


def relax(
    rows: Array,
    lower_slope: Array,
    lower_shift: Array,
    lower_owner: Index,
    upper_slope: Array,
    upper_shift: Array,
    upper_owner: Index,
) -> tuple[Array, Array]:
    """One relax-and-accumulate step of CROWN (arXiv 1811.00866, eq. 6): coefficients of y become coefficients of x.

    Of a lower bound sum_i A_i y_i, a positive A_i takes the lower line of y_i = f(x_i), a negative one the upper line. Returns the new
    rows and the sum of the lines' shifts.
    """
    positive, negative = np.maximum(rows, 0), np.minimum(rows, 0)
    new = positive * lower_slope[lower_owner] + negative * upper_slope[upper_owner]
    shift = (positive * lower_shift[lower_owner] + negative * upper_shift[upper_owner]).sum(axis=1)
    return new, shift


def follow(
    x: Array,
    rows: Array,
    lower_slope: Array,
    lower_shift: Array,
    lower_owner: Index,
    upper_slope: Array,
    upper_shift: Array,
    upper_owner: Index,
) -> Array:
    """y at the points x on the lines that `relax` takes for these rows: the lower line of a positive coefficient, else the upper."""
    lower = lower_slope[lower_owner] * x + lower_shift[lower_owner]
    upper = upper_slope[upper_owner] * x + upper_shift[upper_owner]
    return np.where(rows > 0, lower, upper)


def relax_gradients(
    rows: Array,
    lower_slope: Array,
    lower_shift: Array,
    lower_owner: Index,
    upper_slope: Array,
    upper_shift: Array,
    upper_owner: Index,
    grad_out: Array,
    grad_shift: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `relax` in the rows and the four lines. At a coefficient 0, where relax has a kink, the gradient in the row is 0."""
    positive, negative, s = np.maximum(rows, 0), np.minimum(rows, 0), grad_shift[:, None]
    grad_rows = (rows > 0) * (grad_out * lower_slope[lower_owner] + s * lower_shift[lower_owner])
    grad_rows += (rows < 0) * (grad_out * upper_slope[upper_owner] + s * upper_shift[upper_owner])
    lines = [np.zeros_like(line) for line in (lower_slope, lower_shift, upper_slope, upper_shift)]
    for line, owner, values in zip(
        lines,
        (lower_owner, lower_owner, upper_owner, upper_owner),
        (grad_out * positive, s * positive, grad_out * negative, s * negative),
        strict=True,
    ):
        np.add.at(line, owner, values)
    return grad_rows, *lines  # type: ignore[return-value]


def halves(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Centre and radius of intervals, without overflow; its own transpose but for order: see `autograd.halves`."""
    return lower / 2 + upper / 2, upper / 2 - lower / 2


def minimise(rows: Array, lower: Array, upper: Array, owner: Index) -> Array:
    """min over lower <= x <= upper of rows @ x: a positive coefficient takes the lower end, a negative one the upper end."""
    return (np.maximum(rows, 0) * lower[owner] + np.minimum(rows, 0) * upper[owner]).sum(axis=1)


def minimiser(rows: Array, lower: Array, upper: Array, owner: Index) -> Array:
    """The point where `minimise` attains its value; the upper end at a coefficient 0."""
    return np.where(rows > 0, lower[owner], upper[owner])


def magnitude(rows: Array, weight: Array, owner: Index) -> Array:
    """sum_i |rows_i| * weight_i: the scale of the rounding errors in a product with the rows."""
    return (np.abs(rows) * weight[owner]).sum(axis=1)


def norm(rows: Array) -> Array:
    """The l_2 norm of each row, whatever its size: squares neither overflow nor vanish."""
    largest = np.abs(rows).max(axis=1, initial=0)
    unit = np.where(largest > 0, largest, 1)
    return largest * np.sqrt(((rows / unit[:, None]) ** 2).sum(axis=1))


def window_cells(windows: Array, origin: Index, space: tuple[int, int, int]) -> tuple[NDArray[np.bool_], Index]:
    """Which cells of each window lie in the space, and their flat position there (0 elsewhere): two (rows, d, h, w) arrays."""
    axes = []
    for axis, size in enumerate(windows.shape[2:]):
        shape = [len(windows), 1, 1, 1]
        shape[1 + axis] = size
        axes.append((origin[:, axis : axis + 1] + np.arange(size)).reshape(shape))
    z, y, x = np.broadcast_arrays(*axes)
    inside = (z >= 0) & (z < space[0]) & (y >= 0) & (y < space[1]) & (x >= 0) & (x < space[2])
    return inside, np.where(inside, (z * space[1] + y) * space[2] + x, 0)


def window_dense(windows: Array, origin: Index, space: tuple[int, int, int]) -> Array:
    """The rows that the windows stand for: (rows, channels, D * H * W)."""
    inside, cell = window_cells(windows, origin, space)
    rows, channels = windows.shape[:2]
    dense = np.zeros((rows, channels, int(np.prod(space))), windows.dtype)
    r, c = np.indices((rows, channels))
    values = windows * inside[:, None]
    np.add.at(dense, (r[..., None], c[..., None], cell.reshape(rows, 1, -1)), values.reshape(rows, channels, -1))
    return dense


def window_relax(
    windows: Array,
    origin: Index,
    space: tuple[int, int, int],
    lower_slope: Array,
    lower_shift: Array,
    upper_slope: Array,
    upper_shift: Array,
    owner: Index,
) -> tuple[Array, Array]:
    """`relax` of the rows that the windows stand for, as windows; lines are (owners, channels, D * H * W). Cells outside become zero."""
    inside, cell = window_cells(windows, origin, space)
    rows, channels = windows.shape[:2]
    r, c = owner[:, None, None], np.arange(channels)[None, :, None]
    flat = (windows * inside[:, None]).reshape(rows, channels, -1)
    lines = [line[r, c, cell.reshape(rows, 1, -1)] for line in (lower_slope, lower_shift, upper_slope, upper_shift)]
    positive, negative = np.maximum(flat, 0), np.minimum(flat, 0)
    new = (positive * lines[0] + negative * lines[2]).reshape(windows.shape)
    return new, (positive * lines[1] + negative * lines[3]).sum(axis=(1, 2))
