"""NumPy tricks that the layers share: the same numbers as the plain way, sooner. Nothing here knows of gradients."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from minigrad.extend import Operand, array_of

CACHE = 65536  # values of an array that stays in the processor's cache from one operation to the next
ROWS = 256  # terms of a sum that float32 adds up one by one


def in_dtype_of(x: np.ndarray, *others: Operand | None) -> np.ndarray:
    """Integers and booleans in the dtype of the first of ``others`` that is floating-point; any other ``x`` as it is.

    NumPy makes float64 of integers beside float32: a batch of integers would turn all that a float32 model computes
    to float64, at twice the time and memory.
    """
    if x.dtype.kind != "f":
        for other in others:
            if other is not None and np.asarray(array_of(other)).dtype.kind == "f":
                return x.astype(np.asarray(array_of(other)).dtype)
    return x


def read_only(array: np.ndarray) -> np.ndarray:
    """The same array, of which nobody can change the values any more."""
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=16)
def ones(length: int, dtype: str) -> np.ndarray:
    """``np.ones``, kept for the next call."""
    return read_only(np.ones(length, dtype))


@functools.lru_cache(maxsize=16)
def zeros(length: int, dtype: str) -> np.ndarray:
    """``np.zeros``, kept for the next call."""
    return read_only(np.zeros(length, dtype))


def as_rows(x: np.ndarray) -> np.ndarray:
    """``x`` with all axes but the last joined into one: (..., C) -> (m, C), also where a length is 0."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def column_sums(x: np.ndarray) -> np.ndarray:
    """Sum of a 2-d array over its first axis; as a product with ones, it takes half of ``x.sum(0)``'s time or less.

    In parts of ``ROWS`` rows, whose sums are then summed: rounding errors grow with the length of a sum.
    """
    if len(x) <= ROWS:
        return ones(len(x), x.dtype.char).dot(x)
    whole = len(x) // ROWS * ROWS
    parts = x[:whole].reshape(-1, ROWS, x.shape[1])
    return column_sums(np.concatenate([ones(ROWS, x.dtype.char) @ parts, column_sums(x[whole:])[None]]))


def add_to(y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """y + b, in y's own memory where the dtypes are the same; where they differ, the sum promotes as in NumPy."""
    return np.add(y, b, y) if b.dtype is y.dtype else y + b


# Of images and the like, (N, C, ...), the functions below work on a view with the channel last, (N, L, C), so that
# arrays of shape (C,) broadcast.


def channel_last(x: np.ndarray, channels_last: bool) -> np.ndarray:
    """A view of ``x`` with the channel as last axis: (m, C), or (N, L, C); float16, whose sums overflow, as float32."""
    if x.dtype.itemsize < 4:
        x = x.astype(np.float32)
    if x.ndim == 2 or channels_last:
        return as_rows(x)
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:])).swapaxes(1, 2)


def channel_sums(x: np.ndarray) -> np.ndarray:
    """Sum over all axes but the last: shape (C,); of (N, L, C) over L first, in parts of ``ROWS`` values as well."""
    if x.ndim == 2:
        return column_sums(x)
    rows = x.swapaxes(1, 2)
    one, rest = ones(min(x.shape[1], ROWS), x.dtype.char), x.shape[1] % ROWS
    if x.shape[1] <= ROWS:
        return column_sums(rows @ one)
    whole = rows[..., : x.shape[1] - rest]
    sums = (whole.reshape(len(x), -1, ROWS) @ one).reshape(*rows.shape[:2], -1).sum(-1)
    return column_sums(sums + rows[..., x.shape[1] - rest :] @ one[:rest])


def channel_products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sum(x * y) over all axes but the last: shape (C,)."""
    if x.ndim == 2:
        if x.size <= CACHE:
            return column_sums(x * y)
        parts = [column_sums(x[part] * y[part]) for part in _blocks(x)]
        return column_sums(np.stack(parts))
    return np.einsum("nlc,nlc->c", x, y)  # of a large array the product would take longer to store than to compute


def multiply_add(
    x: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray | None,
    shape: tuple[int, ...],
    channels_last: bool,
    z: np.ndarray | None = None,
    z_scale: Any = None,
) -> np.ndarray:
    """x * scale, + shift and + z * z_scale if given, for ``x`` and ``z`` with the channel last.

    The result is a new array of ``shape``, with the channel in its own place.
    """
    if x.ndim == 2 and x.size <= CACHE:  # small, and (m, C) has its values in the result's order
        result = x * scale
        if z is not None:
            result = add_to(result, z * z_scale)
        if shift is not None:
            result = add_to(result, shift)
        return result if len(shape) == 2 else result.reshape(shape)
    result = np.empty(shape, np.result_type(x, scale, *(a for a in (shift, z) if a is not None)))
    view = channel_last(result, channels_last)
    for part in _blocks(view):
        block = np.multiply(x[part], scale, out=view[part])
        if z is not None:
            block += z[part] * z_scale
        if shift is not None:
            block += shift
    return result


def _blocks(x: np.ndarray) -> list[slice]:
    """Parts of the first axis of about ``CACHE`` values."""
    if x.size <= CACHE:
        return [slice(None)]
    length = max(1, CACHE * len(x) // x.size)
    return [slice(start, start + length) for start in range(0, len(x), length)]
