"""Operations on constants alone: what they make of the stored numbers in real arithmetic.

torch computes them in their own precision, and that is what its tensors hold here too; what real arithmetic makes of the numbers, where
this is something else, is kept beside them (`Constant.exact`). Operations that move, choose or compare numbers lose nothing, and casts
round because the author says so. All others go the way that they would go if one of their tensors depended on the network's input: a
handler says what they mean in canonical operators, and those are evaluated exactly, or with a bound of the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from certify.graph import GraphBuilder, GraphError
from certify.graph import exact as exactly_as
from certify.graph.double_double import DoubleDouble, exactly, from_fractions
from certify.io.torch.call import Call, Constant, Handler, Variable, short_name, to_array

MOVES = """
    view _unsafe_view reshape view_as reshape_as flatten unflatten squeeze unsqueeze expand expand_as broadcast_to repeat tile
    repeat_interleave slice narrow select index_select index gather take split split_with_sizes chunk unbind unsafe_chunk unsafe_split
    tensor_split hsplit vsplit flip fliplr flipud roll rot90 pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle unfold
    diagonal ravel atleast_1d atleast_2d atleast_3d reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
    replication_pad2d replication_pad3d _pad_circular upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d permute transpose t swapaxes swapdims movedim moveaxis numpy_T mT adjoint clone
    contiguous detach alias lift_fresh_copy lift_fresh positive pad constant_pad_nd cat concat concatenate stack diag diag_embed tril triu
    take_along_dim as_strided real block_diag meshgrid
"""
WRITES = """
    copy fill zero masked_fill masked_scatter where scatter index_put index_copy index_fill slice_scatter select_scatter
    diagonal_scatter as_strided_scatter
"""
CHOICES = """
    relu abs absolute neg negative sign sgn maximum minimum max min amax amin floor ceil trunc round sort topk argsort median mode kthvalue
    heaviside nan_to_num max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    isnan isinf isfinite dropout
