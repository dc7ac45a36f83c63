"""A tape in the terminal: the table, and the walk back step by step."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd import ARRAY, Entry, accumulate, first_gradient, walk
from ..guards import refuse_changed
from ..tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .tape import Tape

NAME, OP, INPUTS, RULE, RULE_LINES = 80, 40, 200, 200, 20  # characters, and lines, that are shown at most
LEGEND = "g: gradient of the result; x, y: the inputs in order; y: the result, if x is the only input"


# What is shown was written by users and may be anything. It passes through these four.


def one_line(text: object, longest: int, tail: int = 0) -> str:
    """A text without what can't be printed; of a longer one the beginning and the last ``tail`` characters."""
    text = "".join(character if character.isprintable() else " " for character in str(text))
    return text if len(text) <= longest else text[: longest - 1 - tail] + "…" + text[len(text) - tail :]


def shown_name(tape: Tape, x: object) -> str:
    """What an operand is called, in one line: its name or number, a constant's value or shape, or at least its type."""
    try:
        return one_line(tape.name_of(x), NAME, tail=12)  # names often differ at their ends
    except (TypeError, ValueError):  # a constant that NumPy can't make an array of
        return type(x).__name__


def rule_of(entry: Entry) -> list[str]:
    """The lines of an entry's rule."""
    lines = str(entry.rule).split("\n")
    return [one_line(line, RULE) for line in lines[:RULE_LINES]] + ["…"] * (len(lines) > RULE_LINES)


def shown_array(x: object) -> np.ndarray:
    """The array of an operand; if it is a constant that NumPy can't make an array of, the name of its type."""
    if isinstance(x, Tensor):
        return np.asarray(x._data)
    try:
        return np.asarray(x)
    except (TypeError, ValueError):
        return np.array(type(x).__name__)


def is_numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub"


def rows(tape: Tape) -> list[tuple[str, ...]]:
    """The tape as a table: for each entry its number, result, operation, inputs, the result's shape, and the rule."""
    return [
        (
            str(position + 1),
            shown_name(tape, tape.results[position]),
            one_line(entry.op, OP),
            one_line(", ".join(shown_name(tape, x) for x in entry.inputs), INPUTS),
            str(tape.results[position].shape),
            rule_of(entry)[0],
        )
        for position, entry in zip(tape.part, tape)
    ]


HEADER = ("#", "result", "operation", "inputs", "shape", "rule")


def table(tape: Tape) -> str:
    """What ``print(tape)`` prints."""
    cells = [HEADER, *rows(tape)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, LEGEND])


class Sent(NamedTuple):
    """A gradient that an entry sent: to which input, how much, and the sum of all that the input has so far."""

    name: str
    tensor: Tensor
    gradient: np.ndarray
    total: np.ndarray


@dataclass(eq=False, repr=False)
class Step:
    """One step of the walk back, for looking at: ``print(step)``.

    Attributes:
        number: the entry's place on the tape, from 1.
        name: the name of its result.
        tensor: its result.
        entry: the ``Entry``.
        inputs: the names of its inputs.
        gradient: the gradient that arrived at its result.
        sent: a list of (name, tensor, gradient, total), one for each input that needs a gradient.
        added: for each of these, whether it had received a gradient before.
    """

    number: int
    name: str
    tensor: Tensor
    entry: Entry
    inputs: list[str]
    gradient: np.ndarray
    sent: list[Sent]
    added: list[bool]

    def __repr__(self) -> str:
        first, *others = rule_of(self.entry)
        width = max(len(sent.name) for sent in self.sent)
        lines = [
            f"{self.number}: {self.name} = {one_line(self.entry.op, OP)}({one_line(', '.join(self.inputs), INPUTS)})",
            f"   arrived  g = {summary(self.gradient)}",
            f"   rule     {first}    where {letters(self.entry, self.inputs, self.name)}",
            *(f"            {line}" for line in others),
            *(f"   saved    {name} = {summary(array)}" for name, array in saved_arrays(self.entry)),
        ]
        for name, _, gradient, total in self.sent:
            lines.append(f"   to {name:{width}}  {summary(gradient)}   so far {summary(total)}")
        return "\n".join(lines)


