"""Tensor: an array, its gradient, and its place on the tape. No calculus here.

The calculus is in ``minigrad.ops``, the walk backwards in ``minigrad.tape``; ``minigrad.methods``
hangs both on the class, so that this file depends on NumPy alone.
"""

from __future__ import annotations

import itertools
import sys
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
        start(self, to_array(data, dtype))
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
        as_array(self)
        watch(owner_of(self))
        return self._data

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if value is self._data:  # `w.data -= step` ends here; .data has put the array under watch, if it is needed
            if self._snapshot is None or self._snapshot[0] < self._used:
                mark_changed([self])
            return
        array = to_array(value._data if isinstance(value, Tensor) else value, self.dtype)
        if array.shape != self.shape:
            raise ValueError(
                f"{describe(self)}.data takes an array of shape {self.shape}, got {array.shape}: "
                "make a new Tensor for another shape"
            )
        self._data, self._owner, self._snapshot = array, None, None

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
        """The one value as a Python number, which has no gradient. Raises ValueError if there isn't exactly one."""
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
                f"NumPy was given {describe(self)}, and its result would have no gradient: use minigrad's function of "
                "that name (minigrad.stack joins a list of tensors), or .data where no gradient is wanted"
            )
        return np.array(self.data, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of {describe(self)} is ambiguous, it has {self.size} values: "
                "ask with .data, as in (t.data > 0).all() or .any()"
            )
        return bool(self._data)

    def __float__(self) -> float:
        """The one value as a Python float, which has no gradient: neither has ``math.exp(t)``, which asks for it."""
        return float(self.item())

    def __format__(self, spec: str) -> str:
        """``f"{loss:.3f}"`` of a single value; without a format, any tensor as ``str`` shows it."""
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"the format '{spec}' is for one value, and {describe(self)} has {self.size}: use .data")
        return format(self.item(), spec)

    def __setitem__(self, index: object, value: object) -> None:
        raise TypeError(
            f"{describe(self)} can't be assigned to, the tape would not see it: "
            "t.data[index] = value changes a leaf before it is used; minigrad.where(mask, value, t) makes a new tensor"
        )

    def __copy__(self) -> Tensor:
        """A second tensor on the same memory and at the same place of the tape, with a gradient of its own."""
        result = start(type(self).__new__(type(self)), as_array(self))
        result.name, result._entry, result._owner, result._used = self.name, self._entry, owner_of(self), self._used
        result._requires_grad, result._retains_grad = self._requires_grad, self._retains_grad
        result.grad = None if self.grad is None else self.grad.copy()
        return result

    def __reduce__(self) -> tuple:
        """For ``copy.deepcopy`` and ``pickle``: everything but the tape, which neither can take along."""
        if self._entry is not None and self._entry is not RELEASED:
            raise TypeError(
                f"{describe(self)} was computed from others, and its tape can't be copied: copy or pickle .detach()"
            )
        state = self.grad, self.name, self._requires_grad, self._retains_grad, self._entry is RELEASED
        return _remake, (type(self), as_array(self), state)

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


def _remake(kind: type[Tensor], array: np.ndarray, state: tuple) -> Tensor:
    tensor = start(kind.__new__(kind), array)
    tensor.grad, tensor.name, tensor._requires_grad, tensor._retains_grad, released = state
    tensor._entry = RELEASED if released else None
    return tensor


class _Released:
    """Takes the place of an entry that ``backward`` has used. There is one, also after pickling."""

    def __repr__(self) -> str:
        return "RELEASED"


RELEASED = _Released()


def to_array(value: ArrayLike, dtype: DTypeLike | None = None) -> np.ndarray:
    """``np.asarray`` for what a Tensor can hold.

    Raises:
        TypeError: complex numbers, objects, texts, dates, or masked arrays, whose mask would be lost.
    """
    masked = np.ma.MaskedArray
    if isinstance(value, masked) or (isinstance(value, (list, tuple)) and any(isinstance(v, masked) for v in value)):
        raise TypeError("a masked array would lose its mask here: give array.filled(value), or the values that count")
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"tensors hold real numbers or booleans, not {array.dtype}")
    return array if dtype is None else np.asarray(value, dtype)


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
        owner = tensor if tensor._owner is None else owner_of(tensor)
        owner._changed, owner._snapshot = now, None


def watch(owner: Tensor) -> None:
    """Copy an array that is about to be handed out, so that ``changed_since`` can tell what became of it."""
    if not owner._used or not _is_held(owner):
        owner._snapshot = None
        return
    if owner._snapshot is not None:
        taken, copy = owner._snapshot
        if taken > owner._used:
            return
        if not _same(owner._data, copy):
            owner._changed = max(owner._changed, taken)  # since then, so entries before that are spoilt
    Tensor.last_change = next(clock)
    owner._snapshot = (Tensor.last_change, np.array(owner._data))


def _is_held(owner: Tensor) -> bool:
    """Whether anything but the tensor itself may hold its array or a view of it, such as an entry of a tape.

    A training loop changes its weights after ``backward`` has released the tape; nobody holds them then, and there is
    nothing to watch. Views refer to the array that owns the memory, so of an array that is a view itself the count
    would say nothing.
    """
    return owner._data.base is not None or sys.getrefcount(owner._data) > _ALONE


_sample = Tensor(np.empty(0))
_ALONE = sys.getrefcount(_sample._data)  # measured, because how many references a call itself makes differs by Python


def changed_since(tensor: Tensor, number: int) -> bool:
    """Whether a tensor's array was changed in place after the entry of that number was recorded."""
    owner = owner_of(tensor)
    if owner._changed > number or owner._snapshot is None:
        return owner._changed > number
    taken, copy = owner._snapshot
    return taken > number and not _same(*_own_part(tensor._data, owner._data, copy))


def _own_part(own: np.ndarray, whole: np.ndarray, copy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A view of ``whole`` and the same view of its copy; both themselves, where their layouts differ."""
    (low, high), (first, last) = np.lib.array_utils.byte_bounds(own), np.lib.array_utils.byte_bounds(whole)
    buffer = copy if whole.flags.c_contiguous else copy.T
    if own is whole or not (first <= low and high <= last and whole.flags.forc and buffer.flags.c_contiguous):
        return whole, copy
    offset = own.__array_interface__["data"][0] - first
    return own, np.ndarray(own.shape, own.dtype, buffer, offset, own.strides)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of one dtype hold the same bits: nan equals nan, and 0 differs from -0."""
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}.get(a.itemsize)
    return np.array_equal(a.view(bits), b.view(bits)) if bits else np.array_equal(a, b, equal_nan=True)
