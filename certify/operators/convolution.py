"""Convolutions and their transposes, 1-D to 3-D, with groups and dilation; rows of coefficients stay windows as long as they are small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from certify.graph import Node
from certify.operators.base import Affine, Params, Shapes
from certify.operators.rows import Rows, UnitRows, WindowRows

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _merged(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Lets a torch convolution, which knows one leading axis, take two: (batch, n, c, *space)."""

    def apply(x: Tensor, *args: object, **kwargs: object) -> Tensor:
        y = function(x.flatten(0, 1), *args, **kwargs)
        return y.reshape(*x.shape[:2], *y.shape[1:])

    return apply


def _options(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.attrs.items() if key in ("stride", "padding", "dilation", "groups", "output_padding")}


def _conv(x: Tensor, node: Node, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _merged(_CONV[weight.ndim - 2])(x, weight, bias, **_options(node))


def _conv_transpose(x: Tensor, node: Node, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _merged(_CONV_TRANSPOSE[weight.ndim - 2])(x, weight, bias, **_options(node))


_LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(x: Tensor) -> Tensor:
    """The same numbers with channels last in memory: there a transposed convolution is two to five times as fast."""
    return x.contiguous(memory_format=_LAYOUT.get(x.ndim, torch.contiguous_format))


def spread(
    rows: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
    dilation: Sequence[int],
) -> Tensor:
    """Transposed convolution of many rows, (rows, channels, *space); the result has its channels last in memory, where that is quicker.

    The few channels of an image leave torch's own at a tenth of the machine's speed; there one product with the map's matrix is quicker
    while the windows are small. Kernels side by side, one a channel, as in an average pooling, are no convolution at all.
    """
    channels, kernel = weight.shape[1], weight.shape[2:]
    transposed = _CONV_TRANSPOSE[weight.ndim - 2]
    adjacent = tuple(stride) == tuple(kernel) and all(d == 1 for d in dilation) and not any(padding)
    if adjacent and channels == 1 and groups == len(weight):
        return _side_by_side(rows, weight, output_padding)
    size = [
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, s, p, d, k, extra in zip(rows.shape[2:], stride, padding, dilation, kernel, output_padding, strict=True)
    ]
    cells = prod(rows.shape[1:])
    if weight.ndim == 4 and groups == 1 and channels < 8 and cells <= len(rows) and prod(size) <= 12 * prod(kernel):
        units = torch.eye(cells, dtype=rows.dtype, device=rows.device).reshape(-1, *rows.shape[1:])
        matrix = transposed(units, weight, None, stride, padding, output_padding, groups, dilation)
        return (rows.flatten(1) @ matrix.flatten(1)).reshape(len(rows), *matrix.shape[1:])
    return transposed(_channels_last(rows), weight, None, stride, padding, output_padding, groups, dilation)


def _side_by_side(rows: Tensor, weight: Tensor, output_padding: Sequence[int]) -> Tensor:
    """The transposed convolution with a kernel for each channel that is as large as its stride: each cell becomes a block of cells."""
    cells, kernels = rows.movedim(1, -1), weight[:, 0].movedim(0, -1)
    space, kernel, channels = cells.shape[1:-1], kernels.shape[:-1], len(weight)
    cells = cells.reshape(len(rows), *(n for size in space for n in (size, 1)), channels)
    blocks = cells * kernels.reshape(*(n for size in kernel for n in (1, size)), channels)
    whole = blocks.reshape(len(rows), *(n * k for n, k in zip(space, kernel, strict=True)), channels).movedim(-1, 1)
    extra = [end for amount in reversed(output_padding) for end in (0, amount)]
    return F.pad(whole, extra) if any(extra) else whole


def _conv_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    """The transpose of a convolution; `output_padding` restores the input cells that the stride left over."""
    weight, options = params["weight"], _options(node)
    reached = [
        (out - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1
        for out, stride, pad, dilation, kernel in zip(
            node.shape[2:], node.attrs["stride"], node.attrs["padding"], node.attrs["dilation"], weight.shape[2:], strict=True
        )
    ]
    options["output_padding"] = [size - covered for size, covered in zip(shapes[0][2:], reached, strict=True)]
    return (_merged(spread)(rows, weight, **options),)


def _conv_transpose_back(rows: Tensor, node: Node, params: Params, shapes: Shapes) -> tuple[Tensor, ...]:
    weight, options = params["weight"], _options(node)
    options.pop("output_padding")
    back = _merged(_CONV[weight.ndim - 2])(rows, weight, **options)
    # Output padding makes the convolution's own output a little longer than x where it exceeds the stride's remainder: cut it.
    return (back[(slice(None), slice(None), slice(None), *(slice(n) for n in shapes[0][2:]))],)


def _channels(bias: Tensor | None, axes: int) -> Tensor | None:
    return None if bias is None else bias.reshape(-1, *(1,) * axes)


def _conv_unit_rows(rows: UnitRows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...] | None:
    """Row e_(channel, position) of a convolution has the channel's kernel as its window, at position * stride - padding."""
    if node.shape[0] != 1 or any(d != 1 for d in node.attrs["dilation"]):
        return None
    weight, space = params["weight"], node.shape[2:]
    channel, position = rows.index // prod(space), rows.index % prod(space)
    coordinates = torch.stack(torch.unravel_index(position, space), dim=1)
    values = _channels_last(weight).index_select(0, channel) * rows.sign.reshape(-1, *(1,) * (weight.ndim - 1))
    groups = node.attrs["groups"]
    if groups > 1:
        own = channel // (node.shape[1] // groups)
        full = values.new_zeros(len(channel), groups, *values.shape[1:])
        full[torch.arange(len(channel), device=channel.device), own] = values
        values = full.flatten(1, 2)
    return (WindowRows(values, _window_origin(coordinates, node), shapes[0]).compact(),)


def _window_origin(position: Tensor, node: Node) -> Tensor:
    stride, padding = (torch.tensor(node.attrs[key], device=position.device) for key in ("stride", "padding"))
    return position * stride - padding


def _conv_windows(rows: WindowRows, node: Node, params: Params, shapes: Shapes) -> tuple[Rows, ...]:
    """A window of outputs reads a window of inputs: the transposed convolution of the window itself, without padding."""
    weight = params["weight"]
    none = (0,) * (weight.ndim - 2)
    values = spread(rows.masked().values, weight, node.attrs["stride"], none, none, node.attrs["groups"], node.attrs["dilation"])
    return (WindowRows(values, _window_origin(rows.origin, node), shapes[0]).compact(),)


def _conv_largest(x: Tensor, node: Node, params: Params) -> Tensor:
    """max over the taps of |weight| times the input cell under it: a convolution with one unit kernel for each tap lays the cells out."""
    weight, groups, space = params["weight"].abs(), node.attrs["groups"], node.shape[2:]
    taps = prod(weight.shape[1:])
    units = torch.eye(taps, dtype=x.dtype, device=x.device).reshape(taps, *weight.shape[1:])
    cells = _conv(x, node, units.repeat(groups, *(1,) * (units.ndim - 1)))
    cells = cells.reshape(*x.shape[:2], groups, taps, *space).unsqueeze(3)  # (batch, n, groups, 1, taps, *space)
    kernels = weight.reshape(groups, -1, taps, *(1,) * len(space))
    return reduce(torch.maximum, (kernels[:, :, t] * cells[:, :, :, :, t] for t in range(taps))).reshape(x.shape[0], *node.shape)


CONVOLUTIONS = {
    "conv": Affine(
        value=lambda x, node, params: _conv(x, node, params["weight"], params.get("bias")),
        linear=lambda x, node, params: _conv(x, node, params["weight"]),
        magnitude=lambda x, node, params: _conv(x, node, params["weight"].abs()),
        transpose=_conv_back,
        constant=lambda node, params: _channels(params.get("bias"), len(node.shape) - 2),
        unit_rows=_conv_unit_rows,
        windows=_conv_windows,
        largest=_conv_largest,
        entries=("weight", lambda mask: mask.flatten(1).all(dim=1).reshape(-1, *(1,) * (mask.ndim - 2))),
    ),
    "conv_transpose": Affine(
        value=lambda x, node, params: _conv_transpose(x, node, params["weight"], params.get("bias")),
        linear=lambda x, node, params: _conv_transpose(x, node, params["weight"]),
        magnitude=lambda x, node, params: _conv_transpose(x, node, params["weight"].abs()),
        transpose=_conv_transpose_back,
        constant=lambda node, params: _channels(params.get("bias"), len(node.shape) - 2),
        entries=("weight", lambda mask: mask.all()),
    ),
}
