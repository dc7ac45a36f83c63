"""Functions along axes: sums, means, extremes, and the softmax.

``axis`` is None (all axes), an int or a tuple of ints, negative ones counted from the end; ``keepdims``
leaves the reduced axes in the result with length 1. Both as in NumPy.
"""

from __future__ import annotations

import math

import numpy as np

from ..tape import record
from ..tensor import Tensor
from .operands import Operand, array_of, floating

Axis = int | tuple[int, ...] | None


def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis``."""
    a = np.asarray(array_of(x))
    value = np.sum(a, axis=axis, keepdims=keepdims)
    shape = a.shape

    def d_x(g):
        return np.broadcast_to(_restore(g, axis, len(shape)), shape)

    return record("sum", value, (x,), (d_x,), "d_x = g, to every term of the sum")


def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over ``axis``."""
    a = np.asarray(array_of(x))
    value = np.mean(a, axis=axis, keepdims=keepdims)
    shape, n = a.shape, _count(a, axis)

    def d_x(g):
        return np.broadcast_to(_restore(g, axis, len(shape)) / n, shape)

    return record("mean", value, (x,), (d_x,), "d_x = g / n, to every one of the n terms")


def var(x: Operand, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance over ``axis``: sum((x - mean)**2) / (n - ddof), by default the biased one, as in NumPy."""
    a = np.asarray(array_of(x))
    value = np.var(a, axis=axis, ddof=ddof, keepdims=keepdims)
    n = _count(a, axis)

    def d_x(g):
        centered = a - np.mean(a, axis=axis, keepdims=True)
        return _restore(g, axis, a.ndim) * centered * (2 / (n - ddof) if n > ddof else np.nan)

    return record("var", value, (x,), (d_x,), "d_x = g * 2 * (x - mean) / (n - ddof)")


def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest value over ``axis``; equal largest values share the gradient evenly."""
    return _extreme("max", np.max, x, axis, keepdims)


def min(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest value over ``axis``; equal smallest values share the gradient evenly."""
    return _extreme("min", np.min, x, axis, keepdims)


def _extreme(name, function, x, axis, keepdims):
    a = np.asarray(array_of(x))
    value = function(a, axis=axis, keepdims=keepdims)

    def d_x(g):
        attained = a == _restore(value, axis, a.ndim)
        ties = attained.sum(axis=axis, keepdims=True, dtype=a.dtype)
        return attained * (_restore(g, axis, a.ndim) / ties)

    return record(name, value, (x,), (d_x,), f"d_x = g * (x == {name}) / count(x == {name})")


def softmax(x: Operand, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along ``axis``; computed from x - max, so that exp cannot overflow."""
    a = floating(array_of(x))
    y = np.exp(a - np.max(a, axis=axis, keepdims=True))
    y = y / np.sum(y, axis=axis, keepdims=True)

    def d_x(g):
        return y * (g - np.sum(g * y, axis=axis, keepdims=True))

    return record("softmax", y, (x,), (d_x,), "d_x = y * (g - sum(g * y))")


def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """log(softmax(x)) along ``axis``, exact also where softmax(x) would round to 0."""
    a = floating(array_of(x))
    centered = a - np.max(a, axis=axis, keepdims=True)
    y = centered - np.log(np.sum(np.exp(centered), axis=axis, keepdims=True))

    def d_x(g):
        return g - np.exp(y) * np.sum(g, axis=axis, keepdims=True)

    return record("log_softmax", y, (x,), (d_x,), "d_x = g - softmax(x) * sum(g)")


def _restore(g, axis, ndim):
    """Put the reduced axes back with length 1, so that ``g`` broadcasts against the input of ``ndim`` axes."""
    return g if axis is None or np.ndim(g) == ndim else np.expand_dims(g, axis)


def _count(a, axis):
    """How many values go into one result."""
    if axis is None:
        return a.size
    return math.prod(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,))) if a.ndim else 1