def saved_arrays(entry: Entry) -> list[tuple[str, np.ndarray]]:
    """What an entry saved for its vjps, by the names that they call it."""
    if type(entry.vjps) is tuple:
        vjp, first = next(vjp for vjp in entry.vjps if vjp is not None), 1  # of its parameters the first is g
    else:
        vjp, first = entry.vjps, 2  # g and needs
    names = list(inspect.signature(vjp).parameters)[first:]
    if len(names) != len(entry.saved):
        return []
    return [(name, np.asarray(x)) for name, x in zip(names, entry.saved) if isinstance(x, ARRAY)]


def letters(entry: Entry, inputs: list[str], result: str) -> str:
    """What the letters in an entry's rule stand for: "x is %3, y is b"."""
    pairs = letter_pairs(entry).items()
    return ", ".join(f"{letter} is {result if slot is None else inputs[slot]}" for letter, slot in pairs)


def letter_pairs(entry: Entry) -> dict[str, int | None]:
    """For each letter in an entry's rule which input it stands for; None is the result."""
    vjps = entry.vjps if type(entry.vjps) is tuple else entry.inputs  # one for all inputs
    slots = [slot for slot, vjp in enumerate(vjps) if vjp is not None]
    rule = "\n".join(rule_of(entry))
    pairs: dict[str, int | None] = dict(zip(re.findall(r"\bd_(\w+) = ", rule)[-len(slots) :], slots))
    if len(slots) == 1 and re.search(r"\by\b", rule):
        pairs.setdefault("y", None)
    return pairs


def short_number(value: Any) -> str:
    """A number with four digits, an integer with all it has."""
    return f"{value + 0.0:.4g}" if isinstance(value, (float, np.floating)) else str(value)  # + 0.0: not "-0"


def summary(array: np.ndarray) -> str:
    """A small array's values on one line; of a larger one the shape, norm and range."""
    array = np.asarray(array)
    if array.ndim == 0:
        return f"{array:.5g}"
    if array.size <= 6:
        return " ".join(np.array2string(array, precision=4, separator=", ").split())
    return f"shape {array.shape}, norm {norm(array):.4g}, from {array.min():.4g} to {array.max():.4g}"


def norm(array: np.ndarray) -> float:
    """The square root of the sum of the squares."""
    with np.errstate(all="ignore"):  # nan and infinity are worth showing, too
        return float(np.linalg.norm(np.ravel(array).astype(np.float64)))


def steps(tape: Tape, gradient: ArrayLike | None = None, *, into_grad: bool) -> Iterator[Step]:
    """All steps of the way back. Leaves' gradients are added to their ``grad`` only with ``into_grad``."""
    pairs = list(zip(tape.results, tape.entries))
    refuse_changed(pairs)
    g = first_gradient(tape.result, gradient).copy()  # whoever looks may change theirs meanwhile
    if not pairs and into_grad:
        accumulate(tape.result, g)
    totals: dict[Tensor, np.ndarray] = {}
    way_back = walk(list(pairs), {tape.result: g})
    for number in range(len(pairs), 0, -1):
        result, g, gradients = next(way_back)
        if into_grad and result._retains_grad:
            accumulate(result, np.array(g))
        sent, added = [], []
        for x, d in gradients:
            is_leaf = into_grad and x._entry is None
            added.append(x.grad is not None if is_leaf else x in totals)
            if is_leaf:
                accumulate(x, np.array(d))
            totals[x] = totals[x] + d if x in totals else d
            sent.append(Sent(shown_name(tape, x), x, np.array(d), np.array(x.grad if is_leaf else totals[x])))
        entry = tape.entries[number - 1]
        inputs = [shown_name(tape, x) for x in entry.inputs]
        yield Step(number, shown_name(tape, result), result, entry, inputs, np.array(g), sent, added)
