"""Tensor: an array, its gradient, and its place on the tape. No calculus here.

The calculus is in ``minigrad.ops``, the walk backwards in ``minigrad.tape``; ``minigrad.methods``
hangs both on the class, so that this file depends on NumPy alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

# One clock numbers the tape's entries and the changes made to arrays, so "was this array changed
# after that entry was recorded?" is a comparison of two numbers.
clock = itertools.count(1)


class Tensor:
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

    __slots__ = (
        "_data",
        "grad",
        "_requires_grad",
        "name",
        "_entry",  # the tape entry that computed this tensor; None for one that was made by hand
        "_retains_grad",
        "_owner",  # the tensor whose memory this one views; None if the memory is its own
        "_used",  # clock: when the last entry was recorded that reads or made this array
        "_changed",  # clock: when the array was last changed in place
        "_snapshot",  # (clock, copy): what the array held when .data handed it out while in use
        "__weakref__",
    )

    # Makes `ndarray + Tensor` call Tensor.__radd__, instead of NumPy treating the Tensor as an object.
    __array_ufunc__ = None

    last_change = 0  # clock: the latest in-place change, or chance of one, of any tensor

    def __init__(
        self,
        data: ArrayLike,
        requires_grad: bool = False,
        dtype: DTypeLike | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(data, Tensor):
            raise TypeError("Tensor(data) got a Tensor, which would cut it off the tape: use it as it is, or .detach()")
        array = np.asarray(data, dtype=dtype)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"a Tensor holds real numbers or booleans, not {array.dtype}")
        start(self, array)
        self.name = name
        self.requires_grad = requires_grad

    @property
    def data(self) -> np.ndarray:
        """The array itself, not a copy: ``w.data -= 0.1 * w.grad`` updates ``w``.

        Changing it between forward and backward, while a recorded entry still needs the old values,
        makes ``backward`` raise. What escapes that watch: a change made after the forward pass through an alias
        taken *before* it (the array given to ``Tensor(...)``, an earlier ``.data``, or a plain array used as an
        operand), and a change to an array that is then replaced (``w.data = other``). Replacing alone is harmless:
        the entry keeps the old array.
        """
        array = as_array(self)
        owner = owner_of(self)
        if owner._used:
            watch(owner)
        return array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if value is self._data:  # `w.data -= step` ends here: the array was changed in place
            mark_changed([self])
            return
        array = np.asarray(value._data if isinstance(value, Tensor) else value, dtype=self.dtype)
        if array.shape != self.shape:
            raise ValueError(
                f"{describe(self)}.data takes an array of shape {self.shape}, got {array.shape}: "
                "make a new Tensor for another shape"
            )
        self._data, self._owner = array, None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded, and a gradient reaches it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag and self.dtype.kind != "f":
            raise TypeError(
                f"only floating-point tensors have gradients, and {describe(self)} is {self.dtype}: "
                "give dtype=np.float64, or floats in place of integers"
            )
        if self._entry is not None and not flag:
            raise RuntimeError(f"{describe(self)} was computed from tensors that require gradients: use .detach()")
        self._requires_grad = bool(flag)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of values."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the values, and of the gradient."""
        return self._data.dtype

    def item(self) -> float:
        """The one value as a Python number. Raises ValueError if there isn't exactly one."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one value, and {describe(self)} has {self.size}")
        return self._data.item()

    def numpy(self) -> np.ndarray:
        """The array, the same as ``data``: no copy, and no gradient travels through it."""
        return self.data

    def detach(self) -> Tensor:
        """A tensor on the same memory, off the tape: a constant, whatever it was computed from."""
        result = start(Tensor.__new__(Tensor), as_array(self))
        result.name = self.name
        result._owner = owner_of(self)
        return result

    def zero_grad(self) -> None:
        """Forget the accumulated gradient: ``grad`` becomes None."""
        self.grad = None

    def retain_grad(self) -> None:
        """Keep ``grad`` also for this intermediate result; without it, only leaves have one."""
        if not self._requires_grad:
            raise RuntimeError(f"retain_grad(): no gradient reaches {describe(self)}, it does not require one")
        self._retains_grad = True

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if self._requires_grad:
            raise TypeError(
                f"NumPy was given {describe(self)}, and its result would have no gradient: "
                "use minigrad's function of that name, or .data where no gradient is wanted"
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __array_function__(self, function, types, args, kwargs):
        """``np.mean(t)`` and the like: computed as NumPy does for constants, refused where a gradient would be lost."""
        if self._requires_grad:
            raise TypeError(
                f"np.{function.__name__} got {describe(self)}, and its result would have no gradient: use minigrad's "
                "function or method of that name, such as t.mean(), or .data where no gradient is wanted"
            )
        return function(*[_plain(value) for value in args], **{name: _plain(value) for name, value in kwargs.items()})

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __repr__(self) -> str:
        shown = np.array2string(np.asarray(self._data), prefix="Tensor(", separator=", ")
        if self.dtype not in (np.float64, np.int64, np.bool_):
            shown += f", dtype={self.dtype}"
        if self._requires_grad:
            shown += ", requires_grad=True"
        return f"Tensor({shown}{f', name={self.name!r}' if self.name else ''})"


def start(tensor: Tensor, array: np.ndarray) -> Tensor:
    """Give a new tensor its array and every other slot its initial value."""
    tensor._data = array
    tensor.grad = tensor.name = tensor._entry = tensor._owner = tensor._snapshot = None
    tensor._requires_grad = tensor._retains_grad = False
    tensor._used = tensor._changed = 0
    return tensor


def _plain(value):
    """A Tensor's array; so for each Tensor in a list or tuple."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return np.asarray(value) if isinstance(value, Tensor) else value


def describe(tensor: Tensor) -> str:
    """What an error message calls a tensor: its name, or its kind and shape."""
    return f"tensor '{tensor.name}'" if tensor.name else f"a tensor of shape {tensor.shape}"


# The rest guards the tape against arrays that change under it. It looks at the owner of the memory, because a
# change made through a view (a reshape, a slice) changes the owner as well.


def owner_of(tensor: Tensor) -> Tensor:
    """The tensor whose memory this one views, or itself."""
    owner = tensor._owner
    return tensor if owner is None or not np.may_share_memory(owner._data, tensor._data) else owner


def as_array(tensor: Tensor) -> np.ndarray:
    """The tensor's array. A result may start as a NumPy scalar, which computes faster; nobody outside sees that."""
    if not isinstance(tensor._data, np.ndarray):
        tensor._data = np.asarray(tensor._data)
    return tensor._data


def mark_changed(tensors: Iterable[Tensor]) -> None:
    """Note that these tensors' arrays have just been changed in place."""
    now = Tensor.last_change = next(clock)
    for tensor in tensors:
        (tensor if tensor._owner is None else owner_of(tensor))._changed = now


def watch(owner: Tensor) -> None:
    """Copy an array that is about to be handed out, so that ``changed_since`` can tell what became of it."""
    if owner._snapshot is not None:
        taken, copy = owner._snapshot
        if taken > owner._used:
            return
        if not _same(owner._data, copy):
            owner._changed = max(owner._changed, taken)  # since then, so entries before that are spoilt
    Tensor.last_change = next(clock)
    owner._snapshot = (Tensor.last_change, np.array(owner._data))


def changed_since(tensor: Tensor, number: int) -> bool:
    """Whether a tensor's array was changed in place after the entry of that number was recorded."""
    owner = owner_of(tensor)
    if owner._changed > number or owner._snapshot is None:
        return owner._changed > number
    taken, copy = owner._snapshot
    return taken > number and not _same(owner._data, copy)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
