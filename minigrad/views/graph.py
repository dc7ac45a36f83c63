"""The graph of a tape, laid out from left to right: what the figure and the page have in common.

Lengths are in em, the size of the text; y grows downwards.

Every card stands in a column to the right of all that it is computed from. A line that passes columns on its way gets
a place of its own in each, as if it were a thin card, so that lines never run through cards. (K. Sugiyama and others,
*Methods for Visual Understanding of Hierarchical System Structures*, 1981, is where this way of drawing comes from.)
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import Tensor
from .text import OP, is_numeric, norm, one_line, short_number, shown_array, shown_name

if TYPE_CHECKING:
    from .tape import Tape

CHARACTER, LINE = 0.62, 1.35  # width and height of a character of monospaced text
PAD, GAP = 0.5, 1.0  # inside a card, between cards of a column
LONG = 40  # columns; of a line that goes further, only the last part is drawn for each of its ends
NAME = 40  # characters of a name on a card
CURVE = 2.2  # width of the strip between two columns in which the lines curve
PULL = {
    "operation": 8.0,
    "line": 8.0,
    "leaf": 1.0,
    "result": 1.0,
    "constant": 0.5,
}  # operations form the straight spine of a graph


@dataclass(eq=False)
class Card:
    """A place in a column: a result with its operation, what goes into the tape, or a line that passes by."""

    kind: str  # "operation"; "leaf", "constant", "result" of an entry before the part that is shown; or "line"
    title: str = ""  # of an operation, what it is called
    name: str = ""  # of the tensor
    lines: list[str] = field(default_factory=list)
    grads: list[str] = field(default_factory=list)  # lines about the gradient
    tensor: Tensor | None = None
    value: np.ndarray = field(init=False)
    label: str = ""  # the shape, written where its lines start
    column: int = 0
    rank: float = field(init=False)  # from the top of the column
    x: float = field(init=False)  # left edge
    y: float = 0  # middle
    width: float = field(init=False)
    height: float = 0.4  # of a line; that of other cards is measured
    before: list[Card] = field(default_factory=list)  # neighbours in the columns to the left and right
    after: list[Card] = field(default_factory=list)
    ports: dict[Card, float] = field(default_factory=dict)  # fraction of a rank by which slots of one card differ

    def measure(self) -> None:
        texts = [self.title, *self.lines, *self.grads]
        self.width = max(map(len, texts)) * CHARACTER + 2 * PAD
        self.height = LINE * sum(map(bool, texts)) + 2 * PAD + (PAD if self.title else 0)


@dataclass
class Edge:
    """A line from a card to an input of another, as steps of a path: ("M" or "L", x, y) or ("C", 6 numbers)."""

    source: Card
    target: Card
    slot: int  # which input of the target, from 0
    slots: int  # how many inputs the target has
    path: list[tuple] = field(default_factory=list)
    resumes: list[tuple[float, float]] = field(default_factory=list)  # where it comes back in a later band


@dataclass
class Graph:
    """Cards and edges with their places, in the rectangle from (0, 0) to (width, height)."""

    cards: list[Card]
    edges: list[Edge]
    width: float = field(init=False)
    height: float = field(init=False)


def value_lines(array: np.ndarray) -> list[str]:
    """The values of an array of at most 6, a line for each row; of a larger one, or of other things, nothing."""
    array = np.asarray(array)
    if array.size > 6 or array.ndim > 2 or not is_numeric(array):
        return []
    if array.ndim == 0:
        return [short_number(array[()])]
    rows = [[short_number(value) for value in row] for row in np.atleast_2d(array)]
    width = max((len(cell) for row in rows for cell in row), default=0) if len(rows) > 1 else 0
    return ["[" + ", ".join(cell.rjust(width) for cell in row) + "]" for row in rows]


def aligned(lines: list[str]) -> list[str]:
    """The lines made equally long, because cards centre them."""
    return [line.ljust(max(map(len, lines))) for line in lines]


def gradient_text(array: np.ndarray) -> list[str]:
    """What a card says of a gradient: a small one's values, a large one's norm."""
    first, *others = value_lines(array) or [""]
    return aligned([f"grad {first}", *(f"     {line}" for line in others)]) if first else [f"|grad| {norm(array):.2g}"]


def make_graph(tape: Tape, values: bool, grads: dict[int, list[list[str]]], max_width: float = np.inf) -> Graph:
    """Cards for the shown part of a tape and what goes into it.

    Args:
        values: write small values on the cards.
        grads: by the tensor's ``id``, all the texts that a card must have room for; the last is written.
        max_width: break the graph into bands, one below the other, that are no wider if they can be.
    """
    cards: dict[int, Card] = {}
    edges: list[Edge] = []
    results = {id(result) for result in tape.results}

    def add_card(x: object, kind: str, **more: Any) -> Card:
        array, name = shown_array(x), shown_name(tape, x)
        lines = [one_line(name, NAME, tail=12)]
        if values and value_lines(array) != [name]:  # a constant is called by its value
            lines += value_lines(array)
        texts = grads.get(id(x), []) if kind != "constant" else []
        card = Card(kind, name=name, lines=lines, grads=texts[-1] if texts else [], **more)
        card.tensor, card.value = (x if isinstance(x, Tensor) else None), array
        card.label = str(array.shape) if array.ndim else ""
        card.measure()
        for text in texts:
            card.width = max(card.width, max(map(len, text)) * CHARACTER + 2 * PAD)
        cards[id(card) if kind == "constant" else id(x)] = card
        return card

    for position, entry in zip(tape.part, tape):
        sources = []
        for x, need in zip(entry.inputs, entry.needs):
            kind = "constant" if not need else "result" if id(x) in results else "leaf"
            sources.append(cards[id(x)] if need and id(x) in cards else add_card(x, kind))
        card = add_card(tape.results[position], "operation", title=one_line(entry.op, OP))
        card.column = 1 + max(source.column for source in sources)
        edges += [Edge(source, card, slot, len(sources)) for slot, source in enumerate(sources)]
    if not tape.entries:  # the tape of a leaf
        add_card(tape.result, "leaf" if tape.result.requires_grad else "constant")
    graph = Graph(list(cards.values()), edges)
    arrange(graph, max_width)
    return graph


def arrange(graph: Graph, max_width: float) -> None:
    """Give every card its place and every edge its path."""
    move_branches(graph)
    # Leaves and constants stand right before the leftmost card that uses them.
    for edge in sorted(graph.edges, key=lambda edge: -edge.target.column):
        if edge.source.kind != "operation":
            edge.source.column = edge.target.column - 1
    lines: dict[tuple[int, int], Card] = {}
    routes = [route(edge, lines) for edge in graph.edges]
    columns: list[list[Card]] = [[] for _ in range(1 + max((card.column for card in graph.cards), default=-1))]
    for card in dict.fromkeys([*graph.cards, *itertools.chain.from_iterable(routes)]):
        columns[card.column].append(card)
    order(columns)
    place(columns)
    breaks = break_into_bands(columns, max_width)
    graph.width = max((straight_end(column) for column in columns), default=0)
    graph.height = max((card.y + card.height / 2 for column in columns for card in column), default=0)
    ends = [straight_end(column) for column in columns]
    drawn: set[Card] = set()  # places of lines
    for edge, passed in zip(graph.edges, routes):
        draw_path(edge, passed, ends, breaks, drawn)
    bottom = max((y for edge in graph.edges for _, *xy in edge.path for y in xy[1::2]), default=0)
    graph.height = max(graph.height, bottom)
    for card in itertools.chain.from_iterable(columns):  # no reference cycles: what was drawn is freed at once
        card.before, card.after, card.ports = [], [], {}


def move_branches(graph: Graph) -> None:
    """Bring an operation into which only leaves of its own go, or others like it, to the one that uses it."""
    users: dict[Card, set[Card]] = {card: set() for card in graph.cards}
    sources: dict[Card, set[Card]] = {card: set() for card in graph.cards}
    for edge in graph.edges:
        users[edge.source].add(edge.target)
        sources[edge.target].add(edge.source)
    free: set[Card] = set()
    for card in graph.cards:
        if len(users[card]) == 1 and sources[card] <= free:
            free.add(card)
    for card in reversed(graph.cards):
        if card in free:
            card.column = min(user.column for user in users[card]) - 1


def route(edge: Edge, lines: dict[tuple[int, int], Card]) -> list[Card]:
    """The places that an edge passes between its ends; edges from one card share them as long as they can."""
    passed = []
    for column in range(edge.source.column + 1, edge.target.column):
        place = id(edge.source), column
        if place not in lines:
            lines[place] = Card("line", lines=edge.source.lines[:1], column=column)
        passed.append(lines[place])
    for left, right in itertools.pairwise([edge.source, *passed, edge.target]):
        if right not in left.after:
            left.after.append(right)
            right.before.append(left)
            left.ports[right] = edge.slot / 100 if right is edge.target else 0
    return passed


def order(columns: list[list[Card]]) -> None:
    """Sort each column so that few lines cross: by the mean rank of a card's neighbours, in several sweeps."""
    number_ranks(columns)
    best, fewest = [list(column) for column in columns], crossings(columns)
    for sweep, key in [(columns, mean_rank_before), (list(reversed(columns)), mean_rank_after)] * 6:
        for column in sweep:
            column.sort(key=key)
            number_ranks([column])
        if (count := crossings(columns)) < fewest:
            best, fewest = [list(column) for column in columns], count
    columns[:] = best


