"""The tape: recording what is computed, and reading it in reverse to get gradients.

An operation on tensors that require gradients is *recorded*: its result carries an ``Entry`` that
says which operation it was, on which inputs, and how a gradient of the result becomes gradients of
the inputs. ``backward`` collects the entries that a result depends on and reads them in reverse.

An entry belongs to the tensor that it computed and knows only its inputs, so there are no reference
cycles, and a tape that nobody holds is freed at once.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from operator import attrgetter
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .tensor import RELEASED, Tensor, changed_since, clock, describe, owner_of, start, to_array

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from .views.text import Step


# How many no_grad are open here. A context variable is a thread's own, and an asynchronous task's own, too.
_paused: ContextVar[int] = ContextVar("paused", default=0)


class no_grad(contextlib.ContextDecorator):  # lower case, because it reads as a statement: with no_grad():
    """Record nothing, in this thread: a context manager, and a decorator.

    >>> with no_grad():
    ...     accuracy = (model(x).data.argmax(1) == labels).mean()
    """

    def __call__(self, function: Callable) -> Callable:
        if (
            inspect.isgeneratorfunction(function)
            or inspect.iscoroutinefunction(function)
            or inspect.isasyncgenfunction(function)
        ):
            raise TypeError(
                "@no_grad() on a generator or an asynchronous function would end before its body runs: "
                "write `with no_grad():` inside it"
            )
        return super().__call__(function)

    def __enter__(self) -> None:
        _paused.set(_paused.get() + 1)

    def __exit__(self, *exception: object) -> None:
        _paused.set(_paused.get() - 1)


def recording() -> bool:
    """Whether this thread is recording now, that is, not inside ``no_grad``."""
    return not _paused.get()


class Entry:
    """One line of the tape.

    Attributes:
        number: its place in the order of recording.
        op: the operation's name.
        inputs: the operands in order, Tensors or constants.
        needs: for each input, whether a gradient is wanted. A gradient nobody needs isn't computed.
        vjp: the vector-Jacobian product. Either one function for each input, from the gradient of the
            result to that input's gradient, or one function ``vjp(g, needs)`` that returns them all.
            It never writes to ``g``, and returns ``g``, a view of it, or an array that it doesn't keep.
        rule: the vjp in words, ``g`` being the gradient of the result.
    """

    __slots__ = ("number", "op", "inputs", "needs", "vjp", "rule")

    def __repr__(self) -> str:
        return f"Entry({self.number}: {self.op}, {self.rule})"

    def send(self, g: np.ndarray) -> list[tuple[Tensor, np.ndarray]]:
        """Each input that needs a gradient, with the gradient that this entry sends it."""
        together = None if type(self.vjp) is tuple else self.vjp(g, self.needs)
        sent = []
        for i, need in enumerate(self.needs):
            if need:
                x = self.inputs[i]
                d = self.vjp[i](g) if together is None else together[i]
                array = x._data
                if not isinstance(d, _ARRAY) or d.shape != array.shape:
                    d = self._fit(i, d)
                if d.dtype is not array.dtype:
                    d = self._converted(i, d)
                if together is not None:
                    for _, other in sent:
                        if d is other:
                            d = d.copy()
                sent.append((x, d))
        return sent

    def _fit(self, i: int, d: np.ndarray) -> np.ndarray:
        """Sum the gradient for input ``i`` back to its shape, or say that the vjp returned something else."""
        shape = self.inputs[i]._data.shape
        if not isinstance(d, _ARRAY):
            raise self._wrong(i, f"an array of shape {shape}", type(d).__name__)
        extra = d.ndim - len(shape)
        if extra < 0 or any(n not in (1, length) for n, length in zip(shape, d.shape[extra:], strict=True)):
            raise self._wrong(i, f"an array of shape {shape}", f"shape {d.shape}")
        return unbroadcast(d, shape)

    def _converted(self, i: int, d: np.ndarray) -> np.ndarray:
        """The gradient for input ``i`` in its dtype."""
        if d.dtype.kind not in "fiub":
            raise self._wrong(i, "real numbers", str(d.dtype))
        return d.astype(self.inputs[i]._data.dtype)

    def _wrong(self, i: int, wanted: str, got: str) -> Exception:
        kind = ValueError if got.startswith("shape") else TypeError
        return kind(f"the vjp of '{self.op}' must return {wanted} for input {i}, got {got}")


_ARRAY = (np.ndarray, np.generic)


def record(
    op: str,
    value: np.ndarray,
    inputs: tuple[Any, ...],
    vjp: tuple[Callable, ...] | Callable,
    rule: str,
    view_of: Tensor | None = None,
) -> Tensor:
    """The result of an operation as a Tensor, with its tape entry if any input requires a gradient.

    An operation of your own::

        def square(x):
            a = x.data
            return record("square", a * a, (x,), (lambda g: 2 * g * a,), "d_x = 2 * g * x")

    ``view_of`` names the input whose memory the result may share. For the other arguments see ``Entry``.

    Raises:
        TypeError: a value that isn't an array of real numbers, inputs or vjps that aren't a tuple.
        ValueError: not as many vjps as inputs.
    """
    if type(inputs) is not tuple or not isinstance(value, _ARRAY) or (type(vjp) is tuple and len(vjp) != len(inputs)):
        raise _unfit(op, value, inputs, vjp)
    result = start(_new(Tensor), value)
    if isinstance(view_of, Tensor):
        result._owner = owner_of(view_of)
    if not _paused.get():
        needs = [isinstance(x, Tensor) and x._requires_grad for x in inputs]
        if True in needs:
            if value.dtype.kind != "f" or (type(vjp) is not tuple and not callable(vjp)):
                raise _unfit(op, value, inputs, vjp)
            entry = result._entry = _new(Entry)
            entry.number = result._used = next(clock)
            entry.op, entry.inputs, entry.needs, entry.vjp, entry.rule = op, inputs, needs, vjp, rule
            result._requires_grad = True
            for x in inputs:
                if isinstance(x, Tensor):
                    x._used = entry.number
                    if x._owner is not None:
                        x._owner._used = entry.number
    return result


def _unfit(op: str, value: Any, inputs: Any, vjp: Any) -> Exception:
    """What is wrong with the arguments of ``record``."""
    if not isinstance(value, _ARRAY):
        return TypeError(f"record('{op}'): value must be a NumPy array, got {type(value).__name__}: np.asarray(value)")
    if type(inputs) is not tuple:
        return TypeError(f"record('{op}'): inputs must be a tuple, such as (x,), got {type(inputs).__name__}")
    if type(vjp) is not tuple and not callable(vjp):
        return TypeError(f"record('{op}'): vjp must be a tuple of functions, or one, got {type(vjp).__name__}")
    if type(vjp) is tuple and len(vjp) != len(inputs):
        several = f"{len(inputs)} inputs need as many vjps (None for a constant), got {len(vjp)}"
        return ValueError(f"record('{op}'): {several}")
    return TypeError(f"record('{op}'): a result with a gradient must be floating point, got {value.dtype}")


_new = object.__new__  # skips __init__, whose checks are for users' data


def unbroadcast(d: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum a gradient down to the shape that broadcasting stretched.

    Forward, every copy of a stretched value took part in the result; so its gradient is the sum over the copies.
    """
    extra = d.ndim - len(shape)
    stretched = tuple(range(extra)) + tuple(i + extra for i, length in enumerate(shape) if length == 1)
    return d.sum(stretched).reshape(shape)


