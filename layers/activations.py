"""Activations: the elementwise non-linearities as modules. Their derivatives are in ``minigrad.ops.elementwise``."""

from __future__ import annotations

from minigrad import Tensor, relu, sigmoid, tanh
from minigrad.extend import Operand

from .module import Module


class ReLU(Module):
    """y = max(x, 0); d_x = g where x > 0, elsewhere 0 (at 0 too, as in PyTorch). Any shape."""

    def forward(self, x: Operand) -> Tensor:
        return relu(x)


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)); d_x = g * y * (1 - y). Any shape."""

    def forward(self, x: Operand) -> Tensor:
        return sigmoid(x)


class Tanh(Module):
    """y = tanh(x); d_x = g * (1 - y**2). Any shape."""

    def forward(self, x: Operand) -> Tensor:
        return tanh(x)
