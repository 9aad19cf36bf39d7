"""The library's main questions: bounds of a network over a set, and the verdict on a specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from certify.bounds.backward import DEFAULT_MEMORY
from certify.bounds.compute import compute_bounds
from certify.bounds.rounding import NEAREST, Rounding
from certify.io.agreement import tolerance
from certify.io.torch import compile, refuse_training_statistics
from certify.model import Model
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
    | model | from `load` or `compile`; or a module, captured when it is first seen and again whenever it has changed |
    | region | (batch, *input); its dtype and device are those of the computation |
    | method | "ibp", "crown-ibp", "crown", "forward" or "alpha-crown" |
    | objective | rows (specs, outputs) or (batch, specs, outputs) of linear functions of the outputs (or of the node) |
    | node | a node's name, as `certify inspect` lists them; its elements are bounded in place of the outputs |
    | rounding | `NEAREST`: bounds up to rounding, for training; `OUTWARD`: they hold in real arithmetic |
    | memory | bytes that rows of coefficients may take; more are bounded in chunks |

    Returns (batch, *output), or (batch, specs) with an objective: tensors, differentiable in weights and region (`alpha-crown`
    excepted), or arrays where the region was made from arrays. ValueError where shapes do not fit or a bound is NaN.
    """
    box = region.box
    engine = _as_model(model, box.lower)
    program = engine.program(box.lower.dtype, box.lower.device)
    rows = None if objective is None else torch.as_tensor(objective).to(box.lower)
    lower, upper = compute_bounds(program, region.map(engine.to_input), method, rows, node=node, rounding=rounding, memory=memory)
    if objective is None and node is None:
        lower, upper = engine.from_output(lower), engine.from_output(upper)
    return (lower.detach().cpu().numpy(), upper.detach().cpu().numpy()) if region.arrays else (lower, upper)


def verify(
    model: Model | nn.Module,
    spec: Specification | Robustness | Sequence[Specification],
    timeout: float = 60.0,
    *,
    method: str = "auto",
    device: str | torch.device = "cpu",
    seed: int = 0,
    example: Tensor | None = None,
) -> Any:
    """The verdict on a specification: "unsat" is a proof that no point of its input set satisfies it (see `certify.search.result`).

    `spec` comes from `read_vnnlib` or `robust`. A module is captured anew; `example` is then an input with a batch axis in front, and
    may be left out where the specification declares the input's shape. The time for that counts.
    """
    from certify.search.verify import verify as search

    if isinstance(model, nn.Module):
        model = compile(model, _example(model, spec) if example is None else example)
    return search(model, spec, timeout=timeout, method=method, device=device, seed=seed)


# --- modules as models -------------------------------------------------------------------------------------------------------------

_CAPTURED: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], Model]] = WeakKeyDictionary()
"""What was captured of each living module, by the shape of one input. The models in it do not refer to their module."""


def _as_model(model: Model | nn.Module, x: Tensor) -> Model:
    """The model itself, or a module's, captured before if it still computes what the module computes; x is (batch, *input)."""
    if isinstance(model, Model):
        return model
    if not isinstance(model, nn.Module):
        raise ValueError(f"expected a model or a torch.nn.Module, got {type(model).__name__}; certify.load reads files")
    captured = _CAPTURED.setdefault(model, {})
    shape = tuple(x.shape[1:])
    known = captured.get(shape)
    if known is None or not _is_current(known, model, x.detach()[:1]):
        captured[shape] = replace(compile(model, x.detach()[:1]), reference=None)
    return captured[shape]


def _is_current(known: Model, module: nn.Module, x: Tensor) -> bool:
    """Whether the constants are still the module's own tensors, and both give the same output at x: cheap, for loops."""
    refuse_training_statistics(module)
    own = {id(tensor) for tensor in chain(module.parameters(), module.buffers())}
    if any(id(value) not in own for value in known.graph.constants.values() if isinstance(value, Tensor)):
        return False
    first = next(chain(module.parameters(), module.buffers()), x)
    with torch.no_grad():
        x = x.to(first)
        expected, found = module(x), known(x)
    return expected.shape == found.shape and bool(((expected - found).abs() <= tolerance(expected)).all())
