"""Every ATen operation that is imported, in its different forms, against torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, fx

from certify.graph import GraphBuilder, GraphError
from certify.graph.evaluate import evaluate
from certify.graph.passes import normalise
from certify.io.torch.call import Constant, Variable
from certify.io.torch.program import HANDLERS, Reader

X = "the variable"  # stands for the network's input among the arguments of a case


class Case(NamedTuple):
    """One call: the operation, the shape of the network's input, its arguments (X is the variable, tensors are constants)."""

    op: str
    shape: tuple[int, ...]
    args: tuple[Any, ...] = (X,)
    kwargs: dict[str, Any] = {}  # noqa: RUF012

    def __str__(self) -> str:
        return f"{self.op}{list(self.shape)}{[list(a.shape) if isinstance(a, Tensor) else a for a in self.args if a is not X]}"


def rand(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(7).normal(size=shape))


def positive(*shape: int) -> Tensor:
    return rand(*shape).abs() + 0.5


def elementwise(names: str, *args: Any, **kwargs: Any) -> list[Case]:
    return [Case(name, (2, 3), (X, *args), kwargs) for name in names.split()]


def moves(*calls: tuple[Any, ...], shape: tuple[int, ...] = (1, 4, 6)) -> list[Case]:
    return [Case(name, shape, (X, *args)) for name, *args in calls]


IMAGE = (1, 2, 5, 6)

