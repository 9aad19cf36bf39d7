"""Convolutions and pooling: ONNX's ways to say where windows lie, and the operators that slide them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from certify.graph import Shape
from certify.io import lowering, pooling
from certify.io.onnx.call import Array, Call, Handler


@dataclass(frozen=True)
class Windows:
    """Where windows lie over the spatial axes: padding is given per side."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape


# How much padding goes in front, of a total that SAME_* spreads over both sides.
FRONT: Mapping[str, Callable[[int], int]] = {"SAME_UPPER": lambda total: total // 2, "SAME_LOWER": lambda total: total - total // 2}


def _windows(call: Call, space: Shape, kernel: Shape) -> Windows:
    """The windows that the attributes describe over axes of these sizes; errors name an attribute of the wrong length."""
    axes = len(space)
    stride, dilation = (_per_axis(call, name, axes) for name in ("strides", "dilations"))
    pads = _per_axis(call, "pads", 2 * axes, 0)
    auto = call.attrs["auto_pad"]
    if len(kernel) != axes:
        raise call.error(f"a kernel of {len(kernel)} axes over an input of {axes} spatial axes")
    if auto == "VALID":
        pads = (0,) * (2 * axes)
    elif auto in FRONT:
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(space, stride, reach, strict=True)]
        front = [FRONT[auto](total) for total in totals]
        pads = (*front, *(total - f for total, f in zip(totals, front, strict=True)))
    return Windows(tuple(kernel), stride, dilation, pads[:axes], pads[axes:])


def _per_axis(call: Call, attribute: str, count: int, default: int = 1) -> tuple[int, ...]:
    values = tuple(call.attrs.get(attribute) or (default,) * count)
    if len(values) != count:
        raise call.error(f"{attribute} has {len(values)} entries and needs {count}")
    return values


def _space(call: Call) -> Shape:
    if len(call.shape()) < 3:
        raise call.error(f"needs an input (batch, channels, *space), got shape {list(call.shape())}")
    return call.shape()[2:]


def _weight_and_bias(call: Call) -> tuple[Shape, str, str | None]:
    """The kernel's shape, and the names of the constants."""
    weight, bias = call.required_numbers(1), call.numbers(2)
    bias_name = None if bias is None else call.builder.constant(f"{call.name}.bias", bias)
    return weight.shape[2:], call.builder.constant(f"{call.name}.weight", weight), bias_name


def _conv(call: Call) -> str:
    kernel, weight, bias = _weight_and_bias(call)
    windows = _windows(call, _space(call), kernel)
    return lowering.conv(
        call.builder,
        call.variable(),
        weight,
        bias,
        stride=windows.stride,
        before=windows.before,
        after=windows.after,
        dilation=windows.dilation,
        groups=call.attrs["group"],
        source=call.name,
    )


def _conv_transpose(call: Call) -> str:
    """Padding crops the output of a transposed convolution; what is cropped on one side only is a take behind it. Where more output is
    wanted than there is, zeros follow, to which the bias is added as to all."""
    kernel, weight, bias = _weight_and_bias(call)
    space = _space(call)
    windows = _windows(call, space, kernel)
    extra = _per_axis(call, "output_padding", len(space), 0)
    if not all(0 <= e < max(s, d) for e, s, d in zip(extra, windows.stride, windows.dilation, strict=True)):
        raise call.error(f"output_padding {list(extra)} has to be less than the strides {list(windows.stride)}")
    before, after = _cropping(call, space, windows, extra)
    even = tuple(max(min(pair), 0) for pair in zip(before, after, strict=True))
    longer = min(after) < 0
    params = {"weight": weight} if bias is None or longer else {"weight": weight, "bias": bias}
    attrs = {"stride": windows.stride, "padding": even, "output_padding": extra, "dilation": windows.dilation}
    y = call.builder.add("conv_transpose", [call.variable()], params, {**attrs, "groups": call.attrs["group"]}, source=call.name)
    front, back = ([0, 0, *(e - cut for e, cut in zip(even, cuts, strict=True))] for cuts in (before, after))
    y = lowering.pad(call.builder, y, front, back, 0.0, call.name)
    return y if bias is None or not longer else lowering.shift(call.builder, y, _per_channel(call, len(space)), call.name)


def _per_channel(call: Call, axes: int) -> Array:
    return call.required(2).reshape(-1, *(1,) * axes)


def _cropping(call: Call, space: Shape, windows: Windows, extra: Shape) -> tuple[Shape, Shape]:
    """How much is cut off the full output on either side: the padding, or what is too much for the wanted output shape. Of an output
    that is too small, a negative amount behind, as onnxruntime has it."""
    auto = call.attrs["auto_pad"]
    wanted = call.attrs.get("output_shape")
    if auto in FRONT and wanted is None:
        wanted = [n * s for n, s in zip(space, windows.stride, strict=True)]
    if wanted is None:
        return windows.before, windows.after
    reach = [d * (k - 1) + 1 for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    full = [(n - 1) * s + r + e for n, s, r, e in zip(space, windows.stride, reach, extra, strict=True)]
    totals = [f - w for f, w in zip(full, wanted[-len(space) :], strict=True)]
    if min(totals) < 0 and call.attrs.get("output_shape") is None:
        raise call.error(
            f"its auto_pad wants more than the full output {full}, of which onnxruntime makes less; give it output_shape"
        )
    front = FRONT["SAME_UPPER" if auto == "SAME_UPPER" else "SAME_LOWER"]
    before = tuple(front(max(total, 0)) for total in totals)
    return before, tuple(total - b for total, b in zip(totals, before, strict=True))


def pooled_positions(call: Call, shape: Shape) -> Array:
    """The positions (n, c, *windows, k) that the windows of a pooling node of an input of this shape hold."""
    windows = _pooling(call, shape[2:])
    cells = [windows.axis(axis, size).real_cells() for axis, size in enumerate(shape[2:])]
    return pooling.window_index(shape, cells)


def _pooling(call: Call, space: Shape) -> pooling.Pooling:
    windows = _windows(call, space, tuple(call.attrs["kernel_shape"]))
    if call.attrs["auto_pad"] in FRONT and max(windows.dilation) > 1:
        raise call.error("has auto_pad and dilations, of which onnxruntime makes something else than the standard; give it pads")
    ceil = bool(call.attrs.get("ceil_mode", 0))
    return pooling.Pooling(windows.kernel, windows.stride, windows.before, windows.after, windows.dilation, ceil)


def _max_pool(call: Call) -> str:
    return pooling.max_pool(call.builder, call.variable(), _pooling(call, _space(call)), call.name)


def _average_pool(call: Call) -> str:
    counted = bool(call.attrs.get("count_include_pad", 0))
    return pooling.average_pool(call.builder, call.variable(), _pooling(call, _space(call)), call.name, count_padding=counted)


def _global_max_pool(call: Call) -> str:
    return lowering.reduce(call.builder, "reduce_max", call.variable(), range(2, 2 + len(_space(call))), True, call.name)


def _global_average_pool(call: Call) -> str:
    return lowering.reduce_mean(call.builder, call.variable(), range(2, 2 + len(_space(call))), True, call.name)


HANDLERS: Mapping[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalMaxPool": _global_max_pool,
    "GlobalAveragePool": _global_average_pool,
}
