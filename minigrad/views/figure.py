"""A tape as a matplotlib figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .graph import LINE, PAD, Card, Edge, Graph, gradient_text, make_graph
from .text import steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .tape import Tape

FONT_SIZE = 11  # points, in a figure that draw makes
MAX_WIDTH = 105  # em: 16 inches of this size, then the graph goes on in a band below
FILL = {"operation": "#ffffff", "leaf": "#fbe3b3", "result": "#ffffff", "constant": "#eeeeee"}
HEAD, GRADIENT = "#0072B2", "#B0004E"
NAMES = {
    "operation": "operation and its result",
    "leaf": "gets a gradient in .grad",
    "result": "result of an earlier entry",
    "constant": "constant",
}


def draw(tape: Tape, ax: Axes | None, values: bool, grads: bool | None) -> Axes:
    """See ``Tape.draw``."""
    import matplotlib.pyplot as plt

    if grads is None:
        grads = tape.result.size == 1 and tape.result.requires_grad
    graph = make_graph(tape, values, gradients(tape) if grads else {}, MAX_WIDTH if ax is None else np.inf)
    width, top = max(graph.width, 45) + 2, 3 * LINE  # room for the legend, in two rows if need be
    if ax is None:
        inches = FONT_SIZE / 72
        figure = plt.figure(figsize=(width * inches, (graph.height + top + 1) * inches))
        ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_aspect("equal")
    middle = graph.width / 2
    ax.set(xlim=(middle - width / 2, middle + width / 2), ylim=(graph.height + 1, -top))
    ax.apply_aspect()
    em = ax.bbox.width / width * 72 / ax.figure.dpi
    for edge in graph.edges:
        draw_edge(ax, edge, em)
    for name, x, y in {(edge.source.lines[0], *place) for edge in graph.edges for place in edge.resumes}:
        write(ax, x, y - 0.1, name, 0.85 * em, ha="left", va="bottom", color="0.3")
    for card in graph.cards:
        draw_card(ax, card, em)
    draw_legend(ax, graph, grads, em)
    return ax


def gradients(tape: Tape) -> dict[int, list[list[str]]]:
    """For each tensor the text of its whole gradient, as ``make_graph`` takes it."""
    texts = {}
    for step in steps(tape, into_grad=False):
        texts[id(step.tensor)] = [gradient_text(step.gradient)]
        for sent in step.sent:
            texts[id(sent.tensor)] = [gradient_text(sent.total)]
    return texts


def write(ax: Axes, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Text as it is: a name such as ``$x`` is no formula."""
    style = {"ha": "center", "va": "center", "family": "monospace", "zorder": 3, "parse_math": False, **style}
    ax.text(x, y, text, size=size, **style)


def draw_card(ax: Axes, card: Card, em: float) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    left, top, middle = card.x, card.y - card.height / 2, card.x + card.width / 2
    box = FancyBboxPatch((left, top), card.width, card.height, zorder=2)
    box.set_boxstyle("square,pad=0" if card.kind == "operation" else "round,pad=0,rounding_size=0.6")
    box.set(fc=FILL[card.kind], ls="--" if card.kind == "constant" else "-", lw=em / 9)
    box.set_edgecolor(HEAD if card.kind in ("operation", "result") else "0.45")
    ax.add_patch(box)
    y = top + PAD + LINE / 2
    if card.title:
        ax.add_patch(Rectangle((left, top), card.width, LINE + PAD, fc=HEAD, ec=HEAD, lw=em / 9, zorder=2))
        write(ax, middle, top + (LINE + PAD) / 2, card.title, em, color="white", weight="bold")
        y += LINE + PAD
    for i, line in enumerate(card.lines + card.grads):
        write(ax, middle, y + i * LINE, line, em, color="black" if i < len(card.lines) else GRADIENT)
    if card.label:
        write(ax, left + card.width + 0.2, card.y - 0.1, card.label, 0.85 * em, ha="left", va="bottom", color="0.3")


def draw_edge(ax: Axes, edge: Edge, em: float) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    codes = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3}
    points = [point for _, *xy in edge.path for point in zip(xy[::2], xy[1::2])]
    path = Path(points, [code for letter, *_ in edge.path for code in codes[letter]])
    ax.add_patch(PathPatch(path, fc="none", ec="0.45", lw=em / 9, zorder=1))
    x, y = points[-1]
    ax.add_patch(Polygon([(x, y), (x - 0.7, y - 0.28), (x - 0.7, y + 0.28)], color="0.45", lw=0, zorder=3))


def draw_legend(ax: Axes, graph: Graph, grads: bool, em: float) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(fc=HEAD if kind == "operation" else FILL[kind], ec="0.45", label=name)
        for kind, name in NAMES.items()
        if any(card.kind == kind for card in graph.cards)
    ]
    if grads:
        handles.append(Patch(fc=GRADIENT, label="gradient; |grad| is its norm"))
    columns = 2 if graph.width < 80 else len(handles)
    ax.legend(handles=handles, loc="upper center", ncols=columns, frameon=False, fontsize=em, borderaxespad=0)
