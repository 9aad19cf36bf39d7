"""Calls of every ATen operation that is imported, in its different forms, and how they are read into a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx

from certify.graph import GraphBuilder
from certify.io.torch.call import Constant, Variable
from certify.io.torch.program import Reader

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
    *(
        Case(f"{name}.{kind}", (2, 3), (X, 0.5 if kind == "Scalar" else rand(3)))
        for name in ("gt", "ge", "lt", "le")
        for kind in ("Scalar", "Tensor")
    ),
    # rounding
    *elementwise("trunc.default fix.default frac.default"),
    *(
        Case(f"{name}.{kind}_mode", (2, 3), (X, torch.tensor([0.5, -2.0, 1.0]) if kind == "Tensor" else 4), {"rounding_mode": mode})
        for name in ("div", "divide")
        for kind in ("Tensor", "Scalar")
        for mode in ("floor", "trunc", None)
    ),
    *elementwise("floor_divide.default remainder.Tensor fmod.Tensor", torch.tensor([0.5, -2.0, 1.0])),
    *elementwise("floor_divide.Scalar remainder.Scalar fmod.Scalar", -0.25),
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
        ("take_along_dim.default", torch.tensor([[[0, 5], [2, 2], [1, 0], [4, 4]]]), 2),
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
        """clone.default real.default contiguous.default detach.default alias.default lift_fresh_copy.default lift_fresh.default
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
    *elementwise("masked_fill.Scalar", torch.tensor([[True], [False]]), -1.5),
    Case("where.self", (2, 3), (torch.tensor([True, False, True]), X, rand(2, 1))),
    Case("where.self", (2, 1), (torch.tensor([True, False, True]), rand(3), X)),
    Case("where.self", (2, 3), (torch.tensor([True, False, True]), X, X)),
    Case("where.ScalarOther", (2, 3), (torch.tensor([True, False, True]), X, 0.5)),
    Case("where.ScalarSelf", (2, 3), (torch.tensor([True, False, True]), 0.5, X)),
    *(Case(f"{name}.default", (2, 3), ([X, rand(2, 3), X],)) for name in ("hstack", "vstack", "dstack", "column_stack")),
    Case("block_diag.default", (2, 3), ([rand(1, 2), X, X],)),
    Case("hstack.default", (3,), ([X, torch.tensor([1.0, 2.0])],)),
    Case("put.default", (2, 3), (X, torch.tensor([4, 1]), rand(2))),
    Case("put.default", (2,), (rand(2, 3), torch.tensor([4, 4]), X, True)),
    Case("col2im.default", (1, 8, 6), (X, [3, 4], [2, 2], [1, 1], [0, 0], [1, 1])),
    Case("col2im.default", (4, 9), (X, [4, 4], [2, 2], [1, 1], [1, 1], [2, 2])),
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
    Case("addmv.default", (3,), (rand(2), rand(2, 3), X), {"beta": 0.5, "alpha": 2}),
    Case("addmv.default", (2, 3), (rand(1), X, rand(3))),
    # other products, and sums
    Case("einsum.default", (2, 3), ("bi,oi->bo", [X, rand(4, 3)])),
    Case("einsum.default", (3, 3), ("ii,ji", [X, rand(2, 3)])),
    Case("einsum.default", (2, 3, 4), ("...ij,...jk->...ik", [X, rand(2, 4, 5)])),
    Case("einsum.default", (4, 5), ("bhd,de,bhe->bh", [positive(2, 3, 4), X, positive(2, 3, 5)])),
    Case("einsum.default", (2, 3), ("ij->ji", [X])),
    Case("tensordot.default", (2, 3, 4), (X, rand(4, 3, 5), [-1, 1], [0, 1])),
    Case("tensordot.default", (3, 4), (rand(2, 3), X, [1], [0])),
    *(Case(op, (3,), (X, rand(2))) for op in ("outer.default", "ger.default")),
    Case("outer.default", (3,), (rand(2), X)),
    Case("inner.default", (2, 3), (X, rand(4, 3))),
    Case("inner.default", (3,), (rand(2, 3), X)),
    Case("inner.default", (2, 3), (X, rand(1)[0])),
    Case("vdot.default", (3,), (X, rand(3))),
    Case("kron.default", (2, 3), (X, rand(3, 2))),
    Case("kron.default", (2,), (rand(2, 2, 3), X)),
    Case("linalg_multi_dot.default", (2, 3), ([rand(5, 2), X, rand(3, 4), rand(4)],)),
    Case("linalg_multi_dot.default", (3,), ([X, rand(3, 4), rand(4, 2)],)),
    Case("chain_matmul.default", (4, 2), ([rand(5, 4), X, rand(2, 3)],)),
    Case("bilinear.default", (2, 3), (X, positive(2, 4), positive(5, 3, 4), rand(5))),
    Case("bilinear.default", (2, 3, 4), (positive(2, 3, 3), X, positive(5, 3, 4))),
    *(Case(op, (2, 3), (X, rand(2, 3))) for op in ("linalg_cross.default", "cross.default")),
    Case("linalg_cross.default", (3, 2), (rand(3, 1), X), {"dim": 0}),
    *elementwise("lerp.Scalar", rand(3), 0.3),
    *elementwise("lerp.Scalar", X, 0.3),
    *elementwise("lerp.Tensor", rand(2, 3), rand(3)),
    Case("lerp.Tensor", (2, 3), (rand(3), X, rand(2, 1))),
    *elementwise("addcmul.default addcdiv.default", rand(3), positive(2, 1), value=0.3),
    *(Case(f"{op}.default", (2, 3), (rand(3), X, positive(2, 1)), {"value": -2}) for op in ("addcmul", "addcdiv")),
    Case("addcdiv.default", (2, 3), (X, rand(3), X)),
    Case("trace.default", (3, 4)),
    *(Case("cumsum.default", (2, 3, 4), (X, dim)) for dim in (0, -1)),
    *(Case("diff.default", (2, 4), (X, n, dim)) for n, dim in ((1, -1), (1, 0), (2, 1))),
    # norms
    *(Case("linalg_vector_norm.default", (2, 3, 4), (X, p)) for p in (1, 2, 4, 8.0, math.inf, -math.inf)),
    *(Case("linalg_vector_norm.default", (2, 3, 4), (X, p, [0, -1], keep)) for p in (1, 2.0, math.inf) for keep in (False, True)),
    Case("linalg_vector_norm.default", (2, 1), (X, 2, [1])),
    Case("norm.Scalar", (2, 3)),
    Case("norm.ScalarOpt_dim", (2, 3), (X, None, [1], True)),
    Case("norm.ScalarOpt_dim", (2, 3), (X, 1, [-1])),
    Case("norm.ScalarOpt_dtype", (2, 3), (X, 1), {"dtype": torch.float64}),
    Case("norm.ScalarOpt_dim_dtype", (2, 3), (X, 1, [0], False), {"dtype": torch.float64}),
    Case("frobenius_norm.dim", (2, 3, 4), (X, [0, 2])),
    *(
        Case("linalg_matrix_norm.default", (2, 3, 4), (X, p, [0, -1], keep))
        for p in (1, -1, math.inf, -math.inf)
        for keep in (True, False)
    ),
    Case("linalg_matrix_norm.default", (2, 3, 4), (X, -math.inf, [2, 0])),
    Case("linalg_matrix_norm.str_ord", (2, 3, 4), (X, "fro")),
    Case("linalg_norm.default", (2, 3, 4)),
    Case("linalg_norm.default", (2, 3), (X, 1)),
    Case("linalg_norm.default", (2, 3), (X, math.inf, [1])),
    Case("linalg_norm.default", (2, 3, 4), (X, None, [0, 1], True)),
    Case("linalg_norm.ord_str", (2, 3), (X, "fro")),
    *(Case("dist.default", (2, 3), (X, rand(3), p)) for p in (1, 2, math.inf)),
    *(Case("pairwise_distance.default", (2, 3), (X, rand(2, 3), p, 1e-6, p == 2)) for p in (1.0, 2.0)),
    Case("cdist.default", (2, 3), (X, rand(4, 3), 1.0)),
    Case("cdist.default", (2, 3), (rand(4, 3), X)),
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


