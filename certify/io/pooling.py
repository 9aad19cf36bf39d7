"""Pooling and resampling of the last axes of a tensor, expressed in the small vocabulary of the graph. No torch, no onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce as fold

import numpy as np

from certify.graph import GraphBuilder, Shape
from certify.graph.double_double import DoubleDouble, exactly, from_fractions, where
from certify.graph.shapes import require_size
from certify.io.lowering import Array, conv, reduce, scale, take, take_index, transpose


@dataclass(frozen=True)
class Pooling:
    """Windows over the last axes of a tensor, one entry per axis. `ceil` keeps a last window that reaches beyond the padding."""

    kernel: Shape
    stride: Shape
    before: Shape
    after: Shape
    dilation: Shape
    ceil: bool = False

    def axis(self, axis: int, size: int) -> AxisWindows:
        """The windows along one axis of that size."""
        kernel, stride, dilation = self.kernel[axis], self.stride[axis], self.dilation[axis]
        before, after = self.before[axis], self.after[axis]
        free = size + before + after - dilation * (kernel - 1) - 1
        count = (-(-free // stride) if self.ceil else free // stride) + 1
        if self.ceil and (count - 1) * stride >= size + before:
            count -= 1  # the last window would hold nothing but padding
        if count < 1:
            raise ValueError(f"a window of {kernel} does not fit an axis of size {size} padded by {before} and {after}")
        require_size((count, kernel))
        start = np.arange(count)[:, None] * stride - before
        cells = start + np.arange(kernel) * dilation
        return AxisWindows(cells, (cells >= 0) & (cells < size), (cells < size + after).sum(1))


@dataclass(frozen=True)
class AxisWindows:
    """Cells (windows, k) of each window along one axis, which of them are real, and how many of them are real or padding."""

    cells: Array
    real: Array
    padded_count: Array

    def real_cells(self) -> Array:
        """The cells, with those outside replaced by a real one of the same window, which changes no maximum."""
        if not self.real.any(1).all():
            raise ValueError("a pooling window lies entirely in the padding; reduce the padding")
        first = np.take_along_axis(self.cells, self.real.argmax(1)[:, None], 1)
        return np.where(self.real, self.cells, first)


def max_pool(builder: GraphBuilder, x: str, pooling: Pooling, source: str) -> str:
    """MaxPool over the last axes, padding being minus infinity: a take of the windows and a maximum."""
    space = builder.shape(x)[-len(pooling.kernel) :]
    cells = [pooling.axis(axis, size).real_cells() for axis, size in enumerate(space)]
    return max_over_cells(builder, x, cells, source)


def max_over_cells(builder: GraphBuilder, x: str, cells: Sequence[Array], source: str) -> str:
    """The maximum over windows of the last axes, given by the cells (windows, k) of each axis."""
    windows = take(builder, x, window_index(builder.shape(x), cells), f"{source}.windows")
    return reduce(builder, "reduce_max", windows, (-1,), False, source)


def window_index(shape: Shape, cells: Sequence[Array]) -> Array:
    """Flat index (*leading, *windows, k) of the windows of the last axes of a tensor of this shape."""
    leading, axes = shape[: -len(cells)], len(cells)
    require_size((*leading, *(n for c in cells for n in c.shape)))

    def gather(index: Array) -> Array:
        for axis, c in enumerate(cells):  # (*leading, w1, ..., space ..., k1, ...): each axis becomes windows, its cells go last
            index = np.moveaxis(np.take(index, c, axis=len(leading) + axis), len(leading) + axis + 1, -1)
        return index.reshape(*index.shape[: len(leading) + axes], -1)

    return take_index(shape, gather)


def average_pool(
    builder: GraphBuilder, x: str, pooling: Pooling, source: str, *, count_padding: bool = True, divisor: int | None = None
) -> str:
    """AveragePool of (n, c, *space): a depthwise convolution. Without `count_padding` windows at the border are divided by the
    number of their real cells; `divisor` replaces both counts."""
    channels, space = builder.shape(x)[1], builder.shape(x)[2:]
    require_size((channels, *pooling.kernel))
    windows = [pooling.axis(axis, size) for axis, size in enumerate(space)]
    counts = [w.padded_count if count_padding else w.real.sum(1) for w in windows]
    divisors = np.asarray(divisor) if divisor else fold(np.multiply, np.ix_(*counts))
    uniform = divisors.size == 1 or np.ptp(divisors) == 0
    shape = (channels, 1, *pooling.kernel)
    weight = exactly(np.full(shape, divisors.flat[0])).reciprocal().simplest if uniform else np.ones(shape)
    reach = [int(w.cells[-1, -1]) + 1 - size for w, size in zip(windows, space, strict=True)]
    summed = conv(
        builder,
        x,
        builder.constant(f"{source}.weight", weight),
        None,
        stride=pooling.stride,
        before=pooling.before,
        after=[max(after, r) for after, r in zip(pooling.after, reach, strict=True)],
        dilation=pooling.dilation,
        groups=channels,
        source=source if uniform else f"{source}.sum",
    )
    return summed if uniform else scale(builder, summed, exactly(divisors).reciprocal(), source)


def adaptive_cells(size: int, count: int) -> Array:
    """Cells (count, k) of the windows of adaptive pooling from `size` to `count` cells; short windows repeat their first cell."""
    start = np.arange(count) * size // count
    end = -(-(np.arange(1, count + 1) * size) // count)
    cells = start[:, None] + np.arange(int((end - start).max()))
    return np.where(cells < end[:, None], cells, start[:, None])


def adaptive_matrix(size: int, count: int) -> DoubleDouble:
    """The (count, size) matrix of adaptive average pooling along one axis."""
    cells = np.arange(size)
    start = (np.arange(count) * size // count)[:, None]
    end = (-(-(np.arange(1, count + 1) * size) // count))[:, None]
    return exactly((cells >= start) & (cells < end)) / exactly(end - start)


# --- linear maps along axes -----------------------------------------------------------------------------------------------------


def along_axes(builder: GraphBuilder, x: str, matrices: Mapping[int, DoubleDouble], source: str) -> str:
    """x with each named axis multiplied by a matrix (out, in), identities left out: separable resampling. x itself without any."""
    rank = len(builder.shape(x))
    matrices = {axis: matrix for axis, matrix in matrices.items() if not _is_identity(matrix)}
    last = next(reversed(matrices), None)
    for axis, matrix in matrices.items():
        step = source if axis == last else f"{source}.axis{axis}"
        swap = list(range(rank))
        swap[axis], swap[-1] = swap[-1], swap[axis]
        moved = transpose(builder, x, swap, f"{step}.to_last")
        in_place = swap == sorted(swap)
        weight = builder.constant(f"{step}.weight", matrix.simplest)
        mapped = builder.add("linear", [moved], {"weight": weight}, source=step if in_place else f"{step}.linear")
        x = transpose(builder, mapped, swap, step)
    return x


def _is_identity(matrix: DoubleDouble) -> bool:
    return matrix.exact and np.array_equal(matrix.high, np.eye(matrix.shape[0]))


def interpolation_matrix(positions: Sequence[Fraction], size: int) -> DoubleDouble:
    """The (out, size) matrix of linear interpolation at positions along an axis, those outside being clamped to the ends."""
    clamped = [min(max(position, Fraction(0)), Fraction(size - 1)) for position in positions]
    low = [position.__floor__() for position in clamped]
    shares = [position - cell for position, cell in zip(clamped, low, strict=True)]
    rows = np.arange(len(positions))
    matrix = exactly(np.zeros((len(positions), size)))
    for cells, weights in ((low, [1 - share for share in shares]), ([cell + 1 for cell in low], shares)):
        inside = np.array([0 <= cell < size for cell in cells])
        place = np.zeros(matrix.shape, dtype=bool)
        place[rows[inside], np.array(cells)[inside]] = True
        column = from_fractions(weights, (len(positions), 1))
        matrix = where(place, column, matrix)
    return matrix
