"""Every ATen operation that is imported, at hostile points, in double precision, against torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from certify.graph import Graph, GraphError
from certify.graph.double_double import exactly
from certify.graph.evaluate import AFFINE, apply, bound_constants
from certify.graph.passes import normalise
from certify.io.torch.call import Variable
from tests.io.torch_samples import CASES, RANDOM, Case, in_torch, read

Array = np.ndarray
EPS = float(np.finfo(np.float64).eps)
ULPS = 8.0
TINY, SMALL = 64 * 2.0**-1074, 1e-300
"""What underflow may take, and what numbers it may take it from."""


def disagreements(operations: Iterable[str], seeds: Iterable[int]) -> Iterator[str]:
    """What is wrong, one line each: a graph, as read or normalised, that computes something else than torch."""
    forms = {op: [case for case in CASES if case.op == op] for op in {case.op for case in CASES}}
    for op in operations:
        for seed in seeds:
            random = np.random.default_rng([seed, *map(ord, op)])
            cases = [RANDOM[op](random)] if op in RANDOM else []
            for case in [*cases, forms[op][random.integers(len(forms[op]))]]:
                yield from examined(case, [hostile(random, case) for _ in range(3)])


def examined(case: Case, points: list[Tensor]) -> list[str]:
    """What is wrong with one case at some points."""
    try:
        in_torch(case, points[0])
    except RuntimeError:
        return []
    try:
        builder, results = read(case, points[0])
    except GraphError as error:
        return [] if any(reason in str(error) for reason in REFUSED_FORMS) else [f"{case}: refused: {error}"]
    found = []
    for position, result in enumerate(results if isinstance(results, list) else [results]):
        if not isinstance(result, Variable):
            continue
        graph = builder.build(result.node)
        for point in points:
            wanted = in_torch(case, point)
            wanted = (wanted[position] if isinstance(results, list) else wanted).double().numpy()
            between = case.op.startswith("upsample_") and "linear" in case.op
            for name, form in (("read", graph), ("normalised", normalise(graph))):
                found += [f"{case}, {name}: {line}" for line in differences(form, graph, point.numpy(), wanted, between)]
    return found


REFUSED_FORMS = ("entries that are no numbers", "only ELU with input scale 1")
"""Forms of operations that are refused on purpose: parts of the messages."""


def differences(form: Graph, graph: Graph, x: Array, wanted: Array, positions: bool = False) -> list[str]:
    """Where a form of a graph differs from what torch computes by more than both may round; how much the graph as read says.

    Where torch rounds `positions` between elements, each has a small part of its neighbours.
    """
    (got, error), (_, other) = with_error(form, x), with_error(graph, x)
    if got.shape != wanted.shape:
        return [f"shape {got.shape}, wanted {wanted.shape}"]
    with np.errstate(all="ignore"):
        limit = error + other + TINY + (8 * ULPS * EPS * np.abs(x).max() if positions else 0.0)
        bad = ~((np.abs(got - wanted) <= limit) | (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | ~np.isfinite(limit))
    at = [tuple(int(i) for i in index) for index in np.argwhere(bad)[:1]]
    return [f"at {x.ravel()[:8]}, output {i} is {got[i]!r}, wanted {wanted[i]!r}, within {limit[i]:.2g}" for i in at]


def with_error(graph: Graph, x: Array) -> tuple[Array, Array]:
    """The output at a point, and how far rounding may have taken it: nowhere along moves, by what is summed in affine maps, by what
    an error of the argument does to a function of one element, and by the terms that it sums itself."""
    values, errors = {graph.input: x}, {graph.input: np.zeros_like(x)}
    constants = bound_constants(graph, x.dtype)
    with np.errstate(all="ignore"):
        for node in graph.nodes[1:]:
            params = {role: constants[name] for role, name in node.params.items()}
            inputs, before = [values[n] for n in node.inputs], [errors[n] for n in node.inputs]
            y = values[node.name] = apply(node, inputs, params)
            if node.op in EXACT:
                errors[node.name] = apply(node, before, params) if node.op != "pad" else _padded(node, before)
            elif node.op in AFFINE or node.op == "mul":
                sizes = _magnitude(node, [np.abs(v) + e for v, e in zip(inputs, before, strict=True)], params)
                exact = _magnitude(node, [np.abs(v) for v in inputs], params)
                some = _magnitude(node, [v != 0 for v in inputs], {role: value != 0 for role, value in params.items()}) > 0
                own = np.where(
                    _lossless(node.op, inputs, params), 0.0, ULPS * EPS * exact + np.where(some & (exact < SMALL), TINY, 0.0)
                )
                errors[node.name] = (sizes - exact) * 2 + own
            else:
                moved = [apply(node, [inputs[0] + sign * before[0]], params) for sign in (-1, 1)]
                own = UNITS.get(node.op, lambda x: 0.0)(np.abs(inputs[0]))
                errors[node.name] = np.maximum(*(np.abs(m - y) for m in moved)) + ULPS * EPS * (np.abs(y) + own)
    return values[graph.output], errors[graph.output]


EXACT = ("reshape", "transpose", "take", "concat", "pad", "reduce_max")


def _lossless(op: str, inputs: list[Array], params: Mapping[str, Array]) -> Array | bool:
    """Where a sum or product with a number of few digits, which no rounding made, is not rounded: what steps see is exact there."""
    if op not in ("scale", "shift"):
        return False
    (number,) = params.values()
    pair = exactly(inputs[0]) * number if op == "scale" else exactly(inputs[0]) + number
    return (pair.low == 0) & (pair.error == 0) & (number * 1024 == np.round(number * 1024))


def _padded(node: Any, before: list[Array]) -> Array:
    return np.pad(before[0], list(zip(node.attrs["before"], node.attrs["after"], strict=True)))


def _magnitude(node: Any, inputs: list[Array], params: Mapping[str, Array]) -> Array:
    """An affine map or product of absolute values."""
    positive = type(node)(node.name, {"sub": "add"}.get(node.op, node.op), node.inputs, node.shape, node.params, node.attrs)
    return apply(positive, [v.astype(float) for v in inputs], {role: np.abs(value.astype(float)) for role, value in params.items()})


UNITS: Mapping[str, Any] = {
    **dict.fromkeys(("gelu", "gelu_tanh", "mish", "silu", "elu", "selu", "celu", "hard_swish"), lambda x: 1 + x),
    **dict.fromkeys(("sigmoid", "tanh", "erf", "softplus", "log_sigmoid", "log", "sin", "cos", "hard_sigmoid"), lambda x: 1.0),
}
"""The terms that functions sum inside."""


def hostile(random: np.random.Generator, case: Case) -> Tensor:
    """A point of ties, zeros of both signs, halves, huge and tiny numbers, and the neighbourhood of the case's own numbers."""
    own = [float(a) for a in _numbers([*case.args, *case.kwargs.values()])]
    pool = np.array(
        [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 3.0, -3.0, 6.0, 20.0, -20.0, 1e-40, -1e-40, 1e30, -1e30, *own]
    )
    pool = np.concatenate([pool, np.nextafter(pool, np.inf), np.nextafter(pool, -np.inf), -pool])
    ordinary = random.normal(size=case.shape) * random.choice([0.1, 1.0, 10.0])
    chosen = np.where(random.random(case.shape) < random.choice([0.0, 0.3, 1.0]), random.choice(pool, case.shape), ordinary)
    return torch.from_numpy(np.asarray(chosen))


def _numbers(arguments: list[Any]) -> Iterator[float]:
    for argument in arguments:
        if isinstance(argument, Tensor) and argument.is_floating_point() and argument.numel() < 10:
            yield from argument.flatten().tolist()
        elif isinstance(argument, float):
            yield argument