def number_ranks(columns: list[list[Card]]) -> None:
    for column in columns:
        for rank, card in enumerate(column):
            card.rank = rank


def mean_rank_before(card: Card) -> float:
    return sum(other.rank for other in card.before) / len(card.before) if card.before else card.rank


def mean_rank_after(card: Card) -> float:
    ranks = [other.rank + card.ports[other] for other in card.after]
    return sum(ranks) / len(ranks) if ranks else card.rank


def crossings(columns: list[list[Card]]) -> int:
    """How many pairs of lines cross between neighbouring columns."""
    count = 0
    for column in columns:
        above: list[float] = []  # where the lines of the cards so far end, sorted
        for card in column:
            ends = [other.rank + card.ports[other] for other in card.after]
            count += sum(len(above) - bisect.bisect_right(above, end) for end in ends)
            above = sorted(above + ends)
    return count


def place(columns: list[list[Card]]) -> None:
    """Set each card's x by its column and y near the mean of its neighbours', in order and without overlap."""
    left = 0.0
    for column in columns:
        width = max(card.width for card in column if card.kind != "line")
        for card in column:
            card.width = width if card.kind == "line" else card.width
            card.x = left + (width - card.width) / 2
        left = straight_end(column) + CURVE
    for sweep in [columns, list(reversed(columns))] * 12:
        for column in sweep:
            wanted = []
            for card in column:
                near = [(other.y, PULL[other.kind]) for other in card.before + card.after]
                wanted.append(sum(y * pull for y, pull in near) / sum(pull for _, pull in near) if near else card.y)
            sizes, pulls = heights(column), [PULL[card.kind] for card in column]
            for card, y in zip(column, spread(wanted, sizes, pulls)):
                card.y = y


