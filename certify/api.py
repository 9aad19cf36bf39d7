"""The library's main questions: bounds of a network over a set, and the verdict on a specification."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from certify.bounds.budget import DEFAULT_MEMORY
from certify.bounds.compute import compute_bounds, compute_lower_bounds
from certify.bounds.rounding import NEAREST, Rounding
from certify.environment import own_settings
from certify.graph import GraphError
from certify.io.torch import Capture, NotTakenError, example_of, freeze
from certify.model import Model
from certify.operators.program import Program
from certify.search.result import Result
from certify.search.verify import verify as search
from certify.sets import Box, LpBall
from certify.specification import Robustness, Specification

Array = np.ndarray


def bounds(
    model: Model | nn.Module,
    region: Box | LpBall,
    method: str = "crown",
    objective: Tensor | Array | None = None,
    *,
    node: str | None = None,
    rounding: Rounding = NEAREST,
    memory: int = DEFAULT_MEMORY,
) -> tuple[Any, Any]:
    """lower <= f(x) <= upper for every x of the set: of the outputs, of linear objectives of them, or of a node inside.

    | argument | |
    |---|---|
    | model | from `load` or `compile`; or a module, captured when it is first seen and again whenever one run of it does anything else |
    | region | (batch, *input); its dtype, float32 or float64, and its device are those of the computation |
    | method | "ibp", "crown-ibp", "crown", "forward" or "alpha-crown" |
    | objective | rows (specs, outputs) or (batch, specs, outputs) of linear functions of the outputs (or of the node) |
    | node | a node's name, as `certify inspect` lists them; its elements are bounded in place of the outputs |
    | rounding | `NEAREST`: bounds up to rounding, for training; `OUTWARD`: they hold in real arithmetic, and are constants in the weights |
    | memory | bytes that rows of coefficients may take; more are bounded in chunks |

    Returns (batch, *output), or (batch, specs) with an objective: tensors, differentiable in weights and region (`alpha-crown`
    excepted), or arrays where the region was made from arrays. A module costs one more run of it than what was compiled does. ValueError
    where shapes do not fit, a bound is NaN, or `OUTWARD` is asked for in a process whose arithmetic does not allow it.
    """
    with own_settings():
        engine, program, inputs = _prepare(model, region, rounding)
        rows = None if objective is None else torch.as_tensor(objective)
        lower, upper = compute_bounds(program, inputs, method, rows, node=node, rounding=rounding, memory=memory)
        if objective is None and node is None:
            lower, upper = engine.from_output(lower), engine.from_output(upper)
    return (lower.detach().cpu().numpy(), upper.detach().cpu().numpy()) if region.arrays else (lower, upper)


def lower_bounds(
    model: Model | nn.Module,
    region: Box | LpBall,
    method: str,
    objective: Tensor | Array,
    *,
    node: str | None = None,
    rounding: Rounding = NEAREST,
    memory: int = DEFAULT_MEMORY,
) -> Any:
    """lower <= rows @ f(x) for every x of the set, (batch, specs): the first half of what `bounds` returns, for half of the cost.

    What margins need, and so certified training. Arguments and errors are those of `bounds`.
    """
    with own_settings():
        _, program, inputs = _prepare(model, region, rounding)
        rows = torch.as_tensor(objective)
        lower = compute_lower_bounds(program, inputs, method, rows, node=node, rounding=rounding, memory=memory)
    return lower.detach().cpu().numpy() if region.arrays else lower


def _prepare(model: Model | nn.Module, region: Box | LpBall, rounding: Rounding) -> tuple[Model, Program, Box | LpBall]:
    """The model, its graph bound to tensors like the region's, and the region over the graph's input."""
    region = region.simplest
    like = region.box.lower
    engine = _as_model(model, like, rounding)
    return engine, engine.program(like.dtype, like.device), region.map(engine.to_input)


def verify(
    model: Model | nn.Module,
    spec: Specification | Robustness,
    timeout: float | None = 60.0,
    *,
    method: str = "auto",
    device: str | torch.device = "cpu",
    seed: int = 0,
    example: Tensor | None = None,
) -> Result:
    """The verdict on a specification from `read_vnnlib` or `robust`; "unsat" is a proof (see `certify.search.result.Result`).

    A module, compiled or not, is taken with its present numbers, as if it were read from a file.

    `timeout` is in seconds, None for none. A module is captured for an input of the shape that the specification has, or of that of
    `example`, which has a batch axis in front; the time for it does not count. ValueError where the two do not fit.
    """
    engine = model if isinstance(model, Model) else _frozen(model, spec, example)
    return search(engine, spec, timeout=timeout, method=method, device=device, seed=seed)


# --- modules as models -----------------------------------------------------------------------------------------------------


def _frozen(module: nn.Module, spec: Specification | Robustness, example: Tensor | None) -> Model:
    """The module as it is now, for inputs of the shape that a specification has, or like the example."""
    if not isinstance(module, nn.Module):
        raise ValueError(f"expected a model or a torch.nn.Module, got {type(module).__name__}; certify.load reads files")
    if example is not None:
        return freeze(module, example)
    try:
        return freeze(module, _example(module, spec))
    except NotTakenError as error:
        raise GraphError(f"{error}; if the shape is not right, give example=, an input with a batch axis in front") from error


def _example(module: nn.Module, spec: Specification | Robustness) -> Tensor:
    """An input of the shape that a specification has; the flat variables of VNN-LIB 1.0 are those of one input."""
    if isinstance(spec, Robustness):
        return example_of(module, spec.shape)
    return example_of(module, spec.declaration.input.shape, flat=spec.declaration.version == "1.0")


_CAPTURED: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], Capture]] = WeakKeyDictionary()
"""What was captured of each living module, by the shape of one input. Captures do not refer to their module."""


def _as_model(model: Model | nn.Module, x: Tensor, rounding: Rounding) -> Model:
    """The model, with fixed constants where rounding is outward. Of a module it is what was captured before, if the module is still
    that: it is run once, on one input, and must do the same operations with the same numbers. x is (batch, *input)."""
    if isinstance(model, Model):
        return model.frozen() if rounding.active else model
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model or a torch.nn.Module, got {type(model).__name__}; certify.load reads files")
    captured, shape = _CAPTURED.setdefault(model, {}), tuple(x.shape[1:])
    known = captured.get(shape)
    if known is None or not known.stands_for(model):
        known = captured[shape] = Capture.of(model, x)
    return known.fixed(model) if rounding.active else known.model(model)
