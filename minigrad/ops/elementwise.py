"""Functions of each element on its own, each with its derivative beside it.

Rules that let a gradient through or stop it multiply it by 1 or 0, which is many times as fast as choosing between it
and 0. An infinite gradient that they stop therefore becomes nan.
"""

from __future__ import annotations

import numpy as np

from ..autograd import record
from ..tensor import Operand, Tensor, array_of
from .operands import broadcast, floating, narrow, wide


def exp(x: Operand) -> Tensor:
    """e ** x."""
    y = np.exp(array_of(x))
    return record("exp", y, (x,), (lambda g, y: g * y,), "d_x = g * y", (y,))


def log(x: Operand) -> Tensor:
    """Natural logarithm."""
    a = array_of(x)
    return record("log", np.log(a), (x,), (lambda g, x: g / x,), "d_x = g / x", (a,))


def sqrt(x: Operand) -> Tensor:
    """Square root; its gradient at 0 is infinite."""
    y = np.sqrt(array_of(x))
    return record("sqrt", y, (x,), (lambda g, y: g / (2 * y),), "d_x = g / (2 * y)", (y,))


def abs(x: Operand) -> Tensor:
    """Absolute value; its gradient at 0 is taken as 0, and at nan it is nan."""
    a = array_of(x)
    return record("abs", np.abs(a), (x,), (lambda g, x: g * np.sign(x),), "d_x = g * sign(x)", (a,))


def tanh(x: Operand) -> Tensor:
    """Hyperbolic tangent."""
    y = np.tanh(array_of(x))
    return record("tanh", y, (x,), (lambda g, y: g * (1 - y * y),), "d_x = g * (1 - y**2)", (y,))


def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)), the logistic function."""
    a = floating(array_of(x))
    with np.errstate(over="ignore"):  # exp(-x) is infinite for x far below 0, and 1 / infinity is the right 0
        y = np.exp(-wide(a))
    y += 1
    y = np.reciprocal(y, out=y if isinstance(y, np.ndarray) else None)
    y = narrow(y, a)

    def d_x(g: np.ndarray, y: np.ndarray) -> np.ndarray:
        d = 1 - y
        d *= y  # in place where nobody else sees the array: a third of the memory
        d *= g
        return d

    return record("sigmoid", y, (x,), (d_x,), "d_x = g * y * (1 - y)", (y,))


def relu(x: Operand) -> Tensor:
    """max(x, 0); its gradient at 0 is taken as 0."""
    y = np.maximum(array_of(x), 0)
    # y is 0, above 0, or nan
    return record("relu", y, (x,), (lambda g, y: g * (y != 0),), "d_x = g * (x > 0)", (y,))


def maximum(x: Operand, y: Operand) -> Tensor:
    """The larger of x and y; where they are equal, each gets half of the gradient, and where one is nan, both all."""
    a, b = array_of(x), array_of(y)
    value = broadcast("maximum", np.maximum, a, b)
    vjps = (lambda g, x, y: _share(g, np.less(x, y), x, y), lambda g, x, y: _share(g, np.less(y, x), x, y))
    return record("maximum", value, (x, y), vjps, "d_x = g * (x > y), d_y = g * (y > x), half each if x == y", (a, b))


def minimum(x: Operand, y: Operand) -> Tensor:
    """The smaller of x and y; where they are equal, each gets half of the gradient, and where one is nan, both all."""
    a, b = array_of(x), array_of(y)
    value = broadcast("minimum", np.minimum, a, b)
    vjps = (lambda g, x, y: _share(g, np.greater(x, y), x, y), lambda g, x, y: _share(g, np.greater(y, x), x, y))
    return record("minimum", value, (x, y), vjps, "d_x = g * (x < y), d_y = g * (y < x), half each if x == y", (a, b))


def _share(g: np.ndarray, loses: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(np.equal(a, b), g / 2, g * ~loses)


def where(condition: Operand, x: Operand, y: Operand) -> Tensor:
    """x where the condition holds (is not 0), elsewhere y; the condition itself gets no gradient.

    Raises:
        ValueError: shapes that don't broadcast.
    """
    chosen, a, b = np.asarray(array_of(condition), dtype=bool), array_of(x), array_of(y)
    try:
        value = np.where(chosen, a, b)
    except ValueError:
        shapes = f"{chosen.shape}, {np.shape(a)} and {np.shape(b)}"
        raise ValueError(f"where: the shapes {shapes} of condition, x and y do not broadcast") from None
    vjps = (None, lambda g, chosen: np.where(chosen, g, 0), lambda g, chosen: np.where(chosen, 0, g))
    rule = "d_x = g where the condition holds, d_y = g elsewhere"
    return record("where", value, (condition, x, y), vjps, rule, (chosen,))


def clip(x: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """x limited to [min, max]; the gradient passes inside the limits and at them.

    Raises:
        TypeError: a limit that requires a gradient; ``maximum`` and ``minimum`` give it one.
    """
    if any(isinstance(limit, Tensor) and limit.requires_grad for limit in (min, max)):
        raise TypeError("clip: the limits get no gradient: use maximum(x, min) and minimum(x, max)")
    a = value = array_of(x)
    inside = True
    if min is not None:
        value, inside = broadcast("clip", np.maximum, value, array_of(min)), np.greater_equal(a, array_of(min))
    if max is not None:
        value, inside = broadcast("clip", np.minimum, value, array_of(max)), np.less_equal(a, array_of(max)) & inside
    if value is a:  # no limits, and the result must not be the input's own array
        value = np.array(a)
    return record("clip", value, (x,), (lambda g, inside: g * inside,), "d_x = g * (min <= x <= max)", (inside,))
