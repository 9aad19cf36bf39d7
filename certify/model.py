"""A loaded network: its graph, and the original it was made from, for replaying witnesses. Imports torch when it binds the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from certify.graph import Graph
from certify.graph.evaluate import values
from certify.graph.formats import FORMATS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from certify.operators.program import Program


@dataclass(frozen=True)
class Model:
    """A network as the engine sees it. Made by `certify.load` and `certify.compile`, or from a `Graph` built by hand.

    `reference` evaluates the original (onnxruntime, or the torch module) on one array of `graph.input_shape` and returns the output
    array: the judge of every witness. `live` says that the constants are a module's parameters, which may change between calls.
    `precision` names the format of the original's inputs, which it computes in: "float32", "float16", "bfloat16" or "float64".
    """

    graph: Graph
    name: str = "model"
    reference: Callable[[np.ndarray], np.ndarray] | None = None
    live: bool = False
    precision: str = "float32"
    _programs: dict[tuple[torch.dtype, str], Program] = field(default_factory=dict, init=False, repr=False, compare=False)

    def program(self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Program:
        """The graph with its constants in `dtype` (float32) on `device`; kept between calls unless the parameters are live."""
        import torch

        from certify.operators.program import bind

        dtype = torch.float32 if dtype is None else dtype
        if self.live:
            return bind(self.graph, dtype, device)
        key = (dtype, str(device))
        if key not in self._programs:
            self._programs[key] = bind(self.graph, dtype, device)
        return self._programs[key]

    @property
    def takes_decimals(self) -> bool:
        """Whether its inputs are fine enough to stand for decimals; of coarser ones a witness has to be the very point that is run."""
        return FORMATS[self.precision].epsilon <= FORMATS["float32"].epsilon

    def frozen(self) -> Graph:
        """The graph whose constants are arrays: what a live module's parameters are now."""
        if not self.live:
            return self.graph
        return replace(self.graph, constants={name: _to_array(value) for name, value in self.graph.constants.items()})

    def no_number_at(self, points: np.ndarray) -> ValueError:
        """The error for an output that is NaN at one of some points, (count, ...): which node has no value there, and where."""
        graph = self.frozen()
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
        raise ValueError(f"{self.name} takes inputs of shape {expected} behind a batch axis; got {list(x.shape)}")

    def from_output(self, y: Tensor) -> Tensor:
        """Drops the model's own batch axis of size one: (batch, 1, classes) becomes (batch, classes)."""
        return y.squeeze(1) if self.graph.output_shape[:1] == (1,) and y.ndim > 1 else y

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluates the graph: (batch, *input) to (batch, *output), differentiable, in the dtype and on the device of `x`."""
        program = self.program(x.dtype, x.device)
        return self.from_output(program.evaluate(self.to_input(x)))


def _to_array(value: Any) -> np.ndarray:
    """A constant as an array; of a format that numpy lacks, in float32."""
    import torch

    tensor = torch.as_tensor(value).detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
