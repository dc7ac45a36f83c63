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
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import guards
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
        kinds = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
        if any(is_kind(function) for is_kind in kinds):
            advice = "write `with no_grad():` inside it"
            raise TypeError(f"@no_grad() on a generator or asynchronous function would end before its body: {advice}")
        return super().__call__(function)

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
            input; None for an input that gets none.
        saved: the arrays that the vjps need.
        rule: the vjps in words, ``g`` being the gradient of the result.
        number: its place in the order of recording.
    """

    __slots__ = ("op", "inputs", "needs", "vjps", "saved", "rule", "number")

    def __init__(self, op: str, inputs: tuple, needs: list[bool], vjps: tuple, saved: tuple, rule: str) -> None:
        self.op, self.inputs, self.needs, self.vjps = op, inputs, needs, vjps
        self.saved, self.rule, self.number = saved, rule, next(guards.clock)

    def __repr__(self) -> str:
        return f"Entry({self.number}: {self.op}, {self.rule})"

    def pull_back(self, g: np.ndarray) -> list[tuple[Tensor, np.ndarray]]:
        """Each input that needs a gradient, with the gradient that this entry sends it."""
        sent = []
        for x, need, vjp in zip(self.inputs, self.needs, self.vjps):
            if need:
                d = vjp(g, *self.saved)
                if not isinstance(d, ARRAY) or d.shape != x._data.shape or d.dtype is not x._data.dtype:
                    d = self._fit(d, x, g.ndim)
                sent.append((x, d))
        return sent

    def _fit(self, d: Any, x: Tensor, ndim: int) -> np.ndarray:
        """The gradient in its input's shape and dtype; ValueError or TypeError if the vjp returned something else."""
        real = isinstance(d, ARRAY) and d.dtype.kind in "fiub"
        lengths = zip(x.shape[::-1], d.shape[::-1]) if real else ()
        if not real or not x.ndim <= d.ndim <= max(ndim, x.ndim) or any(n not in (1, length) for n, length in lengths):
            position = next(i for i, other in enumerate(self.inputs) if other is x)
            wanted = f"the vjp of '{self.op}' must return real numbers of shape {x.shape} for input {position}"
            got = f"shape {d.shape}" if real else d.dtype if isinstance(d, ARRAY) else type(d).__name__
            raise (ValueError if real else TypeError)(f"{wanted}, got {got}")
        return np.asarray(unbroadcast(d, x.shape), x.dtype)


RELEASED = Entry("released", (), [], (), (), "takes the place of an entry that backward() has used")
ARRAY = (np.ndarray, np.generic)  # of single values NumPy makes scalars


def record(
    op: str, value: np.ndarray, inputs: tuple, vjps: tuple, rule: str, saved: tuple, view_of: Any = None
) -> Tensor:
    """The result of an operation as a Tensor, with its tape entry if any input requires a gradient.

    For the arguments see ``minigrad.extend.record``, which checks them.
    """
    result = new_tensor(value)
    if isinstance(view_of, Tensor) and np.may_share_memory(value, view_of._data):
        result._memory = view_of._memory
    if _paused.get() <= 0:
        needs = [isinstance(x, Tensor) and x._requires_grad and vjp is not None for x, vjp in zip(inputs, vjps)]
        if True in needs:
            result._entry, result._requires_grad = Entry(op, inputs, needs, vjps, saved, rule), True
            for x in (*inputs, result):
                if isinstance(x, Tensor):
                    x._memory.used = result._entry.number
    return result


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
            advice = "compute it again, or add up the losses and call backward() once"
            raise RuntimeError(f"the tape of {tensor.label} was already used by backward() and released: {advice}")
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
            elif x._entry is None and (d is g or any(d is kept for kept in entry.saved)):
                d = d.copy()  # a leaf keeps it, so nobody else may
            arrived[x] = d
        yield tensor, g, sent


def first_gradient(result: Tensor, gradient: ArrayLike | None) -> np.ndarray:
    """The gradient that the walk starts with: ones for a single value, otherwise what the caller gave."""
    who = f"backward() on {result.label}, which"
    if not result._requires_grad:
        advice = "give a parameter requires_grad=True, and compute the result outside no_grad()"
        raise RuntimeError(f"{who} depends on nothing that requires a gradient: {advice}")
    if gradient is None:
        if result.size != 1:
            advice = "give backward(gradient) the weight of each, or reduce it to one value first, with sum() or mean()"
            raise RuntimeError(f"{who} has {result.size} values: {advice}")
        return np.ones(result.shape, result.dtype)
    g = to_array(gradient._data if isinstance(gradient, Tensor) else gradient, result.dtype)
    if g.shape != result.shape:
        raise ValueError(f"backward(gradient) on {result.label} takes shape {result.shape}, got {g.shape}")
    return g


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
    if not tape:
        arrived[result] = arrived[result].copy()
    for tensor, g, _ in walk(tape, arrived):
        tensor._entry = RELEASED
        if tensor._retains_grad:
            accumulate(tensor, g.copy())
    for leaf, g in arrived.items():
        accumulate(leaf, g)
