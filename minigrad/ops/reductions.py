"""Functions along axes: sums, means, extremes, and the softmax.

``axis`` is None (all axes), an int or a tuple of ints, negative ones counted from the end; ``keepdims``
leaves the reduced axes in the result with length 1. Both as in NumPy.

float16 is added up in float32, as PyTorch does and NumPy only in ``mean``: 70,000 ones are more than float16 can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import record
from ..tensor import Axis, Operand, Tensor, array_of
from ..words import numpy_words
from .operands import floating, narrow, wide


@numpy_words
def sum(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over ``axis``."""
    a = np.asarray(array_of(x))
    value = _add_up(np.sum, a, axis=axis, keepdims=keepdims)
    shape = a.shape

    def d_x(g: np.ndarray) -> np.ndarray:
        return np.broadcast_to(_restore(g, axis, len(shape)), shape)

    return record("sum", value, (x,), (d_x,), "d_x = g, to every term of the sum", ())


@numpy_words
def mean(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over ``axis``."""
    a = np.asarray(array_of(x))
    value = np.mean(a, axis=axis, keepdims=keepdims)
    shape, n = a.shape, _count(a, axis) or 1  # a mean of nothing sends its gradient nowhere

    def d_x(g: np.ndarray) -> np.ndarray:
        return np.broadcast_to(_restore(wide(g) / n, axis, len(shape)), shape)

    return record("mean", value, (x,), (d_x,), "d_x = g / n, to every one of the n terms", ())


@numpy_words
def var(x: Operand, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance over ``axis``: sum((x - mean)**2) / (n - ddof), by default the biased one, as in NumPy."""
    a = np.asarray(array_of(x))
    value = _add_up(np.var, a, axis=axis, ddof=ddof, keepdims=keepdims)
    n = _count(a, axis)

    def d_x(g: np.ndarray, a: np.ndarray) -> np.ndarray:
        centered = wide(a) - np.mean(wide(a), axis=axis, keepdims=True)
        return _restore(wide(g) * (2 / (n - ddof) if n > ddof else np.nan), axis, a.ndim) * centered

    return record("var", value, (x,), (d_x,), "d_x = g * 2 * (x - mean) / (n - ddof)", (a,))


@numpy_words
def max(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest value over ``axis``; equal largest values share the gradient evenly."""
    return _extreme("max", np.max, x, axis, keepdims)


@numpy_words
def min(x: Operand, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest value over ``axis``; equal smallest values share the gradient evenly."""
    return _extreme("min", np.min, x, axis, keepdims)


def _extreme(name: str, function: Callable[..., Any], x: Operand, axis: Axis, keepdims: bool) -> Tensor:
    a = np.asarray(array_of(x))
    value = function(a, axis=axis, keepdims=keepdims)

    def d_x(g: np.ndarray, a: np.ndarray, value: np.ndarray) -> np.ndarray:
        attained = a == _restore(value, axis, a.ndim)
        with np.errstate(divide="ignore", invalid="ignore"):  # no element equals a nan, so each gets 0 / 0
            share = _restore(g, axis, a.ndim) / attained.sum(axis=axis, keepdims=True)
            return attained * share.astype(g.dtype)

    return record(name, value, (x,), (d_x,), f"d_x = g * (x == {name}) / count(x == {name})", (a, value))


@numpy_words
def softmax(x: Operand, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along ``axis``; computed from x - max, so that exp cannot overflow."""
    a = floating(array_of(x))
    y = np.exp(_below_the_largest(a, axis))
    y = y / np.sum(y, axis=axis, keepdims=True)
    y = narrow(y, a)

    def d_x(g: np.ndarray, y: np.ndarray) -> np.ndarray:
        return wide(y) * (g - np.sum(g * wide(y), axis=axis, keepdims=True))

    return record("softmax", y, (x,), (d_x,), "d_x = y * (g - sum(g * y))", (y,))


@numpy_words
def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """log(softmax(x)) along ``axis``, exact also where softmax(x) would round to 0."""
    a = floating(array_of(x))
    centered = _below_the_largest(a, axis)
    with np.errstate(divide="ignore"):  # a sum of at least exp(0), if it has any terms
        y = centered - np.log(np.sum(np.exp(centered), axis=axis, keepdims=True))
    y = narrow(y, a)

    def d_x(g: np.ndarray, y: np.ndarray) -> np.ndarray:
        return g - np.exp(wide(y)) * np.sum(wide(g), axis=axis, keepdims=True)

    return record("log_softmax", y, (x,), (d_x,), "d_x = g - softmax(x) * sum(g)", (y,))


def _below_the_largest(a: np.ndarray, axis: int) -> np.ndarray:
    """x - max(x), to compute exponentials from; along an axis of length 0, as empty as x."""
    a = wide(a)
    return a - np.max(a, axis=axis, keepdims=True, initial=-np.inf)


def _add_up(function: Callable[..., Any], a: np.ndarray, **arguments: Any) -> np.ndarray:
    """A sum or variance of NumPy, float16 in float32 on the way."""
    if a.dtype.char != "e":
        return function(a, **arguments)
    return narrow(function(a, dtype=np.float32, **arguments), a)


def _restore(g: np.ndarray, axis: Axis, ndim: int) -> np.ndarray:
    """Put the reduced axes back with length 1, so that ``g`` broadcasts against the input of ``ndim`` axes."""
    return g if axis is None or np.ndim(g) == ndim else np.expand_dims(g, axis)


def _count(a: np.ndarray, axis: Axis) -> int:
    """How many values go into one result."""
    if axis is None:
        return a.size
    return math.prod(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,)))
