"""Initial weights under which interval bounds neither explode nor vanish."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import nn

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def ibp_initialise(module: nn.Module) -> None:
    """Draws the weights of linear and convolution layers from N(0, 2 pi / fan_in^2) and zeroes their biases, in place.

    An interval's width then keeps its expected size from layer to layer: |W| has mean sqrt(2 / pi) * sigma and a ReLU halves the
    width, so that fan_in * sqrt(2 / pi) * sigma / 2 = 1 (arXiv 2103.17268). Under the usual initialisations widths grow by a factor
    of the order of sqrt(fan_in) in each layer, and training needs a long warm-up to undo it.
    """
    for layer in module.modules():
        if isinstance(layer, AFFINE):
            fan_in = layer.weight[0].numel()
            layer.weight.normal_(0.0, sqrt(2.0 * pi) / fan_in)
            if layer.bias is not None:
                layer.bias.zero_()
