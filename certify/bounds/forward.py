"""Forward bound propagation: linear forms in the input below and above every node (arXiv 2002.12920, section 3.2).

A node's forms are (batch, k + 1, *shape): k coefficients, one for each input coordinate, and the constant last. Memory grows with k
times the size of a layer: the method of choice for few inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from certify.bounds.concretize import minimise
from certify.bounds.interval import Interval, largest_magnitude, largest_sum
from certify.bounds.relaxed import AffineStep, NonlinearStep, Relaxed
from certify.bounds.rounding import per_element, underflow
from certify.graph import Node
from certify.operators.rows import DenseRows

Forms = tuple[Tensor, Tensor]


@dataclass
class ForwardForms:
    """The forms of the nodes visited so far; a `Tighten` strategy."""

    forms: dict[str, Forms] = field(default_factory=dict)

    def __call__(self, relaxed: Relaxed, node: Node, mask: Tensor) -> Interval:
        """The node's interval, with the neurons in `mask` bounded by the forms as well."""
        self.extend(relaxed, node.name)
        l, u = relaxed.intervals[node.name]
        owner, index = mask.flatten(1).nonzero(as_tuple=True)
        lower, upper = (form.flatten(2)[owner, :, index] for form in self.forms[node.name])
        low, high = concretize(relaxed, lower, owner), -concretize(relaxed, -upper, owner)
        flat_l, flat_u = l.flatten(1), u.flatten(1)
        low, high = torch.maximum(low, flat_l[owner, index]), torch.minimum(high, flat_u[owner, index])
        crossed = low > high  # by rounding only; the interval is sound on its own
        low, high = torch.where(crossed, flat_l[owner, index], low), torch.where(crossed, flat_u[owner, index], high)
        where = (owner, index)
        return flat_l.index_put(where, low).reshape(l.shape), flat_u.index_put(where, high).reshape(u.shape)

    def extend(self, relaxed: Relaxed, target: str) -> None:
        """Computes the forms of all that `target` depends on."""
        alive = relaxed.program.graph.ancestors(target)
        for node in relaxed.order:
            if node.name in alive and node.name not in self.forms:
                self.forms[node.name] = _propagate(relaxed, node, [self.forms[name] for name in node.inputs])


def concretize(relaxed: Relaxed, forms: Tensor, owner: Tensor) -> Tensor:
    """Minimum of linear forms (rows, k + 1) over the set of each row's owner."""
    rows = DenseRows(forms[:, :-1].reshape(len(owner), *relaxed.program.graph.input_shape))
    value = minimise(rows, relaxed.region, owner, relaxed.rounding) + forms[:, -1]
    if not relaxed.rounding.active:
        return value
    return value - relaxed.rounding.gamma(1, value.dtype) * (value.abs() + 2 * forms[:, -1].abs())


def _propagate(relaxed: Relaxed, node: Node, inputs: Sequence[Forms]) -> Forms:
    if not node.inputs:
        return _identity(relaxed)
    step = relaxed.steps[node.name]
    lower, upper = _PROPAGATE[type(step)](step, inputs)
    if not relaxed.rounding.active:
        return lower, upper
    magnitudes = [_magnitude(relaxed, forms) for forms in inputs]
    gamma = relaxed.rounding.gamma(largest_sum(node, [(m, m) for m in magnitudes]), lower.dtype)
    scale = _SCALE[type(step)](step, magnitudes)
    allowance = gamma * (scale + per_element(underflow(magnitudes), scale))
    lower[:, -1] -= allowance
    upper[:, -1] += allowance
    return lower, upper


def _identity(relaxed: Relaxed) -> Forms:
    low, _ = relaxed.intervals[relaxed.program.graph.input]
    count = prod(low.shape[1:])
    forms = torch.zeros(count + 1, count, dtype=low.dtype, device=low.device)
    forms[:count] = torch.eye(count, dtype=low.dtype, device=low.device)
    forms = forms.reshape(1, count + 1, *low.shape[1:]).expand(low.shape[0], *(-1 for _ in range(low.ndim)))
    return forms, forms


def _magnitude(relaxed: Relaxed, forms: Forms) -> Tensor:
    """At least |coefficients| |x| + |constant| of both forms over the set, and what their underflow needs: (batch, *shape)."""
    size = largest_magnitude(*relaxed.intervals[relaxed.program.graph.input])
    both = torch.maximum(forms[0].detach().abs(), forms[1].detach().abs())
    total = (pad(size.flatten(1), (0, 1), value=1.0)[:, None] @ both.flatten(2)).reshape(both.shape[0], *both.shape[2:])
    return total + per_element(underflow([size]), total)


def _affine(step: AffineStep, inputs: Sequence[Forms]) -> Forms:
    """W L and W U where W >= 0; else W (U + L) / 2 -+ |W| (U - L) / 2, which is W+ L + W- U and W+ U + W- L."""
    batch, count = inputs[0][0].shape[:2]
    rule, known = step.rule, {"node": step.node, "params": step.params}

    def apply(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
        out = function(*(t.flatten(0, 1) for t in tensors), **known)
        return out.reshape(batch, count, *out.shape[1:])

    if rule.magnitude is None:
        lower, upper = (apply(rule.linear, side) for side in zip(*inputs, strict=True))
    else:
        center = apply(rule.linear, [(l + u) / 2 for l, u in inputs])
        radius = apply(rule.magnitude, [(u - l) / 2 for l, u in inputs])
        lower, upper = center - radius, center + radius
    if step.constant is not None:
        ends = torch.zeros(count, *(1,) * (lower.ndim - 2), dtype=lower.dtype, device=lower.device)
        ends[-1] = 1
        lower, upper = lower + ends * step.constant, upper + ends * step.constant
    elif rule.magnitude is None:
        lower, upper = lower.clone(), upper.clone()
    return lower, upper


def _nonlinear(step: NonlinearStep, inputs: Sequence[Forms]) -> Forms:
    return step.relaxation.envelope(*inputs[0])


def _affine_scale(step: AffineStep, magnitudes: Sequence[Tensor]) -> Tensor:
    scale = (step.rule.magnitude or step.rule.linear)(*magnitudes, node=step.node, params=step.params)
    return scale if step.constant is None else scale + step.constant.abs()


def _nonlinear_scale(step: NonlinearStep, magnitudes: Sequence[Tensor]) -> Tensor:
    return step.relaxation.scale(magnitudes[0])


_PROPAGATE: dict[type, Callable[..., Forms]] = {AffineStep: _affine, NonlinearStep: _nonlinear}
_SCALE: dict[type, Callable[..., Tensor]] = {AffineStep: _affine_scale, NonlinearStep: _nonlinear_scale}
