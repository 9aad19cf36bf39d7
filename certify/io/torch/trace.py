"""What a module does when it is run: every operation with all its numbers, and the tensors that it reads.

Torch captures a module by running it, so what is captured is a function of this list and of nothing else: where two runs give the same
list, with the same numbers in the same tensors, they are runs of the same function. Agreement of outputs proves no such thing. A run
costs little: some 10 microseconds an operation on top of the module's own time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

OUTSIDE = {"numpy", "tolist", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage", "__cuda_array_interface__"}
"""Functions that hand a tensor's numbers to code that torch does not see."""


@dataclass(frozen=True)
class Trace:
    """One run: its operations with their arguments, what it returned, and what it read, in the order of first use.

    `read` are the tensors that no operation of the run made, the input excepted.
    """

    calls: tuple[Any, ...]
    read: tuple[Tensor, ...]


def trace(module: nn.Module, x: Tensor) -> Trace:
    """Runs the module on x, (1, *input), without gradients, and lists what it does."""
    recorder = _Recorder(x)
    with torch.no_grad(), _Watch(recorder), recorder:
        result = module(x)
    return Trace((*recorder.calls, tree_map(recorder.token, result)), tuple(recorder.read))


class _Recorder(TorchDispatchMode):
    """Lists operations. Tensors are kept until the end, so that no two of them are taken for the same one."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.read: list[Tensor] = []
        self._kept = [x]
        self._names: dict[int, Any] = {id(x): "input"}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        number = len(self.calls)
        self.calls.append((func, tree_map(self.token, (args, kwargs))))
        result = func(*args, **kwargs)
        for i, value in enumerate(tree_flatten(result)[0]):
            if isinstance(value, Tensor) and id(value) not in self._names:
                self._names[id(value)] = (number, i)
                self._kept.append(value)
        return result

    def token(self, value: Any) -> Any:
        """What stands for an argument: equal for equal ones, and for nothing else."""
        if not isinstance(value, Tensor):
            return type(value), repr(value)
        if type(value) not in (Tensor, nn.Parameter):
            return object()  # nobody knows what it does
        if id(value) not in self._names:
            self._names[id(value)] = ("read", len(self.read))
            self.read.append(value)
        return self._names[id(value)]


class _Watch(TorchFunctionMode):
    """Notices where numbers leave torch: what is done with them there is not in the list, so that no such run equals another."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in OUTSIDE:
            self._recorder.calls.append(object())
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Known:
    """A run to compare others with: dtypes and shapes of what it read, and copies of the numbers; None where they may change."""

    run: Trace
    kinds: tuple[Any, ...]
    numbers: tuple[Tensor | None, ...]

    @staticmethod
    def of(run: Trace, live: Collection[int]) -> Known:
        """A run after which the tensors whose ids are in `live` may get other numbers, and all others not."""
        numbers = (None if id(tensor) in live else tensor.detach().clone() for tensor in run.read)
        return Known(run, tuple(map(_kind, run.read)), tuple(numbers))

    def equals(self, other: Trace) -> bool:
        """Whether the other run is one of the same function of the input and of the live tensors."""
        if self.run.calls != other.calls or self.kinds != tuple(map(_kind, other.read)):
            return False
        return all(
            old is new if copy is None else same_numbers(copy, new)
            for old, new, copy in zip(self.run.read, other.read, self.numbers, strict=True)
        )


def same_numbers(copy: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor has the shape, dtype, device and numbers that it had when it was copied. NaN is never the same."""
    return _kind(copy) == _kind(tensor) and torch.equal(copy, tensor)


def _kind(tensor: Tensor) -> Any:
    return tensor.dtype, tensor.device, tensor.shape
