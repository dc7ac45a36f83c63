"""Arithmetic on two operands: + - * / ** -x and @, with NumPy's broadcasting.

Each function computes its result and states, beside it, how a gradient ``g`` of the result becomes the
gradients of the operands. Where broadcasting stretched an operand, the tape sums its gradient back.
"""

from __future__ import annotations

import operator

import numpy as np

from ..autograd import record
from ..tensor import Operand, Tensor, array_of
from .operands import broadcast, if_needed


def add(x: Operand, y: Operand) -> Tensor:
    """x + y, elementwise."""
    value = broadcast("add", operator.add, array_of(x), array_of(y))
    return record("add", value, (x, y), (lambda g: g, lambda g: g), "d_x = g, d_y = g", ())


def subtract(x: Operand, y: Operand) -> Tensor:
    """x - y, elementwise."""
    value = broadcast("subtract", operator.sub, array_of(x), array_of(y))
    return record("subtract", value, (x, y), (lambda g: g, lambda g: -g), "d_x = g, d_y = -g", ())


def multiply(x: Operand, y: Operand) -> Tensor:
    """x * y, elementwise."""
    a, b = array_of(x), array_of(y)
    value = broadcast("multiply", operator.mul, a, b)
    vjps = (lambda g, x, y: g * y, lambda g, x, y: g * x)
    saved = if_needed(a, y), if_needed(b, x)
    return record("multiply", value, (x, y), vjps, "d_x = g * y, d_y = g * x", saved)


def divide(x: Operand, y: Operand) -> Tensor:
    """x / y, elementwise."""
    a, b = array_of(x), array_of(y)
    value = broadcast("divide", operator.truediv, a, b)
    # d_y as -d_x * quotient: y**2 overflows, or becomes 0, where d_x and the quotient are still ordinary numbers
    vjps = (lambda g, quotient, y: g / y, lambda g, quotient, y: -g / y * quotient)
    return record("divide", value, (x, y), vjps, "d_x = g / y, d_y = -g * x / y**2", (if_needed(value, y), b))


def power(x: Operand, y: Operand) -> Tensor:
    """x ** y, elementwise.

    The gradient of ``x`` is 0 where ``y`` is 0, whatever ``x`` is, and the gradient of ``y`` is 0 where ``x`` is 0 and
    ``y`` is not negative: the limits, where the formula alone would give 0 * infinity. Where ``x`` is 0 and ``y``
    negative, the gradient of ``y`` is infinite. For ``x < 0`` it is nan.
    """
    a, b = array_of(x), array_of(y)
    value = broadcast("power", operator.pow, a, b)
    vjps = (
        # x**0 is 1 also for an x that is 0, infinite or nan, so that times y, 0, it gives 0
        lambda g, x, y, value: g * (y * x ** np.where(np.equal(y, 0), 0, np.subtract(y, 1)).astype(g.dtype)),
        # of x = 0, the powers to be left at 0 are the finite ones: those with a y that is not negative
        lambda g, x, y, value: (
            g * (value * np.log(np.where(np.equal(x, 0) & np.isfinite(value), 1, x)).astype(value.dtype))
        ),
    )
    saved = a, if_needed(b, x), if_needed(value, y)
    return record("power", value, (x, y), vjps, "d_x = g * y * x**(y - 1), d_y = g * x**y * log(x)", saved)


def negative(x: Operand) -> Tensor:
    """-x, elementwise."""
    return record("negative", np.negative(array_of(x)), (x,), (lambda g: -g,), "d_x = -g", ())


def matmul(x: Operand, y: Operand) -> Tensor:
    """x @ y: the product of vectors, matrices, or stacks of matrices, as ``np.matmul``.

    Shapes (..., n, k) @ (..., k, m) -> (..., n, m), leading axes broadcast. A 1-d ``x`` counts as a row and a 1-d
    ``y`` as a column, and that axis is left out of the result.

    Raises:
        ValueError: scalars, or lengths that don't match.
    """
    a, b = np.asarray(array_of(x)), np.asarray(array_of(y))
    try:
        value = np.matmul(a, b)
    except ValueError:
        raise ValueError(
            f"matmul: shapes {a.shape} @ {b.shape} do not fit: both need an axis or more, the last axis of the left "
            "must be as long as the second-to-last of the right (the only one, if 1-d), and stacks must broadcast"
        ) from None

    # With x as a row and y as a column, every case is the product of two (stacks of) matrices.
    row, column = a.ndim == 1, b.ndim == 1

    def as_matrices(g: np.ndarray) -> np.ndarray:
        g = np.expand_dims(g, -1) if column else g
        return np.expand_dims(g, -2) if row else g

    def d_x(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        d = as_matrices(g) @ (b[None] if column else b.swapaxes(-1, -2))
        return d[..., 0, :] if row else d

    def d_y(g: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        d = (a[:, None] if row else a.swapaxes(-1, -2)) @ as_matrices(g)
        return d[..., 0] if column else d

    saved = if_needed(a, y), if_needed(b, x)
    return record("matmul", value, (x, y), (d_x, d_y), "d_x = g @ y.T, d_y = x.T @ g", saved)
