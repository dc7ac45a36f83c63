"""Linear, and Flatten to get there from images."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from minigrad import Tensor
from minigrad.extend import Operand, array_of, if_needed, record

from .arrays import add_to, as_rows, column_sums, in_dtype_of
from .module import Module, Parameter

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Rng = int | np.random.Generator | None


def number_of_features(value: int, call: str) -> int:
    """``value`` as an int of 1 or more, or an error that quotes the ``call`` it stood in, such as 'Linear(3, 0)'."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(
            f"{call}: a number of features is an int, such as 64, and {value!r} is a {type(value).__name__}"
        )
    if number < 1:
        raise ValueError(f"{call}: the number of features must be 1 or more, got {number}")
    return number


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """y = x @ weight.T + bias, as ``torch.nn.functional.linear``.

    Shapes: x (..., in), weight (out, in), bias (out,) or None; y (..., out). Where x is integers or booleans, they
    are taken in weight's dtype; floating dtypes promote as in NumPy. Backward, with g the gradient of y::

        d_x = g @ weight        d_weight = g.T @ x        d_bias = sum of g over the batch

    Raises:
        ValueError: shapes that don't fit.
    """
    a, w = np.asarray(array_of(x)), np.asarray(array_of(weight))
    if w.ndim != 2:
        raise ValueError(f"linear: weight must have shape (out, in), got {w.shape}")
    if a.shape[-1:] != w.shape[1:]:
        raise ValueError(f"linear expects {w.shape[1]} features on the last axis of the input, got shape {a.shape}")
    a = in_dtype_of(a, w)
    value = a @ w.T
    saved = if_needed(a, weight), if_needed(w, x)
    vjps: tuple[Callable[..., np.ndarray], ...]
    vjps = (lambda g, x, w: g @ w, lambda g, x, w: as_rows(g).T @ as_rows(x))  # every axis but the last is batch
    if bias is None:
        return record("linear", value, (x, weight), vjps, "d_x = g @ weight, d_weight = g.T @ x", saved)
    b = np.asarray(array_of(bias))
    if b.shape != w.shape[:1]:
        raise ValueError(f"linear: bias must have shape {w.shape[:1]} for weight {w.shape}, got {b.shape}")
    vjps = (*vjps, lambda g, x, w: column_sums(as_rows(g)))
    rule = "d_x = g @ weight, d_weight = g.T @ x, d_bias = sum(g)"
    return record("linear", add_to(value, b), (x, weight, bias), vjps, rule, saved)


class Linear(Module):
    """y = x @ weight.T + bias, with weight (out_features, in_features) and bias (out_features,).

    Input (..., in_features), output (..., out_features). Integers are taken in the weight's dtype, where PyTorch
    refuses them; a float64 input makes float64 of the output, as in NumPy. Weight and bias start uniform in
    [-1/sqrt(in_features), 1/sqrt(in_features)), PyTorch's default.

    Args:
        rng: None, a seed or a ``numpy.random.Generator`` to draw them from. Give the layers of one model one
            Generator: with one seed they would start alike.

    Raises:
        ValueError: a number of features below 1, or an input that hasn't ``in_features`` on its last axis.
        TypeError: a number of features that is no int.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        call = f"Linear({in_features!r}, {out_features!r})"
        in_features, out_features = number_of_features(in_features, call), number_of_features(out_features, call)
        self.in_features, self.out_features = in_features, out_features
        rng = np.random.default_rng(rng)
        bound = in_features**-0.5
        self.weight = Parameter(rng.uniform(-bound, bound, (out_features, in_features)), dtype)
        self.bias = Parameter(rng.uniform(-bound, bound, out_features), dtype) if bias else None

    def forward(self, x: Operand) -> Tensor:
        try:
            return linear(x, self.weight, self.bias)
        except ValueError as error:
            raise ValueError(f"in {self!r}: {error}") from None

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """All axes but the first into one: (N, ...) -> (N, features)."""

    def forward(self, x: Operand) -> Tensor:
        x = x if isinstance(x, Tensor) else Tensor(x)
        if x.ndim == 0:
            raise ValueError("Flatten() expects a batch on the first axis, got a scalar")
        return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))