def results_on_tape(result: Tensor) -> list[Tensor]:
    """The computed tensors that ``result`` depends on, itself included, in the order of recording.

    Raises:
        RuntimeError: a part of the tape was released by an earlier ``backward``, or an array that
            an entry still needs has been changed since.
    """
    if result._entry is None:
        return []
    found, seen, todo = [], {id(result)}, [result]
    while todo:
        tensor = todo.pop()
        entry = tensor._entry
        if entry is RELEASED:
            raise RuntimeError(
                f"the tape of {describe(tensor)} was already used by backward() and released: "
                "compute it again, or add up the losses and call backward() once"
            )
        found.append(tensor)
        for x, need in zip(entry.inputs, entry.needs):  # noqa: B905  as long as each other by construction
            if need and x._entry is not None and id(x) not in seen:
                seen.add(id(x))
                todo.append(x)
    found.sort(key=attrgetter("_entry.number"))
    if found and Tensor.last_change > found[0]._entry.number:
        refuse_changed(found, [tensor._entry for tensor in found])
    return found


def refuse_changed(results: list[Tensor], entries: list[Entry]) -> None:
    """Raise RuntimeError if an array that one of the entries still needs was changed after it was recorded."""
    for position, (result, entry) in enumerate(zip(results, entries, strict=True), 1):
        for x in (*entry.inputs, result):
            if isinstance(x, Tensor) and changed_since(x, entry.number) and _holds(entry, x._data):
                raise RuntimeError(
                    f"{describe(x)} was changed in place after entry {position} of the tape ({entry.op}) was "
                    "recorded, and that entry needs its old values for the gradient: "
                    "call backward() before changing it, or compute the result again"
                )