def heights(column: list[Card]) -> list[float]:
    """How much of a column each card takes; of several operations, each as much as the leaves that stand beside it."""
    taken = [card.height + GAP for card in column]
    if sum(card.kind == "operation" for card in column) > 1:
        for i, card in enumerate(column):
            own = [other for other in card.before if other.kind in ("leaf", "constant") and len(other.after) == 1]
            taken[i] = max(taken[i], sum(other.height + GAP for other in own))
    return taken


def straight_end(column: list[Card]) -> float:
    """Up to where lines run straight to the right of a column, beside the shapes that are written there."""
    return max(card.x + card.width for card in column) + max(len(card.label) for card in column) * CHARACTER


def spread(wanted: list[float], heights: list[float], pulls: list[float]) -> list[float]:
    """Middles of boxes of these heights that follow each other without overlap, as near to the wanted as can be.

    Boxes that push each other form a group, which goes to the mean of what its members want, weighted by their pull.
    (This is isotonic regression by pooling adjacent violators.)
    """
    tops = [0.0, *itertools.accumulate(heights[:-1])]
    groups: list[tuple[float, float, int]] = []  # mean of (wanted - offset), sum of the pulls, how many boxes
    for y, top, height, pull in zip(wanted, tops, heights, pulls):
        mean, count = y - top - height / 2, 1
        while groups and groups[-1][0] > mean:
            other, weight, size = groups.pop()
            mean, pull, count = (mean * pull + other * weight) / (pull + weight), pull + weight, count + size
        groups.append((mean, pull, count))
    shifts = [mean for mean, _, count in groups for _ in range(count)]
    return [shift + top + height / 2 for shift, top, height in zip(shifts, tops, heights)]


