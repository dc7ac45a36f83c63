"""Dropout."""

from __future__ import annotations

import numpy as np

from minigrad import Tensor, multiply
from minigrad.extend import Operand, array_of

from .linear import Rng
from .module import Module


class Dropout(Module):
    """In training, y = x * mask / (1 - p), where each mask value is 0 with probability p, else 1; in evaluation, y = x.

    The division keeps the expected value, so that evaluation needs no correction ("inverted" dropout;
    N. Srivastava and others, *Dropout*, JMLR 15, 2014). Any shape. In training, integers become float64.

    Args:
        p: the probability of dropping a value.
        rng: None, a seed or a ``numpy.random.Generator`` for the masks.

    Raises:
        ValueError: p outside [0, 1].
    """

    def __init__(self, p: float = 0.5, rng: Rng = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is a probability, from 0 to 1, got {p}")
        self.p = p
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Operand) -> Tensor:
        if not self.training or self.p == 0:
            return x if isinstance(x, Tensor) else Tensor(x)
        a = np.asarray(array_of(x))
        kept = self.rng.random(a.shape) >= self.p
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return multiply(x, kept * a.dtype.type(scale) if a.dtype.kind == "f" else kept * scale)

    def extra_repr(self) -> str:
        return f"p={self.p}"