def in_torch(case: Case, point: Tensor) -> Any:
    def argument(value: Any) -> Any:
        return [argument(entry) for entry in value] if isinstance(value, (list, tuple)) else point if value is X else value

    return operation(case.op)(*argument(case.args), **{name: argument(value) for name, value in case.kwargs.items()})


# --- random attributes ---------------------------------------------------------------------------------------------------------

Random = np.random.Generator
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 1.5, -2.5, 0.1, 3.0, 1e-3, 7.0, 1e10)


def number(random: Random, *among: float) -> float:
    """One of some numbers, or one drawn."""
    return float(random.choice([*(among or NUMBERS), random.normal()]))


def tensor(random: Random, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(
        np.asarray(np.where(random.random(shape) < 0.3, random.choice(NUMBERS, shape), random.normal(size=shape)))
    )


def axes(random: Random, rank: int) -> list[int]:
    """Some axes, counted from either side."""
    chosen = random.permutation(rank)[: random.integers(1, rank + 1)]
    return [int(axis) - rank * int(random.random() < 0.5) for axis in chosen]


def _pool(random: Random, op: str, space: int, averages: bool) -> Case:
    kernel = [int(k) for k in random.integers(1, 4, space)]
    stride = [int(k) for k in random.integers(1, 4, space)] if random.random() < 0.8 else []
    padding = [int(random.integers(0, k // 2 + 1)) for k in kernel]
    shape = (*((1,) if random.random() < 0.7 else ()), 2, *(int(n) for n in random.integers(5, 8, space)))
    ceil = bool(random.random() < 0.5)
    if averages:
        count = bool(random.random() < 0.5)
        divisor = [int(random.integers(1, 7)) if random.random() < 0.3 else None] if space > 1 else []
        return Case(op, shape, (X, kernel, stride, padding, ceil, count, *divisor))
    dilation = [int(d) for d in random.integers(1, 3, space)]
    return Case(op, shape, (X, kernel, stride, padding, dilation, ceil))


def _resize(random: Random, op: str, space: int, corners: bool) -> Case:
    shape = (1, 2, *(int(n) for n in random.integers(1, 6, space)))
    size = [int(n) for n in random.integers(1, 9, space)]
    align = [bool(random.random() < 0.5)] if corners else []
    if op.endswith("vec"):
        scales = [float(random.choice([0.6, 1.0, 1.5, 2.0, 3.0, 1.7, 1 / 3, 2.5])) for _ in range(space)]
        if all(int(n * s) > 0 for n, s in zip(shape[2:], scales, strict=True)) and random.random() < 0.6:
            return Case(op, shape, (X, None, *align, scales))
        return Case(op, shape, (X, size, *align, None))
    scales = [float(n / m) if random.random() < 0.5 else None for n, m in zip(size, shape[2:], strict=True)]
    return Case(op, shape, (X, size, *align, *scales))


def _reduction(op: str) -> Sample:
    shape = (2, 3, 4)
    return lambda random: Case(op, shape, (X, axes(random, 3), bool(random.random() < 0.5)))


def _dim_reduction(op: str) -> Sample:
    return lambda random: Case(op, (2, 3, 4), (X, int(random.integers(-3, 3)), bool(random.random() < 0.5)))


def _with_numbers(op: str, count: int, *among: float) -> Sample:
    return lambda random: Case(op, (2, 3), (X, *(number(random, *among) for _ in range(count))))


def _limits(op: str) -> Sample:
    def sample(random: Random) -> Case:
        given = {name: number(random) for name in ("min", "max") if random.random() < 0.7} or {"max": number(random)}
        return Case(op, (2, 3), (X,), given)

    return sample


def _tensor_limits(op: str) -> Sample:
    def sample(random: Random) -> Case:
        given = {name: tensor(random, (3,)) for name in ("min", "max") if random.random() < 0.7} or {"min": tensor(random, (2, 1))}
        return Case(op, (2, 3), (X,), given)

    return sample


def _two(op: str, *, alpha: bool = False) -> Sample:
    """One operand broadcast against the other, on either side, or the variable twice."""

    def sample(random: Random) -> Case:
        other: Any = (
            number(random) if op.endswith("Scalar") else tensor(random, [(3,), (2, 1), (4, 1, 1), (1,), ()][random.integers(5)])
        )
        args = (X, X) if isinstance(other, Tensor) and random.random() < 0.2 else (X, other)
        args = args[::-1] if isinstance(other, Tensor) and random.random() < 0.4 else args
        return Case(op, (2, 3), args, {"alpha": number(random)} if alpha and random.random() < 0.6 else {})

    return sample


Sample = Callable[[np.random.Generator], Case]
SPACES = (1, 2, 3)
RANDOM: Mapping[str, Sample] = {
    **{
        f"max_pool{n}d{i}.default": partial(_pool, op=f"max_pool{n}d{i}.default", space=n, averages=False)
        for n in SPACES
        for i in ("", "_with_indices")
        if (n, i) != (1, "_with_indices")
    },
    **{f"avg_pool{n}d.default": partial(_pool, op=f"avg_pool{n}d.default", space=n, averages=True) for n in SPACES},
    **{
        f"upsample_{m}{n}d.{o}": partial(_resize, op=f"upsample_{m}{n}d.{o}", space=n, corners=m != "nearest")
        for n, m in ((1, "linear"), (2, "bilinear"), (3, "trilinear"), (1, "nearest"), (2, "nearest"), (3, "nearest"))
        for o in ("default", "vec")
    },
    **{
        f"_upsample_nearest_exact{n}d.{o}": partial(_resize, op=f"_upsample_nearest_exact{n}d.{o}", space=n, corners=False)
        for n in SPACES
        for o in ("default", "vec")
    },
    **{op: _reduction(op) for op in ("sum.dim_IntList", "mean.dim", "amax.default", "amin.default")},
    **{op: _dim_reduction(op) for op in ("max.dim", "min.dim")},
    **{op: _limits(op) for op in ("clamp.default", "clip.default")},
    **{op: _tensor_limits(op) for op in ("clamp.Tensor", "clip.Tensor")},
    "clamp_min.default": _with_numbers("clamp_min.default", 1),
    "clamp_max.default": _with_numbers("clamp_max.default", 1),
    "leaky_relu.default": _with_numbers("leaky_relu.default", 1),
    "rrelu.default": _with_numbers("rrelu.default", 2),
    "softplus.default": _with_numbers("softplus.default", 2, 1.0, 0.5, 20.0, 3.0, 1e-3),
    "elu.default": _with_numbers("elu.default", 3, 1.0, 1.0, 1.0, -1.0, 0.5, 2.0),
    "celu.default": lambda random: Case("celu.default", (2, 3), (X, abs(number(random, 1.0, 0.5, 2.0)))),
    "softshrink.default": lambda random: Case("softshrink.default", (2, 3), (X, abs(number(random)))),
    "hardtanh.default": lambda random: Case("hardtanh.default", (2, 3), (X, *sorted((number(random), number(random))))),
    "threshold.default": lambda random: Case("threshold.default", (2, 3), (X, *[number(random)] * 2)),
    "pow.Tensor_Scalar": lambda random: Case(
        "pow.Tensor_Scalar", (2, 3), (X, random.choice([0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.5, 1 / 3, 4, 2.5, -3]).item())
    ),
    "pow.Scalar": lambda random: Case("pow.Scalar", (2, 3), (float(random.choice([2.0, 0.5, 1.0, 10.0, 1e-3, 2.5])), X)),
    "round.decimals": lambda random: Case("round.decimals", (2, 3), (X,), {"decimals": int(random.integers(-2, 4))}),
    **{
        f"{name}.{o}": _two(f"{name}.{o}", alpha=name in ("add", "sub", "subtract", "rsub"))
        for name in ("add", "sub", "subtract", "rsub", "mul", "multiply", "div", "divide", "true_divide")
        for o in ("Tensor", "Scalar")
    },
    **{op: _two(op) for op in ("maximum.default", "minimum.default", "max.other", "min.other")},
}
"""Forms drawn at random, of operations that have attributes; the others have the forms of `CASES`."""
