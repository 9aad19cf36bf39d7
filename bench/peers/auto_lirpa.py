"""auto_LiRPA 0.3 from PyPI as an oracle and a peer: `pip install --no-deps auto_LiRPA==0.3 appdirs tqdm`.

It was written for torch < 1.13 and numpy 1; four names that it uses have moved since and are put back here, without touching its code.
Its MaxPool with padding is unsound and is no reference.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import types
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def _restore_numpy() -> None:
    module = types.ModuleType("numpy.lib.arraysetops")
    module.isin = np.isin  # type: ignore[attr-defined]
    sys.modules.setdefault("numpy.lib.arraysetops", module)


def _restore_opset_setter() -> None:
    import torch.onnx.symbolic_helper as helper
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    def set_opset(version: int) -> None:
        GLOBALS.export_onnx_opset_version = version

    helper._set_opset_version = set_opset  # type: ignore[attr-defined]


def _restore_node_attributes() -> None:
    def item(node: Any, key: str) -> Any:
        return getattr(node, node.kindOf(key))(key)

    torch._C.Node.__getitem__ = item  # type: ignore[attr-defined]


def _restore_named_members(bounded: type) -> None:
    original = bounded._named_members  # type: ignore[attr-defined]

    def named_members(self: Any, get_members: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        return original(self, get_members, prefix=prefix, recurse=recurse)

    bounded._named_members = named_members  # type: ignore[attr-defined]


def load() -> Any:
    """The repaired package; ImportError where it is not installed."""
    if "auto_LiRPA" in sys.modules:
        return sys.modules["auto_LiRPA"]
    _restore_numpy()
    _restore_opset_setter()
    _restore_node_attributes()
    with contextlib.redirect_stdout(io.StringIO()):
        import auto_LiRPA
    logging.getLogger("auto_LiRPA").setLevel(logging.ERROR)
    _restore_named_members(auto_LiRPA.BoundedModule)
    return auto_LiRPA


class Peer:
    """One module as auto_LiRPA sees it."""

    def __init__(self, module: nn.Module, x: Tensor, **options: Any) -> None:
        self.lirpa = load()
        with contextlib.redirect_stdout(io.StringIO()):
            self.bounded = self.lirpa.BoundedModule(module, torch.empty_like(x), bound_opts=options or None, verbose=False)

    def bounds(
        self, lower: Tensor, upper: Tensor, method: str, objective: Tensor | None = None, *, sides: tuple[bool, bool] = (True, True)
    ) -> tuple[Tensor, Tensor]:
        """Bounds over a box by auto_LiRPA's method of that name ("IBP", "IBP+backward", "backward", "CROWN-Optimized")."""
        perturbation = self.lirpa.PerturbationLpNorm(norm=float("inf"), x_L=lower, x_U=upper)
        return self._bounds((lower + upper) / 2, perturbation, method, objective, sides)

    def ball_bounds(
        self, center: Tensor, eps: float, p: float, method: str, objective: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Bounds over an l_p ball without a domain."""
        perturbation = self.lirpa.PerturbationLpNorm(norm=p, eps=eps)
        return self._bounds(center, perturbation, method, objective, (True, True))

    def _bounds(
        self, x: Tensor, perturbation: Any, method: str, objective: Tensor | None, sides: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor]:
        bounded_x = self.lirpa.BoundedTensor(x, perturbation)
        with contextlib.redirect_stdout(io.StringIO()):
            return self.bounded.compute_bounds(
                x=(bounded_x,), C=objective, method=method, bound_lower=sides[0], bound_upper=sides[1]
            )


def alpha_peer(module: nn.Module, x: Tensor, iterations: int = 20) -> Peer:
    """A fresh peer for alpha-CROWN, with the sparse options off that fail on this torch."""
    peer = Peer(module, x, sparse_features_alpha=False, sparse_spec_alpha=False)
    peer.bounded.set_bound_opts({"optimize_bound_args": {"iteration": iterations}})
    return peer
