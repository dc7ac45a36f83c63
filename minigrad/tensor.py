"""Tensor: an array, its gradient, and its place on the tape. No calculus here.

The calculus is in ``minigrad.ops`` and the walk backwards in ``minigrad.autograd``; Tensor's methods only call them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, Union

import numpy as np

from . import guards
from .interop import Interop, to_array
from .words import numpy_words

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from .autograd import Entry
    from .views import Tape

    T = TypeVar("T", bound="Tensor")

Operand = Union["Tensor", "ArrayLike"]
Axis = int | tuple[int, ...] | None


class Tensor(Interop):
    """An n-dimensional array of which gradients can be asked.

    Args:
        data: anything that ``np.asarray`` takes. Floating arrays keep their dtype, Python floats
            become float64, and an ndarray's memory is shared, not copied.
        requires_grad: record what is computed from this tensor, so that ``backward`` can fill ``grad``.
        dtype: convert the data to this dtype.
        name: what the tape and error messages call this tensor.

    Attributes:
        grad: the accumulated gradient, an ndarray of this tensor's shape and dtype; None before
            any ``backward`` and after ``zero_grad``.

    Raises:
        TypeError: data that isn't numeric, or a gradient asked of integers.
    """

    _data: np.ndarray
    grad: np.ndarray | None
    name: str | None
    _requires_grad: bool
    _entry: Entry | None  # the tape entry that computed this tensor; None for one made by hand
    _retains_grad: bool
    _memory: guards.Memory  # what minigrad.guards knows of the array; shared with views

    __slots__ = (*__annotations__, "__weakref__")

    def __init__(
        self, data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None, name: str | None = None
    ) -> None:
        if isinstance(data, Tensor):
            raise TypeError("Tensor(data) got a Tensor, which would cut it off the tape: use it as it is, or .detach()")
        _fill(self, to_array(data, dtype))
        self.name = name
        self.requires_grad = requires_grad

    @property
    def data(self) -> np.ndarray:
        """The array itself, not a copy, so that ``w.data -= 0.1 * w.grad`` updates ``w``.

        Changing it between forward and backward, while a recorded entry still needs the old values,
        makes ``backward`` raise. What escapes that watch is a change made after the forward pass through an alias
        taken *before* it: the array given to ``Tensor(...)``, an earlier ``.data``, or a plain array used as an
        operand. Replacing the array (``w.data = other``) is harmless: the entry keeps the old one.
        """
        self._become_array()
        guards.watch(self)
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = to_array(value._data if isinstance(value, Tensor) else value, self.dtype)
        if array.shape != self.shape:
            got = f"got {array.shape}: make a new Tensor for another shape"
            raise ValueError(f"{self.label}.data takes an array of shape {self.shape}, {got}")
        if array is not self._data and not np.may_share_memory(array, self._memory.array):
            self._memory = guards.replaced(self, array)
        elif not guards.is_watched(self._memory):  # `w.data -= step` ends here, and .data has put the array under watch
            guards.mark_changed([self])
        self._data = array

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded, and a gradient reaches it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag and self.dtype.kind != "f":
            raise TypeError(
                f"only floating-point tensors have gradients, and {self.label} is {self.dtype}: "
                "give dtype=np.float64, or floats in place of integers"
            )
        if self._entry is not None and not flag:
            raise RuntimeError(f"{self.label} was computed from tensors that require gradients: use .detach()")
        self._requires_grad = bool(flag)

    def _become_array(self) -> np.ndarray:
        """A result may start as a NumPy scalar, which computes faster; nobody outside sees that."""
        if not isinstance(self._data, np.ndarray):
            self._data = self._memory.array = np.asarray(self._data)
        return self._data

    def numpy(self) -> np.ndarray:
        """The array, the same as ``data``: no copy, and no gradient travels through it."""
        return self.data

    def detach(self) -> Tensor:
        """A tensor on the same memory, off the tape: a constant, whatever it was computed from."""
        result = new_tensor(self._become_array())
        result.name, result._memory = self.name, self._memory
        return result

    def zero_grad(self) -> None:
        """Forget the accumulated gradient: ``grad`` becomes None."""
        self.grad = None

    def retain_grad(self) -> None:
        """Keep ``grad`` also for this intermediate result; without it, only leaves have one."""
        if not self._requires_grad:
            raise RuntimeError(f"retain_grad(): no gradient reaches {self.label}, it does not require one")
        self._retains_grad = True

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add to the ``grad`` of every leaf below this tensor its gradient: see ``minigrad.autograd.backward``."""
        autograd.backward(self, gradient)

    def tape(self) -> Tape:
        """The recorded operations that this tensor was computed by."""
        return views.Tape(self)

    # Operators and methods: each calls the function of ``minigrad.ops`` that has the name.
    # fmt: off

    def __add__(self, other: Operand) -> Tensor: return ops.add(self, other)
    def __sub__(self, other: Operand) -> Tensor: return ops.subtract(self, other)
    def __mul__(self, other: Operand) -> Tensor: return ops.multiply(self, other)
    def __truediv__(self, other: Operand) -> Tensor: return ops.divide(self, other)
    def __pow__(self, other: Operand) -> Tensor: return ops.power(self, other)
    def __matmul__(self, other: Operand) -> Tensor: return ops.matmul(self, other)

    def __radd__(self, other: Operand) -> Tensor: return ops.add(other, self)
    def __rsub__(self, other: Operand) -> Tensor: return ops.subtract(other, self)
    def __rmul__(self, other: Operand) -> Tensor: return ops.multiply(other, self)
    def __rtruediv__(self, other: Operand) -> Tensor: return ops.divide(other, self)
    def __rpow__(self, other: Operand) -> Tensor: return ops.power(other, self)
    def __rmatmul__(self, other: Operand) -> Tensor: return ops.matmul(other, self)

    def __iadd__(self, other: Operand) -> Tensor: return self._in_place("+=", ops.add, other)
    def __isub__(self, other: Operand) -> Tensor: return self._in_place("-=", ops.subtract, other)
    def __imul__(self, other: Operand) -> Tensor: return self._in_place("*=", ops.multiply, other)
    def __itruediv__(self, other: Operand) -> Tensor: return self._in_place("/=", ops.divide, other)
    def __ipow__(self, other: Operand) -> Tensor: return self._in_place("**=", ops.power, other)
    def __imatmul__(self, other: Operand) -> Tensor: return self._in_place("@=", ops.matmul, other)

    def __neg__(self) -> Tensor: return ops.negative(self)
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __getitem__(self, index: Any) -> Tensor: return ops.getitem(self, index)
    def __iter__(self) -> Iterator[Tensor]: return (self[i] for i in range(len(self)))

    # Comparisons give plain boolean arrays, so that x[x > 0] and (x > 0).sum() read as in NumPy.
    def __lt__(self, other: Operand) -> np.ndarray: return self._data < array_of(other)
    def __le__(self, other: Operand) -> np.ndarray: return self._data <= array_of(other)
    def __gt__(self, other: Operand) -> np.ndarray: return self._data > array_of(other)
    def __ge__(self, other: Operand) -> np.ndarray: return self._data >= array_of(other)
    def __eq__(self, other: Operand) -> np.ndarray: return self._data == array_of(other)  # type: ignore[override]
    def __ne__(self, other: Operand) -> np.ndarray: return self._data != array_of(other)  # type: ignore[override]
    __hash__ = object.__hash__  # a dict or set still tells tensors apart by identity

    @property
    def T(self) -> Tensor:  # the axes reversed
        return ops.transpose(self)
    def abs(self) -> Tensor: return ops.abs(self)
    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def maximum(self, y: Operand) -> Tensor: return ops.maximum(self, y)
    def minimum(self, y: Operand) -> Tensor: return ops.minimum(self, y)
    def matmul(self, y: Operand) -> Tensor: return ops.matmul(self, y)
    def clip(self, min: Operand | None = None, max: Operand | None = None) -> Tensor: return ops.clip(self, min, max)
    @numpy_words
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.sum(self, axis, keepdims)
    @numpy_words
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.mean(self, axis, keepdims)
    @numpy_words
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.max(self, axis, keepdims)
    @numpy_words
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.min(self, axis, keepdims)
    @numpy_words
    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        return ops.var(self, axis, ddof, keepdims)
    @numpy_words
    def softmax(self, axis: int = -1) -> Tensor: return ops.softmax(self, axis)
    @numpy_words
    def log_softmax(self, axis: int = -1) -> Tensor: return ops.log_softmax(self, axis)
    def reshape(self, *shape: Any) -> Tensor: return ops.reshape(self, *shape)
    def transpose(self, *axes: int | tuple[int, ...] | None) -> Tensor: return ops.transpose(self, *axes)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return ops.swapaxes(self, axis1, axis2)
    @numpy_words
    def expand_dims(self, axis: int | tuple[int, ...]) -> Tensor: return ops.expand_dims(self, axis)
    @numpy_words
    def squeeze(self, axis: Axis = None) -> Tensor: return ops.squeeze(self, axis)
    def broadcast_to(self, shape: tuple[int, ...]) -> Tensor: return ops.broadcast_to(self, shape)
    # fmt: on

    def _in_place(self, symbol: str, function: Callable, other: Operand) -> Tensor:
        """``x += y`` is ``x = x + y``, except for a leaf that requires a gradient.

        There it would put a new tensor in the parameter's place, and the parameter would never learn. So it
        updates the array itself under ``no_grad``, as in PyTorch, and is refused outside.
        """
        if not self._requires_grad or self._entry is not None:
            return function(self, other)
        if autograd.recording():
            advice = f"update it inside no_grad(), or write .data {symbol} ..."
            raise RuntimeError(f"{symbol} on {self.label}, a leaf that requires a gradient: {advice}")
        self._become_array()[...] = function(self, other)._data
        guards.mark_changed([self])
        return self

    def __copy__(self) -> Tensor:
        """A second tensor on the same memory and at the same place of the tape, with a gradient of its own."""
        result = _fill(object.__new__(type(self)), self._become_array())
        for slot in ("name", "_requires_grad", "_entry", "_retains_grad", "_memory"):
            setattr(result, slot, getattr(self, slot))
        result.grad = None if self.grad is None else self.grad.copy()
        getattr(result, "__dict__", {}).update(getattr(self, "__dict__", {}))  # of a subclass without slots
        return result

    def __reduce__(self) -> tuple:
        """For ``copy.deepcopy`` and ``pickle``: everything but the tape, which neither can take along."""
        released = self._entry is autograd.RELEASED
        if self._entry is not None and not released:
            advice = "its tape can't be copied: copy or pickle .detach()"
            raise TypeError(f"{self.label} was computed from others, and {advice}")
        state = self.grad, self.name, self._requires_grad, self._retains_grad, released
        return _remake, (type(self), self._become_array(), state), getattr(self, "__dict__", None)


