"""What every primitive does to its operands before it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Operand, Tensor, array_of


def whole_array(x: Operand) -> np.ndarray:
    """The array itself, also of a single value, for results that are views of it."""
    return x._become_array() if isinstance(x, Tensor) else np.asarray(array_of(x))


def if_needed(a: Any, by: Operand) -> Any:
    """The array, if the gradient of ``by`` will need it; otherwise None, so that the tape doesn't keep it."""
    return a if isinstance(by, Tensor) and by._requires_grad else None


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


def wide(a: np.ndarray) -> np.ndarray:
    """The array to compute in: float16, whose range ends at 65,504, as float32; any other as it is."""
    return a.astype(np.float32) if a.dtype.char == "e" else a


def narrow(y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """What was computed from ``wide(a)``, as float16 if ``a`` is."""
    return y.astype(np.float16) if a.dtype.char == "e" else y
