"""The promise about changed arrays: the gradient is right, or ``backward`` says which array was changed.

An entry of the tape saves the arrays that its vjps will need. Were one of them changed between forward and backward
(``w.data -= ...``, an optimizer's step, a write through a view), the gradient would be silently wrong. So every array
that leaves a tensor is put under watch, and ``backward`` first asks whether what its entries saved is still the same.

One clock numbers the tape's entries and the changes, so "was this array changed after that entry was recorded?"
compares two numbers. A change made through a view (a reshape, a slice) changes the memory of another tensor, its
*owner*, so all that is known of a piece of memory is kept with the owner:

``_used``      when the last entry was recorded that reads or made the array
``_changed``   when the array was last changed in place, as far as we were told
``_snapshot``  (when, copy): what the array held when it was last handed out while an entry may have needed it
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .autograd import Entry
    from .tensor import Tensor

clock = itertools.count(1)
last_change = 0  # when any array was changed or handed out last: no tape recorded since then needs a closer look


def owner_of(tensor: Tensor) -> Tensor:
    """The tensor whose memory this one views, or itself."""
    owner = tensor._owner
    return tensor if owner is None or not np.may_share_memory(owner._data, tensor._data) else owner


def note_use(number: int, result: Tensor, inputs: tuple[Any, ...]) -> None:
    """Note that the entry of this number makes the result's array and reads those of the inputs."""
    result._used = number
    for x in inputs:
        if hasattr(x, "_used"):
            x._used = number
            if x._owner is not None:
                x._owner._used = number


def mark_changed(tensors: Iterable[Tensor]) -> None:
    """Note that these tensors' arrays have just been changed in place."""
    global last_change
    now = last_change = next(clock)
    for tensor in tensors:
        owner = tensor if tensor._owner is None else owner_of(tensor)
        owner._changed, owner._snapshot = now, None


def watch(tensor: Tensor) -> None:
    """Copy an array that is about to be handed out, if an entry may need it, to tell later what became of it."""
    global last_change
    owner = owner_of(tensor)
    if not owner._used or not _is_held(owner):
        owner._snapshot = None
        return
    if owner._snapshot is not None:
        taken, copy = owner._snapshot
        if taken > owner._used:
            return
        if not _same(owner._data, copy):
            owner._changed = max(owner._changed, taken)  # since then, so entries before that are spoilt
    last_change = next(clock)
    owner._snapshot = (last_change, np.array(owner._data))


def is_watched(tensor: Tensor) -> bool:
    """Whether ``changed_since`` would notice by itself a change made now."""
    return tensor._snapshot is not None and tensor._snapshot[0] > tensor._used


def _is_held(owner: Tensor) -> bool:
    """Whether anything but the tensor itself holds its array or a view of it, as an entry that saved it does.

    A training loop changes its weights after ``backward`` has released the tape; nobody holds them then, and there is
    nothing to watch. Views refer to the array that owns the memory, so of an array that is a view itself the count
    would say nothing.
    """
    return owner._data.base is not None or sys.getrefcount(owner._data) > _alone


class _Sample:
    _data = np.empty(0)


_sample = _Sample()
_alone = sys.getrefcount(_sample._data)  # measured: how many references the call itself makes differs by Python


def refuse_changed(tape: list[tuple[Tensor, Entry]], first: int = 1) -> None:
    """Raise RuntimeError if an array that one of the entries saved was changed after it was recorded.

    ``tape`` holds results with their entries, in the order of recording, of which the first has the number ``first``.
    """
    if not tape or last_change < tape[0][1].number:
        return
    for position, (result, entry) in enumerate(tape, first):
        for x in (*entry.inputs, result):
            if hasattr(x, "_owner") and changed_since(x, entry.number) and _saved(entry, x._data):
                raise RuntimeError(
                    f"{x.label} was changed in place after entry {position} of the tape ({entry.op}) was recorded, "
                    "and that entry needs its old values for the gradient: call backward() before changing it, or "
                    "compute the result again"
                )


def _saved(entry: Entry, array: np.ndarray) -> bool:
    return any(isinstance(kept, np.ndarray) and np.may_share_memory(kept, array) for kept in entry.saved)


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
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}.get(a.itemsize)
    return np.array_equal(a.view(bits), b.view(bits)) if bits else np.array_equal(a, b, equal_nan=True)
