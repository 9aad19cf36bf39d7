"""Captures live modules: as models whose constants are the module's own parameters, or are fixed at their present numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, InputSpec

from certify.environment import own_settings, user_settings
from certify.graph import Graph, GraphBuilder, GraphError
from certify.graph.passes import normalise
from certify.io.agreement import in_agreement
from certify.io.torch.call import Constant, Variable, to_array
from certify.io.torch.export import (
    ALONE,
    NotTakenError,
    export,
    first_line,
    format_name,
    read_fixed,
    read_plain,
    refuse_side_effects,
    stored,
    user_frame,
)
from certify.io.torch.program import read_program
from certify.io.torch.trace import Known, same_numbers, trace
from certify.model import Model

CHANGED = (
    "the module is no longer the one that was compiled: it does other operations, or with other numbers than those in its parameters; "
    "compile it again"
)
UNKNOWABLE = (
    "it cannot be known whether the module still is the one that was compiled, because no two runs of it do the same (it counts, draws "
    "random numbers, or leaves torch on the way); give the module itself in place of the compiled model"
)


def compile(module: nn.Module, example: Any) -> Model:
    """The module as a `Model` whose constants are the module's own parameters and buffers: bounds see every later change of their
    numbers, and are differentiable in them.

    `example` is an input with a batch axis in front, of which one element is used; shapes are fixed by it. The module is captured
    once, so control flow must not depend on the input's values. A module with BatchNorm or Dropout must be in eval mode.

    Everything but the numbers in floating-point parameters and buffers is frozen: attributes, limits, masks kept as plain tensors,
    layers, hooks, code, modes. Bounds for training go on with what was captured; verdicts and outward rounded bounds are refused where
    the module now does anything else. Both are refused where a parameter or buffer was replaced by another tensor.

    A `GraphError` names what cannot be captured, and where.
    """
    return Capture.of(module, example).model(module)


def freeze(module: nn.Module, example: Any) -> Model:
    """The module as it is now as a `Model` with fixed constants, exactly those of the file that `torch.export.save` would write.

    `example` and errors are those of `compile`.
    """
    capture = Capture.of(module, example)
    return replace(capture.fixed(module), reference=as_reference(module, capture.x))


@dataclass(frozen=True)
class Capture:
    """What was captured of a module, to which it does not refer: the program for the input x, (1, *input), and the run it came from.

    `tensors` are the floating-point parameters and buffers by their names in the program. `run` is None where no two runs of the module
    do the same, so that it cannot be known later whether it is still the same module.
    """

    program: torch.export.ExportedProgram
    x: Tensor
    run: Known | None
    tensors: Mapping[str, Tensor]
    precision: str
    name: str
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @staticmethod
    def of(module: nn.Module, example: Any) -> Capture:
        """Captures the module for inputs like the example."""
        refuse_training_statistics(module)
        with ALONE, own_settings():
            x = one_input(module, example)
            with user_settings():
                program = export(module, x)
            refuse_side_effects(program)
            precision = _precision(module, x)
            first, again = (run(module, x, trace) for _ in range(2))
            specs = program.graph_signature.input_specs
            named = {
                str(s.target): _lookup(module, str(s.target)) for s in specs if s.kind in (InputKind.PARAMETER, InputKind.BUFFER)
            }
            _refuse_missing_numbers(named)
            live = {name: tensor for name, tensor in named.items() if tensor.is_floating_point()}
            known = Known.of(first, {id(tensor) for tensor in live.values()})
            return Capture(program, x, known if known.equals(again) else None, live, precision, type(module).__name__)

    def stands_for(self, module: nn.Module) -> bool:
        """Whether the module still is what was captured, but for the numbers in `tensors`."""
        refuse_training_statistics(module)
        with own_settings():
            return self.run is not None and self.run.equals(run(module, self.x, trace))

    def model(self, module: nn.Module) -> Model:
        """The live model, checked against the module."""
        reference, graph = as_reference(module, self.x), self.graph
        if "checked" not in self._made:
            with own_settings():
                constants = {name: to_array(torch.as_tensor(value)) for name, value in graph.constants.items()}
                self._in_agreement(replace(graph, constants=constants), reference)
            self._made["checked"] = True
        return Model(graph, self.name, reference, Live(module, self), self.precision)

    @property
    def graph(self) -> Graph:
        """The graph whose constants are `tensors`."""
        if "graph" not in self._made:
            with own_settings():
                builder = GraphBuilder()
                inputs = [self._placeholder(builder, spec) for spec in self.program.graph_signature.input_specs]
                self._made["graph"] = normalise(builder.build(read_program(self.program, builder, inputs).output))
        return self._made["graph"]

    def fixed(self, module: nn.Module) -> Model:
        """The model with the present numbers as constants, without a reference; the one made before where no bit has changed."""
        numbers, model = self._made.get("fixed", ({}, None))
        if model is None or not all(same_numbers(numbers[name], tensor) for name, tensor in self.tensors.items()):
            with own_settings():
                graph, _ = read_fixed(self.program, self._number, self.x)
                graph = self._in_agreement(graph, as_reference(module, self.x))
                numbers = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
                model = Model(graph, self.name, precision=self.precision)
            self._made["fixed"] = (numbers, model)
        return model

    def _in_agreement(self, graph: Graph, reference: Callable[[np.ndarray], np.ndarray]) -> Graph:
        def read() -> Graph:
            return read_plain(self.program, self._number, self.x)

        return in_agreement(graph, read, reference, self.precision, "the module", [to_array(self.x)])

    def _number(self, spec: InputSpec) -> Tensor:
        name = str(spec.target)
        return self.tensors[name] if name in self.tensors else stored(self.program, spec)

    def _placeholder(self, builder: GraphBuilder, spec: InputSpec) -> Any:
        """What fills a placeholder of the program: the input, or one of the module's own tensors."""
        if spec.kind == InputKind.USER_INPUT:
            return Variable(builder.input(spec.arg.name, tuple(self.x.shape)), self.x)
        name = str(spec.target)
        if name in self.tensors:
            return Constant(self.tensors[name], builder.constant(name, self.tensors[name]), live=True)
        return Constant(stored(self.program, spec).detach().clone())  # what becomes of the module's own is not ours