CASES = [
    *elementwise(
        """relu.default abs.default sigmoid.default tanh.default erf.default silu.default mish.default exp.default log.default
        sqrt.default reciprocal.default square.default sin.default cos.default tan.default atan.default sign.default floor.default
        ceil.default log_sigmoid.default selu.default arctan.default sgn.default hardswish.default absolute.default
        special_erf.default special_expit.default relu6.default hardsigmoid.default leaky_relu.default rrelu.default round.default
        softplus.default elu.default celu.default gelu.default softshrink.default rsqrt.default log1p.default exp2.default
        expm1.default log2.default log10.default neg.default negative.default hardtanh.default positive.default"""
    ),
    *elementwise("leaky_relu.default elu.default celu.default softshrink.default", 0.3),
    *elementwise("softplus.default", 3.0, 2.0),
    *elementwise("gelu.default", approximate="tanh"),
    *elementwise("hardtanh.default", -0.5, 0.25),
    *elementwise("clamp.default clip.default", -0.5, 0.5),
    *elementwise("clamp.default clip.default", min=0.25),
    *elementwise("clamp.default", 0.5, -0.5),
    *elementwise("clamp_min.default clamp_max.default", 0.0),
    *elementwise("clamp_max.default", -0.1),
    *elementwise("clamp.Tensor clip.Tensor", rand(3), rand(3) + 1),
    *elementwise("clamp.Tensor", None, rand(2, 1)),
    *elementwise("clamp_min.Tensor clamp_max.Tensor", rand(3)),
    *elementwise("threshold.default", 0.5, 0.5),
    *elementwise("round.decimals", decimals=1),
    *elementwise("pow.Tensor_Scalar", 2),
    *elementwise("pow.Tensor_Scalar", 3),
    *elementwise("pow.Tensor_Scalar", 1),
    *elementwise("pow.Tensor_Scalar", 0.5),
    *elementwise("pow.Tensor_Scalar", -0.5),
    *elementwise("pow.Tensor_Scalar", -1),
    *elementwise("pow.Tensor_Scalar", 1.5),
    *elementwise("pow.Tensor_Tensor", torch.tensor(2.0)),
    *elementwise("pow.Tensor_Tensor", torch.tensor([3.0])),
    Case("pow.Scalar", (2, 3), (2.5, X)),
    *(Case(op, (2, 3, 4), (X, positive(3))) for op in ("prelu.default", "_prelu_kernel.default") if op == "prelu.default"),
    Case("_prelu_kernel.default", (2, 3, 4), (X, positive(3, 1))),
    Case("prelu.default", (2, 3), (X, positive(1))),
    Case("prelu.default", (2, 3), (X, positive(3))),
    Case("glu.default", (2, 4)),
    Case("glu.default", (2, 4), (X, 0)),
    # two operands
    *(
        case
        for name in ("add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide")
        for case in elementwise(f"{name}.Tensor", positive(3)) + elementwise(f"{name}.Scalar", 2.5)
    ),
    *elementwise("add.Tensor sub.Tensor rsub.Tensor mul.Tensor div.Tensor", positive(4, 1, 1)),
    *elementwise("add.Tensor sub.Tensor rsub.Tensor", rand(3), alpha=2),
    *elementwise("add.Tensor sub.Tensor rsub.Tensor", X, alpha=3),
    *elementwise("add.Tensor sub.Tensor mul.Tensor div.Tensor maximum.default minimum.default", X),
    *(Case(f"{name}.Tensor", (2, 3), (rand(3), X)) for name in ("add", "sub", "rsub", "mul", "div")),
    *(Case(f"{name}.Tensor", (2, 3), (rand(3), X), {"alpha": 2}) for name in ("add", "sub", "rsub")),
    *elementwise("add.Tensor mul.Tensor", torch.tensor([1, 2, 3])),
    *elementwise("mul.Tensor", torch.tensor([True, False, True])),
    *elementwise("div.Tensor_mode", positive(3), rounding_mode=None),
    *elementwise("div.Scalar_mode", 0.3, rounding_mode=None),
    *elementwise("maximum.default minimum.default max.other min.other", rand(2, 1)),
    *elementwise("maximum.default", rand(4, 1, 1)),
    *(Case(f"{name}.default", (2, 3), (rand(3), X)) for name in ("maximum", "minimum")),
    # moving elements
    *moves(
        ("view.default", [4, 6]),
        ("_unsafe_view.default", [-1, 3]),
        ("reshape.default", [24]),
        ("view_as.default", rand(2, 12)),
        ("reshape_as.default", rand(2, 12)),
        ("flatten.using_ints", 1),
        ("flatten.using_ints",),
        ("unflatten.int", 2, [2, -1]),
        ("squeeze.default",),
        ("squeeze.dim", 0),
        ("squeeze.dims", [0, 1]),
        ("unsqueeze.default", -1),
        ("expand.default", [3, -1, -1]),
        ("expand_as.default", rand(2, 4, 6)),
        ("broadcast_to.default", [2, 4, 6]),
        ("repeat.default", [2, 1, 1, 2]),
        ("tile.default", [2]),
        ("repeat_interleave.self_int", 2, 1),
        ("slice.Tensor", 2, 1, 6, 2),
        ("slice.Tensor", 1, -3),
        ("narrow.default", 2, 1, 3),
        ("select.int", 1, -1),
        ("index_select.default", 1, torch.tensor([3, 0, 0])),
        ("index.Tensor", [None, torch.tensor([1, 2]), torch.tensor([0, 5])]),
        ("index.Tensor", [None, None, torch.tensor([True, False, True, True, False, False])]),
        ("gather.default", 1, torch.tensor([[[0, 1, 2, 3, 0, 1]]])),
        ("take.default", torch.tensor([5, 23])),
        ("split.Tensor", 4, 2),
        ("split.sizes", [1, 5], 2),
        ("split_with_sizes.default", [1, 3], 1),
        ("chunk.default", 2, 1),
        ("unsafe_chunk.default", 2, 1),
        ("unsafe_split.Tensor", 2, 1),
        ("unbind.int", 1),
        ("tensor_split.sections", 4, 2),
        ("tensor_split.indices", [1, 2], 2),
        ("hsplit.int", 2),
        ("flip.default", [1, 2]),
        ("fliplr.default",),
        ("flipud.default",),
        ("roll.default", [1], [2]),
        ("rot90.default", 1, [1, 2]),
        ("unfold.default", 2, 3, 2),
        ("diagonal.default", 0, 1, 2),
        ("ravel.default",),
        ("permute.default", [2, 0, 1]),
        ("transpose.int", 0, 2),
        ("swapaxes.default", 1, 2),
        ("swapdims.default", 1, 2),
        ("movedim.int", 0, 2),
        ("movedim.intlist", [0, 1], [2, 0]),
        ("moveaxis.int", 0, 2),
        ("moveaxis.intlist", [0, 1], [2, 0]),
        ("mT.default",),
        ("adjoint.default",),
        ("reflection_pad1d.default", [2, 1]),
        ("replication_pad1d.default", [2, 1]),
        ("pad.default", [1, 2], "reflect"),
        ("pad.default", [1, 2], "replicate"),
        ("pad.default", [1, 2], "circular"),
        ("pad.default", [1, 2, 0, 1], "constant", 2.0),
        ("pad.default", [1, -2]),
        ("constant_pad_nd.default", [0, 0, 2, 1], -1.0),
        ("_pad_circular.default", [2, 3]),
        ("upsample_nearest1d.default", [9]),
        ("upsample_nearest1d.vec", None, [2.0]),
        ("_upsample_nearest_exact1d.default", [9]),
        ("_upsample_nearest_exact1d.vec", [4], None),
    ),
    *moves(("t.default",), ("numpy_T.default",), ("vsplit.int", 2), ("atleast_3d.default",), shape=(4, 6)),
    *moves(("t.default",), ("atleast_1d.default",), ("atleast_2d.default",), shape=(3,)),
    *moves(
        ("pixel_shuffle.default", 2),
        ("channel_shuffle.default", 2),
        ("native_channel_shuffle.default", 2),
        ("pixel_unshuffle.default", 2),
        ("reflection_pad2d.default", [1, 0, 2, 1]),
        ("replication_pad2d.default", [1, 2, 0, 1]),
        ("upsample_nearest2d.default", [6, 3]),
        ("upsample_nearest2d.vec", None, [2.0, 1.5]),
        ("_upsample_nearest_exact2d.default", [6, 3]),
        ("_upsample_nearest_exact2d.vec", [6, 3], None),
        shape=(1, 4, 4, 2),
    ),
    *moves(
        ("reflection_pad3d.default", [1, 0, 1, 1, 0, 1]),
        ("replication_pad3d.default", [1, 0, 1, 1, 0, 1]),
        ("upsample_nearest3d.default", [3, 2, 4]),
        ("upsample_nearest3d.vec", [3, 2, 4], None),
        ("_upsample_nearest_exact3d.default", [3, 2, 4]),
        ("_upsample_nearest_exact3d.vec", [3, 2, 4], None),
        shape=(1, 2, 2, 3, 2),
    ),
    *elementwise(
        """clone.default contiguous.default detach.default alias.default lift_fresh_copy.default lift_fresh.default
        _to_copy.default to.dtype_layout"""
    ),
    *elementwise("to.dtype", torch.float64),
    *elementwise("to.device", torch.device("cpu"), torch.float64),
    *elementwise("to.other type_as.default", rand(1)),
    *(Case(f"{name}.default", (2, 3), ([X, X],)) for name in ("cat", "concat", "concatenate")),
    Case("cat.default", (2, 3), ([rand(2, 2), X, rand(2, 1)], -1)),
    Case("cat.default", (2, 3), ([torch.zeros(0), X],)),
    Case("stack.default", (2, 3), ([X, X, rand(2, 3)], 1)),
    Case("stack.default", (2, 3), ([X], -1)),
    # writing over, adding to, between zeros
    *(Case(f"{name}.default", (3, 4), (X, k)) for name in ("tril", "triu") for k in (-1, 0, 2)),
    Case("diag.default", (3,)),
    Case("diag.default", (3, 4), (X, 1)),
    Case("diag_embed.default", (2, 3), (X, -1, 0, -1)),
    Case("im2col.default", IMAGE, (X, [2, 3], [1, 2], [1, 0], [2, 1])),
    Case("slice_scatter.default", (2, 3), (rand(2, 6), X, -1, 0, 6, 2)),
    Case("slice_scatter.default", (2, 6), (X, rand(2, 3), 1, -6, 6, 2)),
    Case("select_scatter.default", (2,), (rand(2, 3), X, 1, -1)),
    Case("diagonal_scatter.default", (3,), (rand(3, 3), X)),
    Case("diagonal_scatter.default", (3, 4), (X, rand(3), 1)),
    Case("scatter.src", (2, 3), (X, 1, torch.tensor([[2, 0], [1, 0]]), rand(2, 2))),
    Case("scatter.src", (2, 2), (rand(2, 3), 0, torch.tensor([[0, 1]]), X)),
    Case("scatter.value", (2, 3), (X, 1, torch.tensor([[2, 2], [1, 0]]), -0.5)),
    Case("index_copy.default", (3, 2), (rand(3, 4), 1, torch.tensor([3, 0]), X)),
    Case("masked_scatter.default", (2, 3), (rand(2, 3), torch.tensor([True, False, True]), X)),
    *elementwise("masked_fill.Scalar", torch.tensor([True, False, True]), 0.25),
    Case("masked_fill.Scalar", (2, 3), (X, torch.tensor(True), 0.25)),
    Case("masked_fill.Tensor", (), (rand(2, 3), torch.tensor([True, False, True]), X)),
    *elementwise("index_fill.int_Scalar", 1, torch.tensor([2, 0]), 3),
    *elementwise("index_fill.int_Tensor", 1, torch.tensor([2, 0]), rand(1)[0]),
    Case("index_put.default", (2, 3), (X, [None, torch.tensor([2, 0])], rand(2))),
    Case("index_put.default", (2,), (rand(2, 3), [torch.tensor([0, 1]), torch.tensor([2, 2])], X)),
    Case("index_put.default", (1,), (rand(2, 3), [None, torch.tensor([True, False, True])], X)),
    Case("index_put.default", (2,), (rand(2, 3), [None, torch.tensor([1, 1])], X, True)),
    Case("index_put.default", (2, 3), (X, [torch.tensor([1, 1, 0])], rand(3, 1), True)),
    Case("index_add.default", (2, 3), (X, 1, torch.tensor([1, 1]), rand(2, 2)), {"alpha": 2.5}),
    Case("index_add.default", (2, 3), (rand(2, 2), 1, torch.tensor([1, 1, 0]), X), {"alpha": -0.5}),
    Case("scatter_add.default", (2, 3), (X, 1, torch.tensor([[1, 1], [0, 2]]), X)),
    Case("scatter_add.default", (2, 3), (rand(3, 3), 0, torch.tensor([[2, 2, 0]]), X)),
    Case("copy.default", (3,), (rand(2, 3), X)),
    Case("copy.default", (2, 3), (X, rand(1))),
    Case("fill.Tensor", (), (rand(2, 3), X)),
    # affine maps with weights
    Case("linear.default", (2, 3), (X, rand(4, 3), rand(4))),
    Case("linear.default", (2, 5, 3), (X, rand(4, 3))),
    Case("linear.default", (2, 3), (X, rand(3))),
    Case("matmul.default", (2, 3), (X, rand(3, 4))),
    Case("matmul.default", (2, 3), (X, rand(3))),
    Case("matmul.default", (3,), (X, rand(3, 4))),
    Case("matmul.default", (3,), (X, rand(3))),
    Case("matmul.default", (2, 5, 3), (X, rand(3, 4))),
    Case("matmul.default", (2, 5, 3), (X, rand(2, 3, 4))),
    Case("matmul.default", (5, 3), (X, rand(2, 3, 4))),
    Case("matmul.default", (3,), (X, rand(2, 3, 4))),
    Case("matmul.default", (3, 4), (rand(2, 3), X)),
    Case("matmul.default", (3, 4), (rand(3), X)),
    Case("matmul.default", (3,), (rand(2, 3), X)),
    Case("matmul.default", (3,), (rand(3), X)),
    Case("matmul.default", (3,), (rand(5, 2, 3), X)),
    Case("matmul.default", (2, 3, 4), (rand(5, 3), X)),
    Case("matmul.default", (2, 3, 4), (rand(3), X)),
    Case("matmul.default", (2, 3, 4), (rand(2, 5, 3), X)),
    Case("matmul.default", (3, 4), (rand(2, 5, 3), X)),
    Case("mm.default", (2, 3), (X, rand(3, 4))),
    Case("bmm.default", (2, 5, 3), (X, rand(2, 3, 4))),
    Case("bmm.default", (2, 3, 4), (rand(2, 5, 3), X)),
    Case("mv.default", (2, 3), (X, rand(3))),
    Case("mv.default", (3,), (rand(2, 3), X)),
    Case("dot.default", (3,), (X, rand(3))),
    Case("addmm.default", (2, 3), (rand(4), X, rand(3, 4))),
    Case("addmm.default", (2, 3), (rand(4), X, rand(3, 4)), {"beta": 0.5, "alpha": 2}),
    Case("addmm.default", (3, 3), (X, X, rand(3, 3)), {"beta": 2}),
    Case("addmm.default", (3, 4), (rand(4), rand(2, 3), X)),
    Case("baddbmm.default", (2, 5, 3), (rand(2, 5, 4), X, rand(2, 3, 4))),
    Case("conv1d.default", (1, 2, 7), (X, rand(3, 2, 3), rand(3), [2], [1], [1], 1)),
    Case("conv1d.default", (2, 7), (X, rand(3, 2, 3), None)),
    Case("conv1d.padding", (1, 2, 7), (X, rand(3, 2, 4), None, [1], "same")),
    Case("conv2d.default", IMAGE, (X, rand(4, 1, 3, 2), rand(4), [2, 1], [1, 0], [1, 2], 2)),
    Case("conv2d.default", IMAGE, (X, rand(4, 2, 3, 3), None, [2], [1])),
    Case("conv2d.padding", IMAGE, (X, rand(3, 2, 2, 3), rand(3), [1, 1], "same", [1, 2])),
    Case("conv2d.padding", IMAGE, (X, rand(3, 2, 2, 3), None, [2, 1], "valid")),
    Case("conv3d.default", (1, 1, 3, 4, 3), (X, rand(2, 1, 2, 3, 2), rand(2), [1], [1])),
    Case("conv3d.padding", (1, 1, 3, 4, 3), (X, rand(2, 1, 2, 3, 2), None, [1], "same")),
    Case("conv_transpose1d.default", (1, 2, 4), (X, rand(2, 3, 3), rand(3), [2], [1], [1])),
    Case("conv_transpose2d.input", (1, 2, 3, 3), (X, rand(2, 2, 3, 2), rand(4), [2, 1], [1, 0], [1, 0], 2)),
    Case("conv_transpose2d.input", (2, 3, 3), (X, rand(2, 2, 3, 2), None)),
    Case("conv_transpose3d.input", (1, 2, 2, 2, 2), (X, rand(2, 1, 2, 2, 2), rand(1), [2], [0], [0], 1, [1])),
    Case("convolution.default", IMAGE, (X, rand(4, 2, 3, 3), rand(4), [1, 1], [1, 1], [1, 1], False, [0, 0], 1)),
    Case("convolution.default", IMAGE, (X, rand(2, 4, 3, 3), rand(4), [2, 2], [1, 1], [1, 1], True, [1, 1], 1)),
    *(
        Case("batch_norm.default", shape, (X, positive(3), rand(3), rand(3), positive(3), False, 0.1, 1e-3, False))
        for shape in ((2, 3), (1, 3, 4), (1, 3, 2, 2))
    ),
    Case("batch_norm.default", (2, 3), (X, None, None, rand(3), positive(3), False, 0.1, 1e-5, False)),
    Case("_native_batch_norm_legit_no_training.default", (2, 3), (X, positive(3), rand(3), rand(3), positive(3), 0.1, 1e-5)),
    *elementwise("dropout.default feature_dropout.default alpha_dropout.default feature_alpha_dropout.default", 0.5, False),
    *elementwise("dropout.default", 0.0, True),
    # reductions
    *(Case(f"{name}.default", (2, 3)) for name in ("sum", "mean", "amax", "amin", "max", "min")),
    *(Case(name, (2, 3, 4), (X, [0, -1])) for name in ("sum.dim_IntList", "mean.dim", "amax.default", "amin.default")),
    *(Case(name, (2, 3, 4), (X, [1], True)) for name in ("sum.dim_IntList", "mean.dim", "amax.default", "amin.default")),
    *(Case(name, (2, 3, 4), (X, 1, keep)) for name in ("max.dim", "min.dim") for keep in (False, True)),
    # pooling
    Case("max_pool1d.default", (1, 2, 7), (X, [3])),
    Case("max_pool1d_with_indices.default", (1, 2, 7), (X, [3], [2], [1])),
    Case("max_pool2d.default", IMAGE, (X, [2])),
    Case("max_pool2d.default", IMAGE, (X, [3, 2], [2, 1], [1, 1], [1, 1], True)),
    Case("max_pool2d.default", IMAGE, (X, [2, 2], [3, 3], [1, 1], [1, 1], True)),
    Case("max_pool2d.default", IMAGE[1:], (X, [3], [1], [1], [2])),
    Case("max_pool2d_with_indices.default", IMAGE, (X, [3], [2], [1])),
    Case("max_pool3d.default", (1, 1, 3, 4, 3), (X, [2], [1])),
    Case("max_pool3d_with_indices.default", (1, 1, 3, 4, 3), (X, [2], [2], [1])),
    Case("avg_pool1d.default", (1, 2, 7), (X, [3], [2], [1])),
    Case("avg_pool1d.default", (2, 7), (X, [3], [2], [1], True, False)),
    *(
        Case("avg_pool2d.default", IMAGE, (X, [3, 2], [2, 2], [1, 1], ceil, count, divisor))
        for ceil in (False, True)
        for count in (False, True)
        for divisor in (None, 5)
    ),
    *(
        Case("avg_pool2d.default", (1, 1, size, size), (X, [kernel], [stride], [padding], True, count))
        for size in (4, 5)
        for kernel, padding in ((2, 0), (2, 1), (3, 1))
        for stride in (2, 3)
        for count in (False, True)
    ),
    Case("avg_pool3d.default", (1, 1, 3, 4, 3), (X, [2, 3, 2], [1], [1])),
    *(Case(f"adaptive_avg_pool{n}d.default", (1, 2, 5, 6, 7)[: n + 2], (X, [1] * n)) for n in (1, 2, 3)),
    *(Case(f"adaptive_avg_pool{n}d.default", (1, 2, 5, 6, 7)[: n + 2], (X, [3, 6, 2][:n])) for n in (1, 2, 3)),
    Case("adaptive_avg_pool2d.default", (2, 5, 6), (X, [5, 6])),
    Case("_adaptive_avg_pool2d.default", IMAGE, (X, [2, 3])),
    Case("_adaptive_avg_pool3d.default", (1, 2, 3, 4, 5), (X, [2, 2, 2])),
    *(Case(f"adaptive_max_pool{n}d.default", (1, 2, 5, 6, 7)[: n + 2], (X, [3, 4, 2][:n])) for n in (1, 2, 3)),
    # resampling
    *(Case("upsample_linear1d.default", (1, 2, 5), (X, [size], corners)) for size in (3, 8) for corners in (False, True)),
    Case("upsample_linear1d.vec", (1, 2, 5), (X, None, False, [1.7])),
    Case("upsample_bilinear2d.default", IMAGE, (X, [10, 3], False, 2.0, None)),
    *(Case("upsample_bilinear2d.vec", IMAGE, (X, None, corners, [2.0, 1.5])) for corners in (False, True)),
    Case("upsample_bilinear2d.vec", IMAGE, (X, [5, 6], False, None)),
    Case("upsample_bilinear2d.vec", IMAGE, (X, None, False, [1.1, 1.0])),
    Case("upsample_trilinear3d.default", (1, 1, 2, 3, 2), (X, [4, 5, 3], True)),
    Case("upsample_trilinear3d.vec", (1, 1, 2, 3, 2), (X, [4, 5, 3], False, None)),
]


