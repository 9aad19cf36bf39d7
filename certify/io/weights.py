"""Modules from a function and a file of weights. Weights are data: nothing in them is ever executed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]


def load_arch(architecture: str, weights: str | Path | None, **arguments: Any) -> nn.Module:
    """The module that the function `package.module:function` returns, in eval mode, with the weights of a file.

    The function is looked up in the current directory too, and called with `arguments`. Names and shapes in the file must be
    exactly those of the module; `weights` None keeps what the function made. A ValueError says what does not fit.
    """
    module = _function(architecture)(**arguments)
    if not isinstance(module, nn.Module):
        raise ValueError(f"{architecture} returned {type(module).__name__}, not a torch.nn.Module")
    if weights is not None:
        _fill(module, read_weights(weights), Path(weights).name)
    return module.eval()


def read_weights(path: str | Path) -> Weights:
    """The tensors in a `.safetensors`, `.pt` or `.pth` file by name; a ValueError where the file holds anything else."""
    path = Path(path)
    if path.suffix not in READERS:
        raise ValueError(f"{path}: weights are read from {', '.join(READERS)} files, not {path.suffix or 'files without suffix'}")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return READERS[path.suffix](path)


def _read_safetensors(path: Path) -> Weights:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f"{path}: reading .safetensors needs the package safetensors: pip install certify[weights]") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable .safetensors file ({_first_line(error)})") from error


def _read_pickle(path: Path) -> Weights:
    import pickle

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than tensors, or is damaged. Loading it would run code from the file, which is never done; "
            "where you trust the file, save its state dict alone: torch.save(module.state_dict(), FILE)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a readable torch file ({_first_line(error)})") from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> Weights:
    """The state dict itself, or the one under the key that training scripts commonly use."""
    for candidate in (content, *(content.get(key) for key in ("state_dict", "model") if isinstance(content, dict))):
        if isinstance(candidate, dict) and candidate and all(isinstance(value, Tensor) for value in candidate.values()):
            return candidate
    raise ValueError(f"{path}: expected a state dict, names with tensors; save one by torch.save(module.state_dict(), FILE)")


READERS: Mapping[str, Callable[[Path], Weights]] = {".safetensors": _read_safetensors, ".pt": _read_pickle, ".pth": _read_pickle}


def _function(architecture: str) -> Callable[..., Any]:
    module_name, separator, name = architecture.partition(":")
    if not (module_name and separator and name.isidentifier()):
        raise ValueError(f"{architecture!r}: expected PACKAGE.MODULE:FUNCTION, such as nets.small:make")
    try:
        module = _import_from_here(module_name)
    except ImportError as error:
        raise ValueError(f"{architecture}: cannot import {module_name} ({error}); call from the folder that holds it") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{architecture}: {module_name} has no function {name}")
    return function


def _import_from_here(name: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)


def _fill(module: nn.Module, weights: Weights, file: str) -> None:
    """Copies weights into the module; a ValueError lists names and shapes that differ."""
    own = module.state_dict()
    shapes = [
        f"{name} is {list(weights[name].shape)} in the file and {list(own[name].shape)} in the module"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    complaints = [
        *_listing("missing in the file", [name for name in own if name not in weights]),
        *_listing("unknown to the module", [name for name in weights if name not in own]),
        *_listing("of another shape", shapes),
    ]
    if complaints:
        raise ValueError(f"{file} does not fit {type(module).__name__}: {'; '.join(complaints)}")
    module.load_state_dict(weights)


def _listing(title: str, names: Sequence[str], most: int = 4) -> list[str]:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{title}: {', '.join(names[:most])}{more}"] if names else []


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
