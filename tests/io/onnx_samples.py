"""Random nodes of every ONNX operator that is imported, with their attributes at several versions, and points that are hard on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from onnx import ModelProto, TensorProto, helper, numpy_helper

X = "the variable"  # stands for the network's input among the inputs of a case

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """One node: its operator, the shape of the network's input, its inputs in order (X is the variable, None is left out).

    `positive` says that it is evaluated at positive points only, `most` how large they may be; of several outputs, the network's is number `output`.
    """

    op: str
    shape: tuple[int, ...]
    inputs: tuple[Any, ...] = (X,)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    positive: bool = False
    most: float = np.inf
    output: int = 0
    tail: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    """Nodes (operator, inputs, output) that follow, the last of which makes the network's output `y`."""

    def __str__(self) -> str:
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items())
        return f"{self.op}-{self.opset}{list(self.shape)}{'(' + attrs + ')' if attrs else ''}"


def model_of(case: Case, kind: int = TensorProto.FLOAT) -> ModelProto:
    """The model of one node with one of its outputs as the network's; its floating-point constants are of the same type."""
    names = ["" if value is None else "x" if value is X else f"c{i}" for i, value in enumerate(case.inputs)]
    constants = [
        numpy_helper.from_array(_as_kind(case, i, value, kind), name)
        for i, (name, value) in enumerate(zip(names, case.inputs, strict=True))
        if name.startswith("c")
    ]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op, names, outputs, name="node", **case.attrs)
    entry = helper.make_tensor_value_info("x", kind, case.shape)
    tail = [helper.make_node(op, inputs, [out], **({"to": kind} if op == "Cast" else {})) for op, inputs, out in case.tail]
    result = helper.make_tensor_value_info("y" if tail else outputs[case.output], kind, None)
    graph = helper.make_graph([node, *tail], "g", [entry], [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)


def _as_kind(case: Case, index: int, value: Any, kind: int) -> Array:
    array = np.asarray(value)
    scales = case.op in ("Resize", "Upsample", "Dropout") or (case.op == "Pow" and index == 1)
    return array if array.dtype != np.float32 or scales else array.astype(helper.tensor_dtype_to_np_dtype(kind))


# --- what samples are drawn from ------------------------------------------------------------------------------------------------


def floats(random: Generator, *shape: int) -> Array:
    """Numbers of many sizes, of either sign, and zeros."""
    values = random.normal(size=shape) * 2.0 ** random.integers(-8, 8, shape)
    return np.where(random.random(shape) < 0.1, 0, values).astype(np.float32)


def whole(values: Any) -> Array:
    """Sizes, axes and amounts."""
    return np.asarray(values, np.int64)


def shape_of(random: Generator, rank: int, most: int = 4) -> tuple[int, ...]:
    return tuple(int(n) for n in random.integers(1, most + 1, rank))


def broadcasts(random: Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts with this one, perhaps both ways."""
    kept = [int(random.choice([n, 1])) if n > 1 else int(random.choice([1, 3])) for n in shape]
    return tuple(kept[int(random.integers(0, len(shape))) :])


Draw = Callable[[Generator], Case]


def pick(random: Generator, *options: Any) -> Any:
    """One of the options."""
    return options[int(random.integers(len(options)))]


def unary(op: str, *opsets: int, positive: bool = False, **attributes: Callable[[Generator], Any]) -> Draw:
    """A function of one element; each attribute is left out at times."""

    def draw(random: Generator) -> Case:
        attrs = {name: make(random) for name, make in attributes.items() if random.random() < 0.7}
        return Case(op, (24,), attrs=attrs, opset=pick(random, *opsets), positive=positive)

    return draw


def slope(random: Generator) -> float:
    return float(np.float32(pick(random, 0.1, 0.0, 1.0, 2.5, -0.5, 1 / 3)))


def above_zero(random: Generator) -> float:
    return float(np.float32(pick(random, 0.1, 1.0, 2.5, 1 / 3)))


# --- hostile points -------------------------------------------------------------------------------------------------------------

SPECIAL = (
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -1.5,
    1,
    -1,
    2,
    -2,
    3,
    -3,
    6,
    -6,
    20.1,
    -20.1,
    88.5,
    -88.5,
    1e-40,
    -1e-40,
    1e-20,
    -1e-7,
    1e30,
    -1e30,
)


def points(random: Generator, case: Case) -> list[Array]:
    """Points with ties, signed zeros, halves, huge and tiny numbers, as float32 arrays of the network's shape."""
    found = [
        random.normal(size=case.shape),
        random.integers(-3, 4, case.shape) / 2,
        random.choice(SPECIAL, case.shape),
        random.normal(size=case.shape) * 2.0 ** random.integers(-30, 30, case.shape),
    ]
    found = [np.clip(x, -case.most, case.most).astype(np.float32) for x in found]
    return [np.abs(x) + np.float32(2.0**-20) if case.positive else x for x in found]


# ruff: noqa: E501
# --- one sample of every operator -----------------------------------------------------------------------------------------------


def arithmetic(op: str, *opsets: int, most: int = 2) -> Draw:
    """Variables and constants in any mixture, with broadcasting both ways."""

    def draw(random: Generator) -> Case:
        shape = shape_of(random, int(random.integers(1, 4)))
        count = int(random.integers(2 if most == 2 else 1, most + 1))
        inputs = [pick(random, X, floats(random, *broadcasts(random, shape))) for _ in range(count)]
        inputs[int(random.integers(count))] = X
        if op == "Div":
            inputs = [entry if entry is X or not index else np.where(entry == 0, 3, entry) for index, entry in enumerate(inputs)]
            return Case(op, shape, tuple(inputs), opset=pick(random, *opsets), positive=inputs[1] is X)
        return Case(op, shape, tuple(inputs), opset=pick(random, *opsets))

    return draw


def _power(random: Generator) -> Case:
    exponent = pick(random, 0, 1, 2, 3, 4, 7, -1, -2, -3, 0.5, 1.5, -0.5, 0.3, 2.0)
    whole_number = exponent == int(exponent)
    kind = pick(random, np.float32, np.int64, np.int32) if whole_number else np.float32
    inputs = (X, np.asarray(exponent, kind))
    if whole_number and random.random() < 0.3:
        inputs = (X, random.integers(0, 4, 6).astype(kind))
    elif random.random() < 0.2:
        return Case("Pow", (4, 6), (np.float32(pick(random, 2, 0.5, 1, np.e)), X), opset=pick(random, 8, 12, 13, 15))
    old = kind == np.float32 and random.random() < 0.5
    return Case("Pow", (4, 6), inputs, opset=8 if old else pick(random, 12, 13, 15), positive=exponent < 0 or not whole_number)


def _cast(random: Generator) -> Case:
    """To int64 and back: rounded towards zero."""
    return Case(
        "Cast", (24,), attrs={"to": TensorProto.INT64}, opset=pick(random, 9, 13), tail=(("Cast", ("y0",), "y"),), most=2.0**62
    )


def _clip(random: Generator) -> Case:
    ends = sorted(float(np.float32(v)) for v in random.normal(size=2))
    given = [pick(random, None, np.float32(end)) for end in ends]
    opset = pick(random, 8, 10, 11, 12, 13)
    if opset < 11:
        return Case(
            "Clip", (24,), attrs={k: float(v) for k, v in zip(("min", "max"), given, strict=True) if v is not None}, opset=opset
        )
    return Case("Clip", (24,), (X, *(given[::-1] if random.random() < 0.1 else given)), opset=opset)


def _prelu(random: Generator) -> Case:
    return Case(
        "PRelu",
        (2, 3, 4),
        (X, floats(random, *pick(random, (), (1,), (4,), (3, 1), (2, 3, 4), (2, 1, 1)))),
        opset=pick(random, 9, 16),
    )


def _dropout(random: Generator) -> Case:
    opset = pick(random, 8, 10, 12, 13)
    return (
        Case("Dropout", (6,), (X, np.float32(0.3)), opset=opset)
        if opset >= 12
        else Case("Dropout", (6,), attrs={"ratio": 0.3}, opset=opset)
    )


def _where(random: Generator) -> Case:
    shape = shape_of(random, 2)
    inputs = [X, floats(random, *broadcasts(random, shape))]
    random.shuffle(inputs)
    condition = random.random(broadcasts(random, shape)) < 0.5
    return Case("Where", shape, (condition, *pick(random, inputs, [X, X])), opset=pick(random, 9, 16))


def _gemm(random: Generator) -> Case:
    m, k, n = (int(i) for i in random.integers(1, 4, 3))
    turned = [int(i) for i in random.integers(0, 2, 2)]
    sizes = [(k, m) if turned[0] else (m, k), (n, k) if turned[1] else (k, n)]
    which = int(random.integers(2))
    factors = [floats(random, *size) for size in sizes]
    factors[which] = X
    rest = pick(
        random, (), (floats(random, *pick(random, (m, n), (n,), (1, n), (m, 1), ())),), (X,) if sizes[which] == (m, n) else ()
    )
    attrs = {"transA": turned[0], "transB": turned[1], "alpha": slope(random), "beta": slope(random)}
    return Case("Gemm", sizes[which], (*factors, *rest), attrs if rest else {**attrs, "beta": 1.0}, pick(random, 11, 13))


def _matmul(random: Generator) -> Case:
    k = int(random.integers(1, 4))
    left = pick(random, (k,), (2, k), (3, 2, k), (2, 1, 2, k))
    right = pick(random, (k,), (k, 3), (3, k, 2), (1, 3, k, 1))
    return (
        Case("MatMul", left, (X, floats(random, *right)), opset=pick(random, 8, 9, 13))
        if random.random() < 0.5
        else Case("MatMul", right, (floats(random, *left), X), opset=pick(random, 8, 9, 13))
    )


def _batch_normalization(random: Generator) -> Case:
    values = [floats(random, 3) for _ in range(3)]
    attrs = {"epsilon": pick(random, 1e-5, 0.1)} if random.random() < 0.5 else {}
    return Case(
        "BatchNormalization",
        pick(random, (2, 3), (1, 3, 2, 2)),
        (X, *values, np.abs(floats(random, 3)) + np.float32(0.01)),
        attrs,
        pick(random, 8, 9, 14, 15),
    )


def reduction(op: str, before: int, positive: bool = False) -> Draw:
    """Axes by attribute before a version, by input from then on; none, some or all, with `noop_with_empty_axes` or not."""

    def draw(random: Generator) -> Case:
        shape, opset = shape_of(random, 3), pick(random, 8, 11, 13, 18, 20)
        axes = pick(random, None, [], [1], [0, -1], [-3, 1, 2], [2, 0])
        attrs: dict[str, Any] = {"keepdims": int(random.integers(2))} if random.random() < 0.7 else {}
        if opset < 11 and axes:
            axes = [axis % 3 for axis in axes]
        if opset < before:
            return Case(op, shape, attrs={**attrs, **({"axes": axes} if axes else {})}, opset=opset, positive=positive)
        attrs |= {"noop_with_empty_axes": int(random.integers(2))}
        return Case(op, shape, (X,) if axes is None else (X, whole(axes)), attrs, opset, positive=positive)

    return draw


def _windows(
    random: Generator, kernel: tuple[int, ...], dilated: bool, auto: bool = True
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Attributes that say where windows lie, and a space on which at least one does."""
    axes = len(kernel)
    dilation = [int(n) for n in random.integers(1, 4, axes)] if dilated else [1] * axes
    attrs: dict[str, Any] = {"strides": [int(n) for n in random.integers(1, 4, axes)]}
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(d > 1 for d in dilation):
        attrs["dilations"] = dilation
    if auto and random.random() < 0.3:
        attrs["auto_pad"] = pick(random, "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
    elif random.random() < 0.7:
        attrs["pads"] = [int(random.integers(0, k)) for k in (*kernel, *kernel)]
    return attrs, tuple(int(random.integers(r, r + 5)) for r in reach)


def _conv(random: Generator) -> Case:
    kernel, groups = shape_of(random, int(random.integers(1, 4)), 3), int(random.integers(1, 3))
    attrs, space = _windows(random, kernel, True)
    weights = (floats(random, 2 * groups, 2, *kernel), *pick(random, (), (floats(random, 2 * groups),)))
    return Case("Conv", (pick(random, 1, 2), 2 * groups, *space), (X, *weights), {**attrs, "group": groups}, pick(random, 8, 11))


def _conv_transpose(random: Generator) -> Case:
    kernel, groups = shape_of(random, int(random.integers(1, 3)), 3), int(random.integers(1, 3))
    attrs, space = _windows(random, kernel, True)
    attrs |= {"group": groups}
    if random.random() < 0.3:
        attrs["output_padding"] = [int(random.integers(0, s)) for s in attrs["strides"]]
    weights = (floats(random, 2 * groups, 2, *kernel), *pick(random, (), (floats(random, 2 * groups),)))
    if random.random() < 0.3:
        attrs.pop("pads", None)
        dilation = attrs.get("dilations", [1] * len(kernel))
        full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(space, attrs["strides"], dilation, kernel, strict=True)]
        attrs["output_shape"] = [max(f + int(random.integers(-2, 3)), 1) for f in full]
    return Case("ConvTranspose", (1, 2 * groups, *space), (X, *weights), attrs, pick(random, 8, 11))


def _max_pool(random: Generator) -> Case:
    kernel, opset = shape_of(random, int(random.integers(1, 4)), 3), pick(random, 8, 10, 11, 12)
    attrs, space = _windows(random, kernel, opset >= 10)
    ceil = {"ceil_mode": int(random.integers(2))} if opset >= 10 else {}
    return Case("MaxPool", (1, 2, *space), (X,), {"kernel_shape": kernel, **attrs, **ceil}, opset)


def _average_pool(random: Generator) -> Case:
    kernel, opset = shape_of(random, int(random.integers(1, 4)), 3), pick(random, 8, 10, 11, 19)
    attrs, space = _windows(random, kernel, opset >= 19)
    ceil = {"ceil_mode": int(random.integers(2))} if opset >= 10 else {}
    counted = {"count_include_pad": int(random.integers(2))}
    return Case("AveragePool", (1, 2, *space), (X,), {"kernel_shape": kernel, **attrs, **ceil, **counted}, opset)


def _global_pool(op: str) -> Draw:
    return lambda random: Case(op, shape_of(random, pick(random, 3, 4, 5)))


def _slice(random: Generator) -> Case:
    shape = (4, 5)
    starts, ends, steps = (
        [int(random.choice(of)) for _ in shape] for of in ((0, 1, -1, -3, 99, -99), (0, 2, -1, 4, 99, -99), (1, 2, -1, -3))
    )
    opset = pick(random, 8, 10, 11, 13)
    axes = pick(random, [0, 1], [1, 0], [-1, 0]) if opset >= 11 else [0, 1]
    if opset < 10:
        return Case("Slice", shape, attrs={"starts": starts, "ends": ends, "axes": axes}, opset=opset)
    return Case("Slice", shape, (X, *map(whole, (starts, ends, axes, steps))), opset=opset)


def _split(random: Generator) -> Case:
    axis, opset = pick(random, 0, 1), pick(random, 8, 11, 13, 18)
    parts = pick(random, None, [1, 2, 3], [4, 1, 1])
    if parts is None:
        given = {"num_outputs": 3} if opset >= 18 else {}
        return Case("Split", (6, 6), attrs={"axis": axis, **given}, opset=opset, outputs=3, output=int(random.integers(3)))
    inputs, attrs = ((X, whole(parts)), {"axis": axis}) if opset >= 13 else ((X,), {"axis": axis, "split": parts})
    return Case("Split", (6, 6), inputs, attrs, opset, 3, output=int(random.integers(3)))


def _gather(random: Generator) -> Case:
    axis = pick(random, 0, 1, -1, -2)
    index = random.integers(-3, 3, pick(random, (), (2,), (2, 2))).astype(pick(random, np.int64, np.int32))
    return Case("Gather", (3, 4), (X, index), {"axis": axis}, pick(random, 11, 13))


def _gather_elements(random: Generator) -> Case:
    axis = pick(random, 0, 1, -1)
    return Case(
        "GatherElements",
        (3, 4),
        (X, random.integers(-3, 3, pick(random, (3, 3), (2, 2), (1, 3)))),
        {"axis": axis},
        pick(random, 11, 13),
    )


def _gather_nd(random: Generator) -> Case:
    batch = pick(random, 0, 1)
    index = random.integers(-2, 2, (2, 3, pick(random, 1, 2)))
    return Case("GatherND", (2, 3, 4), (X, index), {"batch_dims": batch} if batch else {}, pick(random, 12, 13))


def _pad(random: Generator) -> Case:
    opset = pick(random, 8, 11, 13, 18, 19)
    mode = pick(random, "constant", "edge", "reflect", *(("wrap",) if opset >= 19 else ()))
    amounts = [int(n) for n in random.integers(-1 if mode == "constant" else 0, 3, 4)]
    value = float(np.float32(pick(random, 0.0, 0.3, -2.0)))
    if opset < 11:
        return Case("Pad", (3, 4), attrs={"pads": amounts, "mode": mode, "value": value}, opset=opset)
    inputs: tuple[Any, ...] = (
        (X, whole(amounts), np.float32(value)) if mode == "constant" and random.random() < 0.7 else (X, whole(amounts))
    )
    if opset >= 18 and random.random() < 0.5:
        inputs = (X, whole(amounts[:2]), inputs[2] if len(inputs) > 2 else None, whole([pick(random, 0, 1, -1)]))
    return Case("Pad", (3, 4), inputs, {"mode": mode}, opset)


RULES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")


def _resize(random: Generator) -> Case:
    opset = pick(random, 10, 11, 13, 18, 19)
    scales = [1.0, 1.0, *(float(np.float32(pick(random, 0.6, 0.3, 1.5, 2.0, 1.7, 0.5, 3.0))) for _ in range(2))]
    space = (1, 2, int(random.integers(2, 6)), int(random.integers(2, 6)))
    mode = pick(random, "nearest", "linear")
    if opset < 11:
        return Case("Resize", space, (X, np.array(scales, np.float32)), {"mode": mode}, opset)
    later = ("half_pixel_symmetric",) if opset >= 19 else ()
    rules = (*RULES, *later, *(("tf_half_pixel_for_nn",) if mode == "nearest" else ()))
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": pick(random, *rules)}
    if mode == "nearest":
        attrs["nearest_mode"] = pick(random, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    cut = 2 if opset >= 18 and random.random() < 0.5 else 0
    if cut:
        attrs["axes"] = [2, 3]
    if random.random() < 0.5:
        return Case("Resize", space, (X, None, np.array(scales[cut:], np.float32)), attrs, opset)
    sizes = [1, 2, int(random.integers(1, 8)), int(random.integers(1, 8))]
    if opset >= 18 and random.random() < 0.5:
        attrs["keep_aspect_ratio_policy"] = pick(random, "stretch", "not_larger", "not_smaller")
    return Case("Resize", space, (X, None, None, whole(sizes[cut:])), attrs, opset)


def _upsample(random: Generator) -> Case:
    scales = [1.0, 1.0, float(pick(random, 1.0, 2.0, 1.5)), float(pick(random, 3.0, 2.0, 1.7))]
    mode = pick(random, "nearest", "linear")
    if random.random() < 0.5:
        return Case("Upsample", (1, 2, 3, 4), attrs={"scales": scales, "mode": mode}, opset=8)
    return Case("Upsample", (1, 2, 3, 4), (X, np.array(scales, np.float32)), {"mode": mode}, 9)


def _concat(random: Generator) -> Case:
    axis = pick(random, 0, 1, -1)
    parts = [pick(random, X, floats(random, *((n, 3) if axis == 0 else (2, n)))) for n in random.integers(1, 4, 4)]
    return Case("Concat", (2, 3), (*parts, X), {"axis": axis}, pick(random, 11, 13))


MULTIPLIED = (("Cast", ("y0",), "number"), ("Mul", ("x", "number"), "y"))


def _shape(random: Generator) -> Case:
    attrs, shape = pick(random, ({}, (2, 2)), ({"start": -1}, (2, 3)), ({"end": 1}, (2, 3)), ({"start": -9, "end": -1}, (2, 3)))
    return Case("Shape", shape, attrs=attrs, opset=15, tail=MULTIPLIED)


def moves(op: str, shape: tuple[int, ...], *forms: tuple[int, tuple[Any, ...], Mapping[str, Any]]) -> Draw:
    """One of the given forms (version, further inputs, attributes)."""

    def draw(random: Generator) -> Case:
        opset, inputs, attrs = pick(random, *forms)
        return Case(op, shape, (X, *inputs), attrs, opset)

    return draw


def _einsum(random: Generator) -> Case:
    equation, shape, *factors = pick(
        random,
        ("bti,io->bto", (2, 3, 4), (4, 2)),
        ("bi,oi->bo", (2, 3), (4, 3)),
        ("ij,jk,k->i", (2, 3), (3, 4), (4,)),
        ("ij->ji", (2, 3)),
        ("ij->j", (2, 3)),
        ("ii->i", (3, 3)),
        ("ii", (3, 3)),
        ("...i,ij->...j", (2, 2, 3), (3, 2)),
        ("bi,bj->bij", (2, 3), (2, 4)),
        (" ij , jk -> ki ", (2, 3), (3, 2)),
    )
    return Case("Einsum", shape, (X, *(floats(random, *size) for size in factors)), {"equation": equation}, 12)


def _scatter_elements(random: Generator) -> Case:
    opset, axis = pick(random, 11, 13, 16, 18), pick(random, 0, 1, -1)
    attrs: dict[str, Any] = {"axis": axis}
    if axis == 0:
        index = np.stack([random.permutation(3)[:2] for _ in range(3)], 1)
    else:
        index = np.stack([random.permutation(4)[:3] for _ in range(2)], 0)
    if opset >= 16 and random.random() < 0.5:
        index, attrs = random.integers(-3, 3, index.shape), {**attrs, "reduction": "add"}
    data, updates = floats(random, 3, 4), floats(random, *index.shape)
    shape, inputs = pick(random, ((3, 4), (X, index, updates)), (index.shape, (data, index, X)))
    return Case("ScatterElements", shape, inputs, attrs, opset)


def _scatter(random: Generator) -> Case:
    case = _scatter_elements(random)
    return (
        _scatter(random) if "reduction" in case.attrs else Case("Scatter", case.shape, case.inputs, case.attrs, pick(random, 9, 10))
    )


def _scatter_nd(random: Generator) -> Case:
    opset, depth = pick(random, 11, 13, 16, 18), pick(random, 1, 2)
    attrs: dict[str, Any] = {}
    places = np.array([[0], [-1]]) if depth == 1 else np.array([[0, 1], [-1, 3], [1, 1]])
    if opset >= 16 and random.random() < 0.5:
        places, attrs = random.integers(-3, 3, places.shape), {"reduction": "add"}
    data, updates = floats(random, 3, 4), floats(random, len(places), *((4,) if depth == 1 else ()))
    shape, inputs = pick(random, ((3, 4), (X, places, updates)), (updates.shape, (data, places, X)))
    return Case("ScatterND", shape, inputs, attrs, opset)


def _comparison(op: str) -> Draw:
    """The larger or the smaller of two, or a relu, by a comparison and what is chosen by it."""

    def draw(random: Generator) -> Case:
        limit = floats(random, 6)
        tail = pick(
            random,
            ((("Where", ("y0", "x", "c1"), "y"),)),
            (("Where", ("y0", "c1", "x"), "y"),),
            (("Not", ("y0",), "n"), ("Where", ("n", "x", "c1"), "y")),
            (("Cast", ("y0",), "k"), ("Sub", ("x", "c1"), "d"), ("Mul", ("k", "d"), "y")),
        )
        return Case(op, (4, 6), (X, limit), opset=pick(random, 13, 16), tail=tail)

    return draw


SAMPLES: Mapping[str, Draw] = {
    **{op: _comparison(op) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
    "Not": _comparison("Greater"),
    "Einsum": _einsum,
    "Scatter": _scatter,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    **{op: unary(op, 8, 13) for op in ("Relu", "Abs", "Sigmoid", "Tanh", "Exp", "Neg", "Identity", "Softsign", "Softplus", "Floor", "Ceil")},
    **{op: unary(op, 8, 9, 13) for op in ("Sin", "Cos", "Atan", "Tan")},
    **{op: unary(op, 9, 13) for op in ("Sign", "Erf")},
    **{op: unary(op, 8, 13, positive=True) for op in ("Log", "Sqrt", "Reciprocal")},
    "Round": unary("Round", 11),
    "Mish": unary("Mish", 18),
    "HardSwish": unary("HardSwish", 14),
    "Elu": unary("Elu", 8, alpha=slope),
    "Celu": unary("Celu", 12, alpha=above_zero),
    "Selu": unary("Selu", 8, alpha=above_zero, gamma=above_zero),
    "HardSigmoid": unary("HardSigmoid", 8, alpha=slope, beta=slope),
    "LeakyRelu": unary("LeakyRelu", 8, 16, alpha=slope),
    "Gelu": unary("Gelu", 20, approximate=lambda random: pick(random, "none", "tanh")),
    "PRelu": _prelu,
    "Clip": _clip,
    "Pow": _power,
    "Cast": _cast,
    "CastLike": moves("CastLike", (4,), (15, (X,), {})),
    "Dropout": _dropout,
    **{op: arithmetic(op, 8, 13, 14) for op in ("Add", "Sub", "Mul", "Div")},
    **{op: arithmetic(op, 8, 13, most=4) for op in ("Sum", "Mean", "Max", "Min")},
    "Where": _where,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_normalization,
    "ReduceSum": reduction("ReduceSum", 13),
    **{op: reduction(op, 18) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")},
    "ReduceLogSum": reduction("ReduceLogSum", 18, positive=True),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalMaxPool": _global_pool("GlobalMaxPool"),
    "GlobalAveragePool": _global_pool("GlobalAveragePool"),
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _upsample,
    "Concat": _concat,
    "Shape": _shape,
    "Size": lambda random: Case("Size", shape_of(random, 2), opset=pick(random, 8, 13), tail=MULTIPLIED),
    "Flatten": moves("Flatten", (2, 3, 4), (8, (), {}), (9, (), {"axis": 0}), (11, (), {"axis": -1}), (13, (), {"axis": 3})),
    "Reshape": moves("Reshape", (2, 3, 4), (8, (whole([0, -1]),), {}), (13, (whole([4, 0, 2]),), {}), (14, (whole([-1, 2]),), {"allowzero": 1})),
    "Squeeze": moves("Squeeze", (1, 3, 1), (8, (), {"axes": [0]}), (11, (), {"axes": [-1]}), (13, (), {}), (13, (whole([0, 2]),), {})),
    "Unsqueeze": moves("Unsqueeze", (2, 3), (8, (), {"axes": [0, 3]}), (11, (), {"axes": [-1]}), (13, (whole([1, -1]),), {})),
    "Transpose": moves("Transpose", (2, 3, 4), (8, (), {}), (13, (), {"perm": [1, 2, 0]})),
    "Expand": moves("Expand", (3, 1), (8, (whole([2, 1, 4]),), {}), (13, (whole([1, 1]),), {}), (13, (whole([3]),), {})),
    "Tile": moves("Tile", (2, 3), (8, (whole([2, 1]),), {}), (13, (whole([3, 2]),), {})),
    "DepthToSpace": moves("DepthToSpace", (2, 8, 2, 3), (8, (), {"blocksize": 2}), (11, (), {"blocksize": 2, "mode": "CRD"}), (13, (), {"blocksize": 2, "mode": "DCR"})),
    "SpaceToDepth": moves("SpaceToDepth", (2, 3, 4, 6), (8, (), {"blocksize": 2}), (13, (), {"blocksize": 2})),
    "Compress": moves("Compress", (2, 3), (9, (np.array([True, False]),), {"axis": 0}), (11, (np.array([False, True, True]),), {"axis": -1}), (11, (np.array([True, False, True, True]),), {})),
    "ReverseSequence": moves("ReverseSequence", (3, 2, 2), (10, (whole([3, 1]),), {}), (10, (whole([2, 1, 2]),), {"batch_axis": 0, "time_axis": 1})),
    "Trilu": moves("Trilu", (3, 4), (14, (), {}), (14, (np.int64(1),), {"upper": 0}), (14, (np.int64(-1),), {"upper": 1}), (14, (np.int64(9),), {})),
}  # fmt: skip
