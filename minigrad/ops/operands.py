"""What every primitive does to its operands before it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Operand, Tensor


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