def break_into_bands(columns: list[list[Card]], max_width: float) -> dict[int, tuple[float, float]]:
    """Move columns that go beyond ``max_width`` into bands below.

    Returns, for each column that begins a later band, where the lines that come from above end their straight part
    (x), and how far below their level in the band above they come back (y).
    """
    bands: list[list[list[Card]]] = []
    for column in columns:
        if not bands or straight_end(column) - min(card.x for card in bands[-1][0]) > max_width:
            bands.append([])
        bands[-1].append(column)
    shifts, bottom = [], 0.0
    for band in bands:
        cards = [card for column in band for card in column]
        coming = [other for card in band[0] for other in card.before]
        room = max(len(other.lines[0]) for other in coming) * CHARACTER + CURVE if coming else 0
        top = min([card.y - card.height / 2 for card in cards] + [other.y - LINE for other in coming])
        end = max([card.y + card.height / 2 for card in cards] + [other.y for other in coming])
        shifts.append((room, room - min(card.x for card in cards), bottom - top))
        bottom += end - top + 3 * GAP
    for band, (_, right, down) in zip(bands, shifts):
        for card in itertools.chain.from_iterable(band):
            card.x += right
            card.y += down
    return {
        band[0][0].column: (room - CURVE, down - above)
        for band, (room, _, down), (_, _, above) in zip(bands[1:], shifts[1:], shifts)
    }


def draw_path(
    edge: Edge, passed: list[Card], ends: list[float], breaks: dict[int, tuple[float, float]], drawn: set[Card]
) -> None:
    """Straight lines through the columns, S-shaped ones between. ``ends``: where each column's straight part ends."""
    source, target = edge.source, edge.target
    x, y = source.x + source.width, source.y
    if len(passed) > LONG:  # a very long line starts where it leaves those that are drawn already
        shared = [card for card in passed if card in drawn]
        passed = passed[len(shared) :]
        if shared:
            x, y = ends[shared[-1].column], shared[-1].y
    drawn.update(passed)
    edge.path.append(("M", x, y))
    for card in [*passed, target]:
        next_y = target.y + (edge.slot - (edge.slots - 1) / 2) * 0.6 if card is target else card.y
        start = ends[card.column - 1]
        if card.column in breaks:
            edge.path.append(("L", start + CURVE, y))
            start, down = breaks[card.column]
            y += down
            edge.path.append(("M", 0, y))
            edge.resumes.append((0, y))
        if card is not target and abs(next_y - y) < 0.1:
            continue  # straight on
        edge.path.append(("L", start, y))
        edge.path.append(("C", start + CURVE / 2, y, start + CURVE / 2, next_y, start + CURVE, next_y))
        y = next_y
    edge.path.append(("L", target.x, y))