"""
CASTS = {"_to_copy", "to", "type_as", "float", "double", "half"}
AS_STORED = frozenset((*MOVES.split(), *WRITES.split(), *CHOICES.split(), *CASTS))
"""Operations that make no new numbers of the old ones, or whole ones, or round them because they say so: exact as torch computes them."""


Keep = Callable[[Constant], Constant]


def exact(constant: Constant) -> Constant:
    """A constant as it is."""
    return constant


def rounded(constant: Constant) -> Constant:
    """A constant as torch has it."""
    return replace(constant, exact=None)


def fold(source: str, target: OpOverload, arguments: Mapping[str, Any], result: Any, handlers: Mapping[str, Handler]) -> Any:
    """The result of an operation on constants that are not live, with Constants in the place of tensors.

    `result` is what torch computes. A ValueError or GraphError where nobody says what the operation means, or rounding would decide it.
    """
    name = short_name(target)
    packet = name.partition(".")[0]
    constants = list(_constants(arguments))
    tensors = [entry for entry in _entries(result) if isinstance(entry, Tensor)]
    real = any(tensor.is_floating_point() for tensor in tensors)
    plain = all(constant.exact is None for constant in constants)
    stored = packet in AS_STORED and name != "round.decimals" and not arguments.get("accumulate") and not arguments.get("reduce")
    if plain and (stored or not real or not (constants or packet in OWN)):
        return _wrapped(result, [None] * len(tensors))
    if not real:
        raise ValueError(
            f"{name} decides by numbers that torch rounds and that are others in real arithmetic; compute it outside the module"
        )
    call = Call(GraphBuilder(), source, target, arguments, result)
    found = [OWN[packet](call)] if packet in OWN else _by_handler(call, name, handlers, constants)
    return _wrapped(result, found)


def _by_handler(call: Call, name: str, handlers: Mapping[str, Handler], constants: Sequence[Constant]) -> list[DoubleDouble | None]:
    """The results by canonical operators, one of the constants, the first with which the operation has a meaning, being their input."""
    if name not in handlers:
        raise ValueError(
            f"{name} of constants has no exact evaluation; compute it outside the module, and keep the result as a buffer"
        )
    reason: Exception = ValueError("it has no tensor to compute with")
    for constant in sorted(constants, key=lambda constant: not constant.value.is_floating_point()):
        try:
            return _with_input(call, handlers[name], constant)
        except (GraphError, ValueError) as error:
            reason = error
    raise reason


def _with_input(call: Call, handler: Handler, chosen: Constant) -> list[DoubleDouble | None]:
    builder = GraphBuilder()
    x = exactly(chosen.numbers)
    variable = iter([Variable(builder.input("x", x.shape), chosen.value)])  # once: it may be two of the arguments

    def given(argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [given(entry) for entry in argument]
        if isinstance(argument, Constant):
            constant = replace(argument, name=None)
            return next(variable, constant) if argument is chosen else constant
        return argument

    def operand(argument: Any) -> Any:
        if isinstance(argument, list):
            return [operand(entry) for entry in argument]
        return argument.node if isinstance(argument, Variable) else argument

    arguments = {key: given(value) for key, value in call.arguments.items()}
    inner = replace(call, builder=builder, arguments=arguments)
    made = handler(inner, **{key: operand(value) for key, value in arguments.items()})
    return [_value(builder, node, x) for node in _entries(made)]


def _value(builder: GraphBuilder, node: Any, x: DoubleDouble) -> DoubleDouble | None:
    if isinstance(node, Constant):
        return exactly(node.numbers)
    return None if node is None else exactly_as.evaluate_exactly(builder.build(node), x)


# --- results ---------------------------------------------------------------------------------------------------------------------


def _constants(argument: Any) -> Iterator[Constant]:
    if isinstance(argument, Mapping):
        argument = list(argument.values())
    for entry in argument if isinstance(argument, (list, tuple)) else [argument]:
        if isinstance(entry, Constant):
            yield entry
        elif isinstance(entry, (list, tuple)):
            yield from _constants(entry)


def _entries(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _wrapped(result: Any, numbers: Sequence[DoubleDouble | None]) -> Any:
    """The result with Constants in the place of tensors."""
    if isinstance(result, Tensor):
        return _constant(result, numbers[0])
    if not isinstance(result, (list, tuple)) or not any(isinstance(entry, Tensor) for entry in result):
        return result
    left = iter(numbers)
    return [_constant(entry, next(left, None)) if isinstance(entry, Tensor) else entry for entry in result]


def _constant(tensor: Tensor, numbers: DoubleDouble | None) -> Constant:
    """What torch computed, and what real arithmetic makes of it where that is something else."""
    if numbers is None or not tensor.is_floating_point():
        return Constant(tensor)
    if numbers.shape != tuple(tensor.shape):
        raise ValueError(f"its exact evaluation has shape {list(numbers.shape)}, torch's {list(tensor.shape)}; please report this")
    same = numbers.exact and np.array_equal(numbers.high, to_array(tensor).astype(np.float64))
    return Constant(tensor, exact=None if same else numbers)


# --- operations with a meaning of their own on constants ---------------------------------------------------------------------------

PRECISIONS: Mapping[torch.dtype, int] = {torch.bfloat16: 8, torch.float16: 11, torch.float32: 24, torch.float64: 53}


def _cast(call: Call) -> DoubleDouble:
    """Numbers as they are in a type of at least the precision that they have; rounded to a narrower one."""
    given, kept = call.arguments["x"], call.result.dtype
    numbers = exactly(given.numbers)
    if kept == given.value.dtype or (PRECISIONS[kept] >= 24 and PRECISIONS[kept] >= PRECISIONS.get(given.value.dtype, 99)):
        return numbers
    if kept == torch.bfloat16:
        raise ValueError("it rounds computed constants to bfloat16; do so outside the module")
    rounded = exactly_as.rounded(
        numbers, to_array(torch.empty(0, dtype=kept)).dtype if kept != torch.float16 else np.dtype(np.float16)
    )
    if rounded.error.any():
        raise ValueError("it rounds numbers of which too few digits are known to say where to; do so outside the module")
    return rounded


def _arange(call: Call) -> DoubleDouble:
    """start + i * step."""
    start, step = (Fraction(float(call.arguments.get(name) or default)) for name, default in (("start", 0), ("step", 1)))
    return from_fractions([start + i * step for i in range(call.result.numel())], tuple(call.result.shape))


def _linspace(call: Call) -> DoubleDouble:
    """start + i * (end - start) / (count - 1)."""
    start, end = (Fraction(float(call.arguments[name])) for name in ("start", "end"))
    count = call.result.numel()
    step = (end - start) / (count - 1) if count > 1 else Fraction(0)
    return from_fractions([start + i * step for i in range(count)], tuple(call.result.shape))


def _div(call: Call) -> DoubleDouble:
    """Quotients, which are exact where they are doubles."""
    x, other = (
        exactly(value.numbers if isinstance(value, Constant) else float(value))
        for value in (call.arguments["x"], call.arguments["other"])
    )
    mode = call.arguments.get("rounding_mode")
    quotient = x / other
    return {None: lambda y: y, "floor": exactly_as.floor, "trunc": exactly_as.truncate}[mode](quotient)


def _pow(call: Call) -> DoubleDouble:
    x, exponent = (
        exactly(value.numbers if isinstance(value, Constant) else float(value))
        for value in (call.arguments["x"], call.arguments["exponent"])
    )
    return exactly_as.power(x, exponent)


def _softmax(call: Call) -> DoubleDouble:
    return exactly_as.softmax(exactly(call.arguments["x"].numbers), int(call.arguments["dim"]))


def _weight_norm(call: Call) -> DoubleDouble:
    """g v / ||v||, the norm over all axes but one."""
    v, g = (exactly(call.arguments[name].numbers) for name in ("v", "g"))
    axis = int(call.arguments["dim"]) % v.ndim
    kept = [n if i == axis else 1 for i, n in enumerate(v.shape)]
    norm = (v * v).sum([i for i in range(v.ndim) if i != axis]).sqrt().reshape(kept)
    return v * (g.reshape(kept) / norm)


def _axes(call: Call) -> list[int]:
    """The axes that a reduction is over: all, where none is named."""
    rank, dim = call.arguments["x"].value.ndim, call.arguments.get("dim")
    named = [dim] if isinstance(dim, int) else list(dim or range(rank))
    return [axis % rank for axis in named] if rank else []


def _variance(call: Call) -> DoubleDouble:
    """Squares of what differs from the mean, added up and divided by their number less one, or less the correction."""
    x, axes = exactly(call.arguments["x"].numbers), _axes(call)
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=int))
    correction = call.arguments.get("correction")
    correction = float(call.arguments.get("unbiased", True)) if correction is None else float(correction)
    if count <= correction:
        raise ValueError("the variance of so few numbers is not defined")
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    rest = x - (x.sum(axes) / float(count)).reshape(kept)
    return ((rest * rest).sum(axes) / (count - correction)).reshape(call.shape)


def _logarithm_of_sum(call: Call) -> DoubleDouble:
    """log(sum exp(x))"""
    powers = exactly_as.function(exactly_as.FUNCTIONS["exp"], exactly(call.arguments["x"].numbers))
    return exactly_as.function(exactly_as.FUNCTIONS["log"], powers.sum(_axes(call))).reshape(call.shape)


OWN: Mapping[str, Callable[[Call], DoubleDouble]] = {
    "var": _variance,
    "std": lambda call: _variance(call).sqrt(),
    "logsumexp": _logarithm_of_sum,
    **dict.fromkeys(CASTS, _cast),
    "arange": _arange,
    "linspace": _linspace,
    **dict.fromkeys(("div", "divide", "true_divide"), _div),
    "pow": _pow,
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    "_weight_norm": _weight_norm,
}
