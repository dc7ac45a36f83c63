"""What every primitive does to its operands before it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Union

import numpy as np

from ..tensor import Tensor, to_array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Operand = Union[Tensor, "ArrayLike"]


def array_of(x: Operand) -> np.ndarray:
    """The array to compute with. Python numbers stay as they are, so that they don't widen a float32 operand."""
    if isinstance(x, Tensor):
        return x._data
    if isinstance(x, (int, float)):
        return x
    return to_array(x)


def floating(a: np.ndarray) -> np.ndarray:
    """The array as floating point: integers as float64, because differences of unsigned ones would wrap around."""
    a = np.asarray(a)
    return a if a.dtype.kind == "f" else a.astype(np.float64)


def broadcast(name: str, function: Callable, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``function(a, b)``, with an error that names the operation if the shapes don't broadcast."""
    try:
        return function(a, b)
    except ValueError as error:
        if "broadcast" not in str(error):
            raise
        raise ValueError(
            f"{name}: shapes {np.shape(a)} and {np.shape(b)} do not broadcast: compared from the last axis "
            "backwards, two lengths must be equal or one of them 1"
        ) from None