def _holds(entry: Entry, array: np.ndarray) -> bool:
    """Whether an entry's vjp may need this array: what a function needs later is in its closure or its defaults.

    A holder that can't be looked into counts as holding: rather a needless error than a wrong gradient.
    """
    together = type(entry.vjp) is not tuple
    todo, seen = [entry.vjp] if together else list(itertools.compress(entry.vjp, entry.needs)), set()
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, _HOLDS_NOTHING):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            item = item._data
        if isinstance(item, np.ndarray):
            if np.may_share_memory(item, array):
                return True
        elif isinstance(item, (tuple, list)):
            todo.extend(item)
        elif isinstance(item, FunctionType):
            todo.extend(item.__defaults__ or ())
            todo.extend((item.__kwdefaults__ or {}).values())
            todo.extend(cell.cell_contents for cell in item.__closure__ or ())
            todo.extend(_globals_of(item))
        else:
            return True
    return False


def _globals_of(function: FunctionType) -> Iterator[Any]:
    """The values of a function's global names but other functions: in a notebook that is where a vjp's arrays are."""
    todo = [function.__code__]
    while todo:
        code = todo.pop()
        values = (function.__globals__.get(name) for name in code.co_names)
        yield from (value for value in values if not isinstance(value, FunctionType))
        todo.extend(constant for constant in code.co_consts if isinstance(constant, CodeType))


_HOLDS_NOTHING = (type(None), bool, int, float, complex, str, bytes, np.generic, np.dtype)
_HOLDS_NOTHING += (type, ModuleType, BuiltinFunctionType, slice, range, type(...), type(np.sum))


def first_gradient(result: Tensor, gradient: ArrayLike | None) -> np.ndarray:
    """The gradient that the walk starts with: ones for a single value, otherwise what the caller gave."""
    if not result._requires_grad:
        raise RuntimeError(
            f"backward() on {describe(result)}, which depends on nothing that requires a gradient: "
            "give a parameter requires_grad=True, and compute the result outside no_grad()"
        )
    if gradient is None:
        if result.size != 1:
            raise RuntimeError(
                f"backward() on {describe(result)}, which has {result.size} values: give backward(gradient) "
                "the weight of each, or reduce the tensor to one value first, with sum() or mean()"
            )
        return np.ones(result.shape, result.dtype)
    g = to_array(gradient._data if isinstance(gradient, Tensor) else gradient, result.dtype).copy()
    if g.shape != result.shape:
        raise ValueError(f"backward(gradient) on {describe(result)} takes shape {result.shape}, got {g.shape}")
    return g


def accumulate(tensor: Tensor, d: np.ndarray, g: np.ndarray | None = None) -> None:
    """Add ``d`` to a tensor's ``grad``, which always has memory of its own.

    The first contribution is kept as it is only if nothing else can see it: not ``g``, which others
    may have been sent too, and not a view.
    """
    if tensor.grad is not None:
        tensor.grad += d
    elif g is None or d is g or d.base is not None or not isinstance(d, np.ndarray):
        tensor.grad = np.array(d)
    else:
        tensor.grad = d


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
    g = first_gradient(result, gradient)
    if result._entry is None:
        accumulate(result, g)
        return
    results = results_on_tape(result)
    arrived = {id(result): g}  # for each result, the sum of the gradients sent to it so far
    while results:
        tensor = results.pop()
        entry, tensor._entry = tensor._entry, RELEASED
        g = arrived.pop(id(tensor))  # complete: whoever used this tensor was recorded after it
        if tensor._retains_grad:
            accumulate(tensor, g)
        for x, d in entry.send(g):
            if x._entry is None:
                accumulate(x, d, g)
            elif id(x) in arrived:
                arrived[id(x)] = arrived[id(x)] + d  # not +=: the array may be shared
            else:
                arrived[id(x)] = d


