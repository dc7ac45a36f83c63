"""What automatic differentiation is: record what is computed, and read it in reverse to get gradients.

An operation on tensors that require gradients is *recorded*: its result carries an ``Entry`` that says which operation
it was, on which inputs, and for each input its vector-Jacobian product (vjp), the function that turns the gradient of
the result into that input's gradient. ``backward`` collects the entries that a result depends on, its *tape*, and walks
through them in reverse. That is the chain rule: a tensor's gradient is the sum of what all its uses send back.

An entry belongs to the tensor that it computed and knows only its inputs, so there are no reference cycles, and a tape
that nobody holds is freed at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import errors, guards
from .interop import to_array
from .tensor import Tensor, new_tensor

Vjp = Callable[..., np.ndarray]
F = TypeVar("F", bound=Callable)

# How many no_grad are open. A context variable is a thread's own, and an asynchronous task's own, too.
_paused: ContextVar[int] = ContextVar("paused", default=0)


class no_grad(contextlib.ContextDecorator):  # lower case, because it reads as a statement: with no_grad():
    """Record nothing, in this thread: a context manager, and a decorator.

    >>> with no_grad():
    ...     accuracy = (model(x).data.argmax(1) == labels).mean()
    """

    def __call__(self, function: F) -> F:
        return super().__call__(errors.run_when_called(function))

    def __enter__(self) -> None:
        _paused.set(_paused.get() + 1)

    def __exit__(self, *exception: object) -> None:
        _paused.set(_paused.get() - 1)


def recording() -> bool:
    """Whether this thread is recording now, that is, not inside ``no_grad``."""
    return _paused.get() <= 0


class Entry:
    """One line of the tape.

    Attributes:
        op: the operation's name.
        inputs: the operands in order, Tensors or constants.
        needs: for each input, whether its gradient is wanted. A gradient that nobody needs isn't computed.
        vjps: for each input the function ``vjp(g, *saved)``, which turns the gradient of the result into that of the
            input; None for an input that gets none. Or one function ``vjp(g, needs, *saved)`` that returns them all.
        saved: the arrays that the vjps need.
        rule: the vjps in words, ``g`` being the gradient of the result.
        number: its place in the order of recording.
    """

    __slots__ = ("op", "inputs", "needs", "vjps", "saved", "rule", "number")

    def __init__(self, op: str, inputs: tuple, needs: list[bool], vjps: Any, saved: tuple, rule: str) -> None:
        self.op, self.inputs, self.needs, self.vjps = op, inputs, needs, vjps
        self.saved, self.rule, self.number = saved, rule, next(guards.clock)

    def __repr__(self) -> str:
        return f"Entry({self.number}: {self.op}, {self.rule})"

    def pull_back(self, g: np.ndarray) -> list[tuple[Tensor, np.ndarray]]:
        """Each input that needs a gradient, with the gradient that this entry sends it."""
        sent = []
        for x, need, vjp in zip(self.inputs, self.needs, self._vjp_of_each(g)):
            if need:
                d = vjp(g, *self.saved)
                if not isinstance(d, ARRAY) or d.shape != x._data.shape or d.dtype is not x._data.dtype:
                    d = self._fit(d, x, g.ndim)
                sent.append((x, d))
        return sent

    def _vjp_of_each(self, g: np.ndarray) -> Sequence[Vjp]:
        """A function for each input: its own, or what returns its part of the gradients that one function computed."""
        if type(self.vjps) is tuple:
            return self.vjps
        ds = list(self.vjps(g, self.needs, *self.saved))
        if len(ds) != len(self.inputs):
            raise errors.not_as_many(self.op, len(self.inputs), len(ds))
        if len({*map(id, ds)}) < len(ds):  # one array for two inputs, whose gradients shall be independent
            ds = [d if d is None else np.array(d) for d in ds]
        return [lambda g, *saved, d=d: d for d in ds]

    def _fit(self, d: Any, x: Tensor, ndim: int) -> np.ndarray:
        """The gradient in its input's shape and dtype; ValueError or TypeError if the vjp returned something else."""
        if not isinstance(d, ARRAY) or d.dtype.kind not in "fiub" or not _could_stretch(x.shape, d.shape, ndim):
            raise errors.no_gradient_of(self.op, [other is x for other in self.inputs].index(True), x.shape, d)
        return np.asarray(unbroadcast(d, x.shape), x.dtype)


RELEASED = Entry("released", (), [], (), (), "takes the place of an entry that backward() has used")
ARRAY = (np.ndarray, np.generic)  # of single values NumPy makes scalars


def record(
    op: str, value: np.ndarray, inputs: tuple, vjps: Any, rule: str, saved: tuple, view_of: Any = None
) -> Tensor:
    """The result of an operation as a Tensor, with its tape entry if any input requires a gradient.

    For the arguments see ``minigrad.extend.record``, which checks them.
    """
    result = new_tensor(value)
    if isinstance(view_of, Tensor) and np.may_share_memory(value, view_of._data):
        result._memory = view_of._memory
    if _paused.get() <= 0:
        each = vjps if type(vjps) is tuple else [vjps] * len(inputs)
        needs = [isinstance(x, Tensor) and x._requires_grad and vjp is not None for x, vjp in zip(inputs, each)]
        if True in needs:
            result._entry, result._requires_grad = Entry(op, inputs, needs, vjps, saved, rule), True
            for x in (*inputs, result):
                if isinstance(x, Tensor):
                    x._memory.used = result._entry.number
    return result