@dataclass
class Live:
    """The module behind a live model: an `Origin`."""

    module: nn.Module
    capture: Capture
    _frozen: tuple[Model | None, Model | None] = (None, None)

    def check(self) -> None:
        """A `GraphError` where one of the tensors in the graph is no longer the module's."""
        with ALONE:
            replaced = [name for name, tensor in self.capture.tensors.items() if _lookup(self.module, name) is not tensor]
        if replaced:
            raise GraphError(
                f"{replaced[0]} of the module was replaced since the module was compiled; compile it again, or change numbers in place, "
                "as optimisers and load_state_dict do"
            )

    def freeze(self) -> Model:
        """The module's present numbers as constants; a `GraphError` where it no longer is what was captured."""
        self.check()
        if not self.capture.stands_for(self.module):
            raise GraphError(UNKNOWABLE if self.capture.run is None else CHANGED)
        fixed = self.capture.fixed(self.module)
        known, frozen = self._frozen
        if frozen is None or known is not fixed:
            frozen = replace(fixed, reference=as_reference(self.module, self.capture.x))
            self._frozen = (fixed, frozen)
        return frozen


def refuse_training_statistics(module: nn.Module) -> None:
    """A GraphError where a layer of the module would act on batches, or at random, as it does while training."""
    for name, layer in module.named_modules():
        normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        drops = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if layer.training and (normalises or drops):
            raise GraphError(
                f"layer {name or 'itself'} ({type(layer).__name__}) is in training mode, where it is no function of one input; "
                "call .eval() on the module, or on this layer, first"
            )


def _refuse_missing_numbers(tensors: Mapping[str, Tensor]) -> None:
    """A GraphError where a parameter or buffer has a shape and no numbers."""
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise GraphError(f"{name} of the module lies on device meta, without numbers; load its weights onto a device first")


def one_input(module: nn.Module, example: Any) -> Tensor:
    """A copy of the first element of a batch, (1, *input), in the precision and on the device of the module's parameters."""
    x = torch.as_tensor(example).detach()
    if x.ndim == 0 or x.shape[0] == 0 or not x.is_floating_point():
        raise ValueError(f"the example must be a batch of inputs, floating-point; got {x.dtype} of shape {list(x.shape)}")
    like = next((t for t in chain(module.parameters(), module.buffers()) if t.is_floating_point()), x)
    return x[:1].to(like, copy=True)


def _precision(module: nn.Module, x: Tensor) -> str:
    """The coarser format of the input and of what the module returns, which must be one tensor."""
    y = run(module, x, lambda module, x: module(x))
    if not isinstance(y, Tensor) or not y.is_floating_point():
        kind = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
        raise GraphError(f"the module returns {kind}; only one floating-point tensor is supported: wrap the module and pick it")
    return format_name(max(x.dtype, y.dtype, key=lambda dtype: torch.finfo(dtype).eps))


def run(module: nn.Module, x: Tensor, how: Callable[[nn.Module, Tensor], Any]) -> Any:
    """`how(module, x)` on a copy of x, as its owner would run it; a GraphError says where the module fails."""
    try:
        with ALONE, user_settings(), torch.no_grad():
            return how(module, x.clone())
    except Exception as error:
        raise NotTakenError(
            f"the module fails on an input of shape {list(x.shape)}: {first_line(error)}{user_frame(error)}"
        ) from error


def as_reference(module: nn.Module, like: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The module as a function of arrays, evaluated in the precision and on the device of `like`."""

    def reference(x: np.ndarray) -> np.ndarray:
        with own_settings():
            return to_array(run(module, torch.from_numpy(x).to(like), lambda module, x: module(x)))

    return reference


def _lookup(module: nn.Module, path: str) -> Any:
    """What the module calls so now, or None."""
    *owners, name = path.split(".")
    owner: Any = module
    for part in owners:
        owner = getattr(owner, "_modules", {}).get(part)
    found = getattr(owner, "_parameters", {}).get(name)
    return found if found is not None else getattr(owner, "_buffers", {}).get(name)