class Tape:
    """The entries that a result depends on, in the order of recording: ``len``, iteration, ``print``.

    A Tape that you hold stays whole after ``backward``: it can still be printed and stepped through. A slice of
    it, ``tape[2:6]``, is a Tape too, of which only that part is shown.

    Raises:
        RuntimeError: as ``backward``, for a released or changed tape.
    """

    # How a tape looks is in minigrad.views, which is imported when somebody looks: training never pays for it.

    def __init__(self, result: Tensor) -> None:
        self.result = result
        self.results = results_on_tape(result)
        self.entries = [tensor._entry for tensor in self.results]
        self.part = range(len(self.entries))  # positions of the entries to show
        self._names = self._name_tensors()

    def __len__(self) -> int:
        return len(self.part)

    def __iter__(self) -> Iterator[Entry]:
        return (self.entries[position] for position in self.part)

    def __getitem__(self, position: int | slice) -> Entry | Tape:
        """One entry, or for a slice (without a stride) the part of the tape that it selects."""
        if not isinstance(position, slice):
            return self.entries[self.part[position]]
        if position.step not in (None, 1):
            raise ValueError(f"a part of a tape is without gaps: tape[a:b], got a stride of {position.step}")
        part = copy.copy(self)
        part.part = self.part[position]
        return part

    def _name_tensors(self) -> dict[int, str]:
        """A distinct name for each tensor: its own name, or %1, %2, ... for results and leaf1, ... for leaves."""
        names = {id(result): result.name or f"%{number}" for number, result in enumerate(self.results, 1)}
        leaves = [x for entry in self.entries for x, need in zip(entry.inputs, entry.needs, strict=True) if need]
        named = [x for entry in self.entries for x in entry.inputs if getattr(x, "name", None)]
        unnamed = itertools.count(1)
        for x in (*leaves, *named, self.result):
            if id(x) not in names:
                names[id(x)] = x.name or f"leaf{next(unnamed)}"
        uses: dict[str, int] = {}
        for key, name in names.items():
            name = "".join(character if character.isprintable() else " " for character in name)
            uses[name] = uses.get(name, 0) + 1
            names[key] = name if uses[name] == 1 else f"{name}#{uses[name]}"
        return names

    def name_of(self, x: Any) -> str:
        """What the views call an operand: a tensor's name or number, a constant's value or shape."""
        if id(x) in self._names:
            return self._names[id(x)]
        x = x._data if isinstance(x, Tensor) else np.asarray(x)
        if x.dtype.kind not in "fiub":
            return str(x)
        return f"{x.item():.4g}" if x.size == 1 else f"constant{x.shape}"

    def __repr__(self) -> str:
        from .views.text import table

        return table(self)

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        from .views.page import table_html

        return table_html(self)

    def steps(self, gradient: ArrayLike | None = None) -> Iterator[Step]:
        """``backward`` in slow motion: yields a ``Step`` an entry, the last entry first; ``print(step)``.

        Stepping to the end adds the same gradients to the leaves' ``grad`` as ``backward(gradient)``, also
        a second time, or after ``backward``: call ``zero_grad`` between. It doesn't release the tape. A part of a
        tape walks the whole way, too, and yields the steps of its entries.

        Raises:
            RuntimeError: as ``backward``, at the first step.
        """
        from .views.text import walk

        return (step for step in walk(self, gradient, into_grad=True) if step.number - 1 in self.part)

    def draw(self, ax: Axes | None = None, values: bool = True, grads: bool | None = None) -> Axes:
        """Draw the graph with matplotlib, left to right: operations with their results, parameters, constants.

        Beside each line stands the shape of the array that travels on it. The walk back that the gradients take
        leaves every ``grad`` as it was.

        Args:
            ax: where to draw; None makes a figure of the size that the graph needs. In axes of your own the text is
                made to fit their size at that moment.
            values: write the values of tensors with at most 6 of them.
            grads: write the gradients, of larger tensors the norm; None does so if ``backward()`` could start from
                the result, which has to be a single value.

        Returns:
            The axes; ``ax.figure.savefig("tape.png")`` saves it.

        Raises:
            RuntimeError: gradients are to be written, and the result has several values or requires no gradient, or
                an array that they need was changed since. ``grads=False`` then shows what there is.
        """
        from .views.figure import draw

        return draw(self, ax, values, grads)

    def to_html(self, path: str | os.PathLike, gradient: ArrayLike | None = None) -> Path:
        """Write a page on which to step through the tape in any browser, forward and then backward.

        The page is one file without anything from the network. Buttons, a slider and the arrow keys step;
        ``tape.html#step=7`` is a link to a step. Leaves every ``grad`` as it was.

        Args:
            gradient: as for ``backward``; may be left out if the result has one value.

        Returns:
            The path.

        Raises:
            RuntimeError, ValueError: as ``backward``.
        """
        from .views.page import to_html

        return to_html(self, path, gradient)
