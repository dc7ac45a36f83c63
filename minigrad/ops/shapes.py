"""Moving values without changing them: each gradient moves the same way back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..autograd import record
from ..tensor import Axis, Operand, Tensor, array_of
from ..words import numpy_words
from .operands import whole_array, wide


def reshape(x: Operand, *shape: Any) -> Tensor:
    """The same values in another shape, given as ``reshape(x, 2, 3)`` or ``reshape(x, (2, 3))``; one length may be -1.

    Raises:
        ValueError: a shape with another number of values.
    """
    a = whole_array(x)
    value = a.reshape(*shape)
    old = a.shape
    return record("reshape", value, (x,), (lambda g: g.reshape(old),), "d_x = g, reshaped back", (), view_of=x)


def transpose(x: Operand, *axes: int | tuple[int, ...] | None) -> Tensor:
    """Axes in the given order, as ``transpose(x, 1, 0)`` or ``transpose(x, (1, 0))``; without one, reversed."""
    a = whole_array(x)
    value = a.transpose(*axes)
    order = np.ravel([i for i in axes if i is not None])
    back = np.argsort(order % a.ndim) if order.size else None
    return record("transpose", value, (x,), (lambda g: np.transpose(g, back),), "d_x = g, axes put back", (), view_of=x)


def swapaxes(x: Operand, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    value = np.swapaxes(whole_array(x), axis1, axis2)
    return record(
        "swapaxes", value, (x,), (lambda g: np.swapaxes(g, axis1, axis2),), "d_x = g, axes swapped back", (), view_of=x
    )


@numpy_words
def expand_dims(x: Operand, axis: int | tuple[int, ...]) -> Tensor:
    """New axes of length 1 at the places ``axis`` of the result."""
    value = np.expand_dims(whole_array(x), axis)
    return record(
        "expand_dims", value, (x,), (lambda g: np.squeeze(g, axis),), "d_x = g without the new axes", (), view_of=x
    )


@numpy_words
def squeeze(x: Operand, axis: Axis = None) -> Tensor:
    """Axes of length 1 left out: those named, or all."""
    a = whole_array(x)
    value = np.squeeze(a, axis)
    old = a.shape
    return record(
        "squeeze", value, (x,), (lambda g: np.reshape(g, old),), "d_x = g, with the axes put back", (), view_of=x
    )


def broadcast_to(x: Operand, shape: tuple[int, ...]) -> Tensor:
    """Copies of ``x`` along new axes, and along axes of length 1, to fill ``shape``.

    Raises:
        ValueError: a shape that ``x`` can't be stretched to.
    """
    value = np.broadcast_to(whole_array(x), shape)
    return record("broadcast_to", value, (x,), (lambda g: g,), "d_x = g, summed over the copies", (), view_of=x)


def getitem(x: Operand, index: Any) -> Tensor:
    """x[index]: ints, slices, ``...``, ``None``, integer and boolean arrays, as in NumPy.

    An element picked twice gets both gradients.

    Raises:
        IndexError: an index out of range, too many, or of a type that can't index.
    """
    a = whole_array(x)
    parts = index if isinstance(index, tuple) else (index,)
    basic = all(i is None or i is Ellipsis or isinstance(i, slice) or _is_int(i) for i in parts)
    if not basic:  # copied, so that backward finds the same places even if the arrays change
        parts = tuple(_copied(i) for i in parts)
    value = a[parts]
    shape = a.shape

    def d_x(g: np.ndarray) -> np.ndarray:
        g = wide(g)
        d = np.zeros(shape, g.dtype)
        if basic:
            d[parts] = g
        else:
            np.add.at(d, parts, g)  # unlike d[parts] += g, adds once for each time an element was picked
        return d

    rule = "d_x = g at the indexed places, 0 elsewhere"
    return record("getitem", value, (x,), (d_x,), rule, (), view_of=x if basic else None)


def _copied(i: Any) -> Any:
    """A part of an index as an array of its own, if it has several places. An empty list names no place: integers."""
    if not isinstance(i, (Tensor, np.ndarray, list, tuple)):
        return i
    places = np.array(i)
    return places if places.size or isinstance(i, (Tensor, np.ndarray)) else places.astype(np.intp)


def _is_int(i: Any) -> bool:
    return isinstance(i, (int, np.integer)) and not isinstance(i, bool)


@numpy_words
def concatenate(tensors: Iterable[Operand], axis: int = 0) -> Tensor:
    """Join tensors along an axis they have.

    Raises:
        ValueError: no tensors, or lengths that differ along another axis.
    """
    tensors = tuple(tensors)
    arrays = [np.asarray(array_of(x)) for x in tensors]
    value = np.concatenate(arrays, axis)
    axis = axis % value.ndim
    vjps, start = [], 0
    for a in arrays:
        part = (slice(None),) * axis + (slice(start, start + a.shape[axis]),)
        vjps.append(lambda g, part=part: g[part])
        start += a.shape[axis]
    return record("concatenate", value, tensors, tuple(vjps), "d of each input = its part of g", ())


@numpy_words
def stack(tensors: Iterable[Operand], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises:
        ValueError: no tensors, or shapes that differ.
    """
    tensors = tuple(tensors)
    value = np.stack([np.asarray(array_of(x)) for x in tensors], axis)
    vjps = tuple(lambda g, i=i: g.take(i, axis) for i in range(len(tensors)))
    return record("stack", value, tensors, vjps, "d of each input = its slice of g", ())