def _could_stretch(shape: tuple[int, ...], stretched: tuple[int, ...], ndim: int) -> bool:
    """Whether broadcasting can have made the second shape of the first, in a result of ``ndim`` axes."""
    fits = all(n in (1, length) for n, length in zip(shape[::-1], stretched[::-1]))
    return fits and len(shape) <= len(stretched) <= max(ndim, len(shape))


def unbroadcast(d: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Sum a gradient down to the shape that broadcasting stretched.

    Forward, every copy of a stretched value took part in the result; so its gradient is the sum over the copies.
    """
    extra = d.ndim - len(shape)
    stretched = tuple(range(extra)) + tuple(i + extra for i, length in enumerate(shape) if length == 1)
    return d.sum(stretched, dtype=np.float32 if d.dtype.char == "e" else None).reshape(shape)  # float16 would overflow


def tape_of(result: Tensor) -> list[tuple[Tensor, Entry]]:
    """The computed tensors that ``result`` depends on, itself included, with their entries, in the order of recording.

    Raises:
        RuntimeError: a part of the tape was released by an earlier ``backward``, or an array that
            an entry still needs has been changed since.
    """
    found, seen = [], {id(result)}
    todo = [(result, result._entry)] if result._entry is not None else []
    while todo:
        tensor, entry = todo.pop()
        if entry is RELEASED:
            raise errors.used_tape(tensor.label)
        found.append((tensor, entry))
        for x, need in zip(entry.inputs, entry.needs):
            if need and x._entry is not None and id(x) not in seen:
                seen.add(id(x))
                todo.append((x, x._entry))
    found.sort(key=lambda pair: pair[1].number)
    guards.refuse_changed(found)
    return found


def walk(tape: list[tuple[Tensor, Entry]], arrived: dict[Tensor, np.ndarray]) -> Iterator[tuple[Tensor, Any, list]]:
    """Read a tape in reverse, and use it up.

    ``arrived`` is for each tensor the sum of the gradients that were sent to it so far: in the beginning the last
    result's, in the end the leaves'. Whoever used a tensor was recorded after it; so when the walk comes to a result,
    its gradient is complete. Yields for each entry the result, its gradient, and what the entry sends: a list of
    (input, gradient).
    """
    while tape:
        tensor, entry = tape.pop()
        if guards.last_change > entry.number:  # an array may have been changed since the walk began
            guards.refuse_changed([(tensor, entry)], len(tape) + 1)
        g = arrived.pop(tensor)
        sent = entry.pull_back(g)
        for x, d in sent:
            if x in arrived:
                d = arrived[x] + d  # not +=: the array may be shared
            elif x._entry is None and id(d) in map(id, (g, *entry.saved)):
                d = d.copy()  # a leaf keeps it, so nobody else may
            arrived[x] = d
        yield tensor, g, sent


def first_gradient(result: Tensor, gradient: ArrayLike | None) -> np.ndarray:
    """The gradient that the walk starts with: ones for a single value, otherwise what the caller gave."""
    if not result._requires_grad:
        raise errors.no_gradient_here(result.label)
    if gradient is None:
        if result.size != 1:
            raise errors.several_values(result.label, result.size)
        return np.ones(result.shape, result.dtype)
    g = to_array(gradient._data if isinstance(gradient, Tensor) else gradient, result.dtype)
    if g.shape != result.shape:
        raise ValueError(f"backward(gradient) on {result.label} takes shape {result.shape}, got {g.shape}")
    return g if result._entry is not None else g.copy()  # a leaf keeps it


def accumulate(tensor: Tensor, g: np.ndarray) -> None:
    """Add to a tensor's ``grad`` a gradient that nobody else will change; ``grad`` has memory of its own."""
    if tensor.grad is not None:
        tensor.grad += g
    else:
        as_it_is = isinstance(g, np.ndarray) and g.base is None and g.dtype is tensor._data.dtype
        tensor.grad = g if as_it_is else np.array(g, tensor.dtype)


def backward(result: Tensor, gradient: ArrayLike | None = None) -> None:
    """Add to the ``grad`` of every leaf below ``result`` the gradient of ``sum(gradient * result)``.

    Leaves are the tensors made by hand with ``requires_grad=True``; intermediate results keep theirs
    only after ``retain_grad``. The tape is released on the way: a second ``backward`` through the same
    entries raises, as in PyTorch.

    Args:
        gradient: an array of ``result``'s shape; may be left out if ``result`` has one value, and is then 1.

    Raises:
        RuntimeError: ``result`` requires no gradient, or has several values and no gradient was given;
            its tape was released; or an array was changed in place that an entry still needs.
        ValueError: ``gradient`` has another shape than ``result``.
    """
    arrived = {result: first_gradient(result, gradient)}
    tape = tape_of(result)
    for tensor, g, _ in walk(tape, arrived):
        tensor._entry = RELEASED
        if tensor._retains_grad:
            accumulate(tensor, g.copy())
    for leaf, g in arrived.items():
        accumulate(leaf, g)
