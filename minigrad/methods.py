"""Hang the operators and methods on Tensor: each is the primitive of that name.

Done here, after both are defined, because the primitives make Tensors: were the methods written into
the class, ``tensor.py`` and ``ops`` would import each other.
"""

from __future__ import annotations

from collections.abc import Iterator

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
Tensor.__neg__ = ops.negative
Tensor.__abs__ = ops.abs
Tensor.__getitem__ = ops.getitem
Tensor.__iter__ = _iterate
Tensor.T = property(ops.transpose, doc="The axes reversed.")
Tensor.backward = backward
Tensor.tape = _tape
