"""What happens when a Tensor is given to NumPy: ``array + t`` works, and a lost gradient is an error with advice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import ops
from .tensor import Tensor, array_of

# `array + t` is np.add(array, t) to NumPy, which then asks the Tensor.
OPERATORS = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.divide: ops.divide,
    np.power: ops.power,
    np.matmul: ops.matmul,
}
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
OTHER_NAMES = {"absolute": "abs", "amax": "max", "amin": "min", "concat": "concatenate", "permute_dims": "transpose"}


def array_ufunc(ufunc: np.ufunc, kind: str, inputs: tuple, settings: dict[str, Any]) -> Any:
    """``array + t`` gives a Tensor, ``array < t`` a boolean array; for the others see ``array_function``."""
    if kind == "__call__" and ufunc in OPERATORS and not settings:
        return OPERATORS[ufunc](*inputs)
    if ufunc in COMPARISONS:
        return ufunc(*_arrays(inputs), **settings)
    return array_function(getattr(ufunc, kind), ufunc.__name__, inputs, settings)


def array_function(function: Callable, name: str, inputs: Iterable, settings: dict[str, Any]) -> Any:
    """NumPy's function of constants; TypeError if a tensor among them would lose its gradient."""
    for value in (*inputs, *settings.values()):
        for t in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(t, Tensor) and t.requires_grad:
                ours = OTHER_NAMES.get(name, name)
                advice = f"use minigrad.{ours}" if ours in ops.__all__ else "compose it of minigrad's functions"
                raise TypeError(
                    f"np.{name} got {t.label}, and its result would have no gradient: {advice}, or .data where no "
                    "gradient is wanted"
                )
    return function(*_arrays(inputs), **dict(zip(settings, _arrays(settings.values()), strict=True)))


def _arrays(values: Iterable) -> list:
    """Tensors, also inside lists and tuples, as their arrays; other values as they are."""
    inside = (type(v)(_arrays(v)) if isinstance(v, (list, tuple)) else v for v in values)
    return [array_of(v) if isinstance(v, Tensor) else v for v in inside]
