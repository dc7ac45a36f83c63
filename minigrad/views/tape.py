"""The Tape that users hold: the entries that a result depends on, with a name for every tensor."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..autograd import Entry, tape_of
from ..tensor import Tensor, array_of

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from .text import Step


class Tape:
    """The entries that a result depends on, in the order of recording: ``len``, iteration, ``print``.

    A Tape that you hold stays whole after ``backward``: it can still be printed and stepped through. A slice of
    it, ``tape[2:6]``, is a Tape too, of which only that part is shown.

    Raises:
        RuntimeError: as ``backward``, for a released or changed tape.
    """

    # How a tape looks is in the modules beside this one, imported when somebody looks: training never pays for them.

    def __init__(self, result: Tensor) -> None:
        self.result = result
        pairs = tape_of(result)
        self.results = [tensor for tensor, _ in pairs]
        self.entries = [entry for _, entry in pairs]
        self.part = range(len(self.entries))  # positions of the entries to show
        self._names = self._name_tensors()

    def __len__(self) -> int:
        return len(self.part)

    def __iter__(self) -> Iterator[Entry]:
        return (self.entries[position] for position in self.part)

    @overload
    def __getitem__(self, position: int) -> Entry: ...
    @overload
    def __getitem__(self, position: slice) -> Tape: ...
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
        leaves = [x for entry in self.entries for x, need in zip(entry.inputs, entry.needs) if need]
        named = [x for entry in self.entries for x in entry.inputs if getattr(x, "name", None)]
        unnamed = itertools.count(1)
        for x in (*leaves, *named, self.result):
            if id(x) not in names:
                names[id(x)] = x.name or f"leaf{next(unnamed)}"
        uses: dict[str, int] = {}
        for key, name in names.items():
            name = "".join(character if character.isprintable() else " " for character in str(name))
            uses[name] = uses.get(name, 0) + 1
            names[key] = name if uses[name] == 1 else f"{name}#{uses[name]}"
        return names

    def name_of(self, x: Any) -> str:
        """What the views call an operand: a tensor's name or number, a constant's value or shape."""
        if id(x) in self._names:
            return self._names[id(x)]
        x = np.asarray(array_of(x))
        if x.dtype.kind not in "fiub":
            return str(x)
        return f"{x.item():.4g}" if x.size == 1 else f"constant{x.shape}"

    def __repr__(self) -> str:
        from .text import table

        return table(self)

    def _repr_html_(self) -> str:
        """The table, as a notebook shows it."""
        from .page import table_html

        return table_html(self)

    def steps(self, gradient: ArrayLike | None = None) -> Iterator[Step]:
        """``backward`` in slow motion: yields a ``Step`` an entry, the last entry first; ``print(step)``.

        Stepping to the end adds the same gradients to the leaves' ``grad`` as ``backward(gradient)``, also
        a second time, or after ``backward``: call ``zero_grad`` between. It doesn't release the tape. A part of a
        tape walks the whole way, too, and yields the steps of its entries.

        Raises:
            RuntimeError: as ``backward``, before the first step or any other, if an array was changed meanwhile.
        """
        from .text import steps

        return (step for step in steps(self, gradient, into_grad=True) if step.number - 1 in self.part)

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
        from .figure import draw

        return draw(self, ax, values, grads)

    def to_html(self, path: str | os.PathLike, gradient: ArrayLike | None = None) -> Path:
        """Write a page on which to step through the tape in any browser, forward and then backward.

        The page is one file without anything from the network. Buttons, a slider and the arrow keys step;
        ``tape.html#step=7`` is a link to a step. A click on a card leads to its step, one on a line to the arithmetic
        of the gradient that goes back on it. Printed, it shows the whole graph and table. Leaves every ``grad`` as it
        was.

        Args:
            gradient: as for ``backward``; may be left out if the result has one value.

        Returns:
            The path, which a notebook shows as a link.

        Raises:
            RuntimeError, ValueError: as ``backward``.
            FileNotFoundError: the folder doesn't exist.
        """
        from .page import to_html

        return to_html(self, path, gradient)