def new_tensor(array: np.ndarray) -> Tensor:
    """A tensor around a result, without the checks that users' data get."""
    return _fill(object.__new__(Tensor), array)


def _fill(tensor: T, array: np.ndarray) -> T:
    """Give a new tensor its array and every other slot its initial value."""
    tensor._data = array
    tensor.grad = tensor.name = tensor._entry = None
    tensor._requires_grad = tensor._retains_grad = False
    tensor._memory = guards.Memory(array)
    return tensor


def _remake(kind: type[T], array: np.ndarray, state: tuple) -> T:
    tensor = _fill(object.__new__(kind), array)
    tensor.grad, tensor.name, tensor._requires_grad, tensor._retains_grad, released = state
    tensor._entry = autograd.RELEASED if released else None
    return tensor


def array_of(x: Operand) -> Any:
    """The array of an operand, to read and never to write. Python numbers stay as they are, so that they don't widen a
    float32 operand; a single value comes as a NumPy scalar, which computes faster."""
    if isinstance(x, Tensor):
        a = x._data
        return a[()] if type(a) is np.ndarray and not a.ndim else a
    return x if isinstance(x, (int, float)) else to_array(x)


# The one seam: Tensor's methods call the operations, which make Tensors. Everywhere else imports run one way.
from . import autograd, ops, views  # noqa: E402