def operation(name: str) -> Any:
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


def read(case: Case, point: Tensor, pick: int | None = None) -> tuple[GraphBuilder, Any]:
    """The builder with the case's nodes, and the operation's results."""
    graph, inputs, builder = fx.Graph(), [], GraphBuilder()

    def argument(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [argument(entry) for entry in value]
        if value is not X and not isinstance(value, Tensor):
            return value
        node = graph.placeholder(f"p{len(inputs)}")
        inputs.append(variable if value is X else Constant(value))
        return node

    variable = Variable(builder.input("x", case.shape), point)
    args = argument(case.args)
    kwargs = {name: argument(value) for name, value in case.kwargs.items()}
    graph.output(graph.call_function(operation(case.op), tuple(args), kwargs))
    return builder, Reader(builder).run(fx.GraphModule(torch.nn.Module(), graph), inputs)


def assert_same_function(case: Case, points: list[Tensor]) -> None:
    builder, results = read(case, points[0])
    several = isinstance(results, list)
    for position, result in enumerate(results if several else [results]):
        if result is None:
            continue
        if isinstance(result, Constant):
            np.testing.assert_array_equal(result.value.numpy(), in_torch(case, points[0]).numpy())
            continue
        graph = builder.build(result.node)
        normal = normalise(graph)
        for point in points:
            expected = in_torch(case, point)
            expected = expected[position] if several else expected
            for form in (graph, normal):
                np.testing.assert_allclose(evaluate(form, point.numpy()), expected.numpy(), rtol=1e-9, atol=1e-9)


def in_torch(case: Case, point: Tensor) -> Any:
    def argument(value: Any) -> Any:
        return [argument(entry) for entry in value] if isinstance(value, (list, tuple)) else point if value is X else value

    return operation(case.op)(*argument(case.args), **{name: argument(value) for name, value in case.kwargs.items()})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operation_means_in_the_graph_what_it_means_in_torch(case: Case) -> None:
    assert_same_function(case, [rand(*case.shape), 3 * positive(*case.shape), torch.zeros(case.shape, dtype=torch.float64)])


def test_every_operation_of_the_table_has_a_case() -> None:
    assert set(HANDLERS) == {case.op for case in CASES}


REFUSED = [
    (Case("matmul.default", (3, 3), (X, X)), "products of two perturbed matrices"),
    (Case("linear.default", (3, 3), (rand(3, 3), X)), "depends on the network's input|is constant"),
    (Case("softmax.int", (2, 3), (X, 1)), "aten.softmax.int is not supported"),
    (Case("batch_norm.default", (2, 3), (X, None, None, None, None, True, 0.1, 1e-5, False)), "eval"),
    (Case("dropout.default", (2, 3), (X, 0.5, True)), "eval"),
    (Case("threshold.default", (2, 3), (X, 0.5, 0.0)), "jumps"),
    (Case("to.dtype", (2, 3), (X, torch.int64)), "torch.int64"),
    (Case("pow.Scalar", (2, 3), (-2.0, X)), "base must be positive"),
    (Case("pow.Tensor_Tensor", (2, 3), (X, rand(3))), "one fixed number"),
    (Case("div.Tensor_mode", (2, 3), (X, rand(3)), {"rounding_mode": "trunc"}), "rounding mode"),
]


@pytest.mark.parametrize(("case", "reason"), REFUSED, ids=lambda value: str(value).split("[")[0])
def test_what_has_no_meaning_is_refused_by_name_and_node(case: Case, reason: str) -> None:
    with pytest.raises(GraphError, match=reason) as caught:
        read(case, rand(*case.shape))
    assert case.op.split(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
