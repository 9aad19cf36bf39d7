"""A loaded network: its graph, and the original it was made from, for replaying witnesses. Imports torch when it binds the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from certify.environment import own_settings
from certify.graph import Graph, GraphError
from certify.graph.evaluate import values
from certify.graph.formats import FORMATS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from certify.operators.program import Program


class Origin(Protocol):
    """The module behind a live model. Both raise a `GraphError` where it is no longer what was captured."""

    def check(self) -> None:
        """The module's parameters and buffers are still the tensors in the graph; their numbers may be others."""

    def freeze(self) -> Model:
        """The module as it is now, its present numbers being constants."""


@dataclass(frozen=True)
class Model:
    """A network as the engine sees it. Made by `certify.load` and `certify.compile`, or from a `Graph` built by hand.

    `reference` evaluates the original (onnxruntime, or the torch module) on one array of `graph.input_shape` and returns the output
    array: the judge of every witness. `origin` is there where the constants are parameters of a module, which may change between calls;
    what is proved is about constants, and so about `frozen()`. `precision` names the format of the original's inputs, which it computes
    in: "float32", "float16", "bfloat16" or "float64".
    """

    graph: Graph
    name: str = "model"
    reference: Callable[[np.ndarray], np.ndarray] | None = None
    origin: Origin | None = None
    precision: str = "float32"
    _programs: dict[tuple[torch.dtype, str], Program] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def live(self) -> bool:
        """Whether the constants may change between calls."""
        return self.origin is not None

    def frozen(self) -> Model:
        """The same function with constants that do not change; itself unless it is live."""
        return self if self.origin is None else self.origin.freeze()

    def program(self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Program:
        """The graph with its constants in `dtype` (float32) on `device`; kept between calls unless the parameters are live."""
        import torch

        from certify.operators.program import bind

        dtype = torch.float32 if dtype is None else dtype
        key = (dtype, str(device))
        with own_settings():
            if self.origin is not None:
                self.origin.check()
                return bind(self.graph, dtype, device)
            if key not in self._programs:
                self._programs[key] = bind(self.graph, dtype, device)
        return self._programs[key]

    @property
    def takes_decimals(self) -> bool:
        """Whether its inputs are fine enough to stand for decimals; of coarser ones a witness has to be the very point that is run."""
        return FORMATS[self.precision].epsilon <= FORMATS["float32"].epsilon

    def no_number_at(self, points: np.ndarray) -> ValueError:
        """The error for an output that is NaN at one of some points, (count, ...): which node has no value there, and where."""
        graph = self.frozen().graph
        for x in points.reshape(-1, *graph.input_shape).astype(np.float64):
            found = values(graph, x)
            node = next((node for node in graph.nodes if np.isnan(found[node.name]).any()), None)
            if node is not None:
                where = ", ".join(f"{v:.9g}" for v in x.ravel()[:4]) + (", ..." if x.size > 4 else "")
                return ValueError(f"{self.name}: the output is NaN at the input [{where}] of the set, where {node} is not defined")
        return ValueError(f"{self.name}: the output is NaN at an input of the set; the network overflows there")

    def to_input(self, x: Tensor) -> Tensor:
        """Views `x`, (batch, ...), as (batch, *graph.input_shape); a ValueError where its shape does not fit.

        The model's own leading batch axis of size one may be left out, as it is everywhere in torch.
        """
        shape = self.graph.input_shape
        if x.ndim >= 1 and tuple(x.shape[1:]) in (shape, shape[1:] if shape[:1] == (1,) else shape):
            return x.reshape(x.shape[0], *shape)
        expected = list(shape[1:] if shape[:1] == (1,) else shape)
        last = len(expected) == 3 and list(x.shape[1:]) == [*expected[1:], expected[0]]
        hint = "; the channels come last: move them to the front (on the command line `--layout nhwc`)" if last else ""
        raise ValueError(f"{self.name} takes inputs of shape {expected} behind a batch axis; got {list(x.shape)}{hint}")

    def from_output(self, y: Tensor) -> Tensor:
        """Drops the model's own batch axis of size one: (batch, 1, classes) becomes (batch, classes)."""
        return y.squeeze(1) if self.graph.output_shape[:1] == (1,) and y.ndim > 1 else y

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluates the graph: (batch, *input) to (batch, *output), differentiable, in the dtype and on the device of `x`."""
        with own_settings():
            program = self.program(x.dtype, x.device)
            return self.from_output(program.evaluate(self.to_input(x)))


class Unrepresented(Model):
    """A model whose graph cannot be had, as it holds operators without a rule: it answers through its own runtime, so that it can be
    smoothed, and whoever asks for its graph (bounds, verification) gets the `GraphError` that says why there is none.
    """

    def __init__(self, name: str, evaluate: Callable[[Tensor], Tensor], reason: str) -> None:
        for field_name, value in (("name", name), ("evaluate", evaluate), ("reason", reason)):
            object.__setattr__(self, field_name, value)

    evaluate: Callable[[Tensor], Tensor]
    reason: str

    def __getattr__(self, name: str) -> Graph:
        if name == "graph":
            raise GraphError(self.reason)
        raise AttributeError(name)

    def program(self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Program:
        """There is none: a GraphError."""
        raise GraphError(self.reason)

    def __call__(self, x: Tensor) -> Tensor:
        """The runtime's answers: (batch, *input) to (batch, *output), not differentiable."""
        return self.evaluate(x)

    def __repr__(self) -> str:
        return f"Unrepresented({self.name!r}, {self.reason!r})"

    __eq__ = object.__eq__
    __hash__ = object.__hash__
