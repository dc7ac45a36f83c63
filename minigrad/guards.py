"""The promise about changed arrays: the gradient is right, or ``backward`` says which array was changed.

An entry of the tape saves the arrays that its vjps will need. Were one of them changed between forward and backward
(``w.data -= ...``, an optimizer's step, a write through a view), the gradient would be silently wrong. So an array that
``.data`` hands out is put under watch, if an entry may need it, and ``backward`` first asks whether what its entries
saved is still the same.

A change made through a view (a reshape, a slice) changes other tensors' arrays, too. So what is known of a piece of
memory is kept in a ``Memory``, which a tensor shares with its views and detached copies. One clock numbers entries and
changes: "was this memory changed after that entry was recorded?" compares two numbers.
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


class Memory:
    """What the guard knows of a piece of memory.

    Attributes:
        array: all of it.
        used: when the last entry was recorded that reads or made it.
        changed: when it was last changed in place, as far as we were told.
        snapshot: (when, copy): what it held when it was last handed out while an entry may have needed it.
        formers: the tensor's memories before its array was replaced, as far as entries may still need them.
    """

    __slots__ = ("array", "changed", "formers", "snapshot", "used")

    snapshot: tuple[int, np.ndarray] | None
    formers: tuple[Memory, ...]

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.used, self.changed, self.snapshot, self.formers = array, 0, 0, None, ()


def replaced(tensor: Tensor, array: np.ndarray) -> Memory:
    """The memory of the array that is to take the place of a tensor's."""
    old = tensor._memory
    known = [memory for memory in old.formers if _is_held(memory, owners=0)]
    if _may_be_needed(tensor):
        known.append(old)
    old.formers = ()
    new = next((memory for memory in known if memory.array is array), None) or Memory(array)
    new.formers = tuple(memory for memory in known if memory is not new)
    return new


def mark_changed(tensors: Iterable[Tensor]) -> None:
    """Note that these tensors' arrays have just been changed in place."""
    global last_change
    now = last_change = next(clock)
    for tensor in tensors:
        tensor._memory.changed, tensor._memory.snapshot = now, None


def watch(tensor: Tensor) -> None:
    """Copy an array that is about to be handed out, if an entry may need it, to tell later what became of it."""
    global last_change
    memory = tensor._memory
    if not memory.used or not _may_be_needed(tensor):
        memory.snapshot = None
        return
    if memory.snapshot is not None:
        taken, copy = memory.snapshot
        if taken > memory.used:
            return
        if not _same(memory.array, copy):
            memory.changed = max(memory.changed, taken)  # since then, so entries before that are spoilt
    last_change = next(clock)
    memory.snapshot = (last_change, np.array(memory.array))


def is_watched(memory: Memory) -> bool:
    """Whether a change made now would be noticed without anybody's telling."""
    return memory.snapshot is not None and memory.snapshot[0] > memory.used


def _may_be_needed(tensor: Tensor) -> bool:
    """Whether anybody but the tensor holds its array or a view of it, as an entry does that saved it.

    A training loop changes its weights after ``backward`` has released the tape; nobody holds them then, and there is
    nothing to watch. Views refer to the array that owns the memory, which is the ``base`` of an array that is a view.
    """
    if tensor._data is not tensor._memory.array:  # a view of it, and others may be in use
        return True
    return _is_held(tensor._memory, owners=1)


def _is_held(memory: Memory, owners: int) -> bool:
    """Whether the array or its base has more references than those of the Memory and of its owners."""
    of_array, of_base = _references(memory.array)
    return of_array > _alone + owners or (memory.array.base is not None and of_base > _alone_as_base)


def _references(array: np.ndarray) -> tuple[int, int]:
    return sys.getrefcount(array), sys.getrefcount(array.base)


# Measured, because how many references the calls themselves make differs from one Python to the next.
_example = Memory(np.empty(())[...])
_alone, _alone_as_base = _references(_example.array)


def refuse_changed(tape: list[tuple[Tensor, Entry]], first: int = 1) -> None:
    """Raise RuntimeError if an array that one of the entries saved was changed after it was recorded.

    ``tape`` holds results with their entries, in the order of recording, of which the first has the number ``first``.
    """
    if not tape or last_change < tape[0][1].number:
        return
    for position, (result, entry) in enumerate(tape, first):
        for x in (*entry.inputs, result):
            memory = getattr(x, "_memory", None)
            if memory is not None and any(_changed_since(entry.number, memory, array) for array in entry.saved):
                raise RuntimeError(
                    f"{x.label} was changed in place after entry {position} of the tape ({entry.op}) was recorded, "
                    "and that entry needs its old values for the gradient: call backward() before changing it, or "
                    "compute the result again"
                )


def _changed_since(number: int, memory: Memory, saved: Any) -> bool:
    """Whether a saved array lies in this memory, and was changed after the entry of that number was recorded."""
    if any(_changed_since(number, former, saved) for former in memory.formers):
        return True
    if not isinstance(saved, np.ndarray) or not np.may_share_memory(saved, memory.array):
        return False
    if memory.changed > number or memory.snapshot is None:
        return memory.changed > number
    taken, copy = memory.snapshot
    return taken > number and not _same(*_own_part(saved, memory.array, copy))


def _own_part(own: np.ndarray, whole: np.ndarray, copy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``own`` and the same view of the copy of ``whole``; these two themselves, where there is no such view.

    So a change in one column of a matrix doesn't spoil what was computed from another.
    """
    (low, high), (first, last) = np.lib.array_utils.byte_bounds(own), np.lib.array_utils.byte_bounds(whole)
    if not (first <= low and high <= last and whole.flags.forc):
        return whole, copy
    buffer = copy if whole.flags.c_contiguous else copy.T
    offset = own.__array_interface__["data"][0] - first
    return own, np.ndarray(own.shape, own.dtype, buffer, offset, own.strides)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same bits: nan equals nan, and 0 differs from -0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = {2: np.uint16, 4: np.uint32, 8: np.uint64}.get(a.itemsize)
    return bool((a.view(bits) == b.view(bits)).all()) if bits else np.array_equal(a, b, equal_nan=True)
