"""Hang the operators and methods on Tensor: each is the primitive of that name.

Done here, after both are defined, because the primitives make Tensors: were the methods written into
the class, ``tensor.py`` and ``ops`` would import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import ops
from .tape import Tape, backward, recording
from .tensor import Tensor, describe, mark_changed

METHODS = """abs broadcast_to clip exp expand_dims log log_softmax matmul max maximum mean min minimum relu
reshape sigmoid softmax sqrt squeeze sum swapaxes tanh transpose var""".split()

BINARY = {
    "add": ops.add,
    "sub": ops.subtract,
    "mul": ops.multiply,
    "truediv": ops.divide,
    "pow": ops.power,
    "matmul": ops.matmul,
}


def _reflected(function):
    """``y + x`` for a ``y`` that isn't a Tensor: Python calls ``x.__radd__(y)``."""
    return lambda self, other: function(other, self)


def _in_place(symbol, function):
    """``x += y`` is ``x = x + y``, except for a leaf that requires a gradient.

    There it would put a new tensor in the parameter's place, and the parameter would never learn. So it
    updates the array itself under ``no_grad``, as in PyTorch, and is refused outside.
    """

    def method(self, other):
        if not self.requires_grad or self._entry is not None:
            return function(self, other)
        if recording():
            raise RuntimeError(
                f"{symbol} on {describe(self)}, a leaf that requires a gradient: "
                f"update it inside no_grad(), or write .data {symbol} ..."
            )
        self._data[...] = function(self, other)._data
        mark_changed([self])
        return self

    return method


def _iterate(self: Tensor) -> Iterator[Tensor]:
    """The tensors along the first axis."""
    return (self[i] for i in range(len(self)))


def _tape(self: Tensor) -> Tape:
    """The recorded operations that this tensor was computed by."""
    return Tape(self)


def _comparison(name):
    """A plain boolean array, so that ``x[x > 0]`` and ``(x > 0).sum()`` read as in NumPy."""
    return lambda self, other: getattr(self._data, name)(other._data if isinstance(other, Tensor) else other)


# What NumPy asks a Tensor when it is given one: `array + t` calls np.add(array, t).
FROM_NUMPY = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.divide: ops.divide,
    np.power: ops.power,
    np.matmul: ops.matmul,
}
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
OTHER_NAMES = {"absolute": "abs", "amax": "max", "amin": "min", "concat": "concatenate", "permute_dims": "transpose"}


def _array_ufunc(self: Tensor, ufunc: np.ufunc, kind: str, *inputs: Any, **settings: Any) -> Any:
    """``array + t`` gives a Tensor; for ``np.exp(t)`` and the like see ``_array_function``."""
    if kind == "__call__" and ufunc in FROM_NUMPY and not settings:
        return FROM_NUMPY[ufunc](*inputs)
    if ufunc in COMPARISONS:
        return ufunc(*_arrays(inputs), **settings)  # has no gradient to lose
    return _array_function(self, getattr(ufunc, kind), (), inputs, settings, ufunc.__name__)


def _array_function(
    self: Tensor, function: Callable, types: Any, inputs: Any, settings: dict[str, Any], name: str = ""
) -> Any:
    """``np.mean(t)`` and the like: computed as NumPy does for constants, refused where a gradient would be lost."""
    name = name or function.__name__
    for value in (*inputs, *settings.values()):
        for t in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(t, Tensor) and t.requires_grad:
                ours = OTHER_NAMES.get(name, name)
                advice = f"use minigrad.{ours}" if ours in ops.__all__ else "compose it of minigrad's functions"
                raise TypeError(
                    f"np.{name} got {describe(t)}, and its result would have no gradient: {advice}, or .data where no "
                    "gradient is wanted"
                )
    return function(*_arrays(inputs), **dict(zip(settings, _arrays(settings.values()), strict=True)))


def _arrays(values: Any) -> list:
    """Tensors, also inside lists and tuples, as their arrays; other values as they are."""
    inside = (type(v)(_arrays(v)) if isinstance(v, (list, tuple)) else v for v in values)
    return [np.asarray(v._data) if isinstance(v, Tensor) else v for v in inside]


for name in METHODS:
    setattr(Tensor, name, getattr(ops, name))
for name, function in BINARY.items():
    setattr(Tensor, f"__{name}__", function)
    setattr(Tensor, f"__r{name}__", _reflected(function))
for name, symbol in {"add": "+=", "sub": "-=", "mul": "*=", "truediv": "/=", "pow": "**=", "matmul": "@="}.items():
    setattr(Tensor, f"__i{name}__", _in_place(symbol, BINARY[name]))
for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(Tensor, name, _comparison(name))
Tensor.__hash__ = object.__hash__  # == compares values; a dict or set still tells tensors apart by identity
Tensor.__array_ufunc__ = _array_ufunc
Tensor.__array_function__ = _array_function
Tensor.__neg__ = ops.negative
Tensor.__abs__ = ops.abs
Tensor.__getitem__ = ops.getitem
Tensor.__iter__ = _iterate
Tensor.T = property(ops.transpose, doc="The axes reversed.")
Tensor.backward = backward
Tensor.tape = _tape
