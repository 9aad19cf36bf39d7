"""Certified robustness of neural networks: the public names, each imported when first used, so that `import certify` is free."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certify.api import bounds, lower_bounds, verify
    from certify.graph import Graph, GraphError
    from certify.io.datasets import load_data
    from certify.io.load import load
    from certify.io.torch import compile
    from certify.io.vnnlib import read_vnnlib
    from certify.io.weights import load_arch
    from certify.model import Model
    from certify.sets import Box, LpBall
    from certify.specification import Specification, robust

__version__ = "0.1.0"

_HOME = {
    "Box": "certify.sets",
    "Graph": "certify.graph",
    "GraphError": "certify.graph",
    "LpBall": "certify.sets",
    "Model": "certify.model",
    "Specification": "certify.specification",
    "bounds": "certify.api",
    "compile": "certify.io.torch",
    "load": "certify.io.load",
    "load_arch": "certify.io.weights",
    "load_data": "certify.io.datasets",
    "lower_bounds": "certify.api",
    "read_vnnlib": "certify.io.vnnlib",
    "robust": "certify.specification",
    "verify": "certify.api",
}

__all__ = [
    "Box",
    "Graph",
    "GraphError",
    "LpBall",
    "Model",
    "Specification",
    "__version__",
    "bounds",
    "compile",
    "load",
    "load_arch",
    "load_data",
    "lower_bounds",
    "read_vnnlib",
    "robust",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'certify' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _HOME.keys())


class _Package(ModuleType):
    """Keeps `certify.bounds` the function: the import system binds a subpackage to its parent, and a folder has that name too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
