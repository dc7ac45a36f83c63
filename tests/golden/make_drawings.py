"""Writes drawings.json: where everything stands in some drawings of tapes, as it was looked at and approved.

    python tests/golden/make_drawings.py      # after a change of the layout that you have looked at

The properties of a good layout (no overlaps, no line through a card, ...) are tests of their own, in
tests/minigrad/test_views.py; this file notices that a drawing has changed at all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

import minigrad as mg
from minigrad.views.figure import gradients
from minigrad.views.graph import make_graph
from minigrad.views.page import svg

sys.path[:0] = [str(Path(__file__).parents[1] / "minigrad")]
from test_views import composed_batch_norm, leaf, scalar_expression, tangle, three_layer_mlp  # noqa: E402

FILE = Path(__file__).with_name("drawings.json")


def distant_uses():
    """A leaf and a result that are used again further away than one line is drawn."""
    x = leaf([1.0, 2.0], "x")
    y = first = x * x
    for _ in range(45):
        y = y.tanh() + 1
    return (y * first * x).sum()


def wide_gradients():
    """Gradients that take more room than the values, and a tensor that is needed as one operand but not as another."""
    x = leaf(2, "x")
    return mg.where(x, x, 0.0) * 1.2345e-9


def sum_of_products():
    """Branches of their own leaves, which stand beside the operation that uses them."""
    total = leaf([0.0, 0.0], "b")
    for i in range(4):
        total = total + leaf([1.0, i], f"w{i}") * leaf([3.0, 4.0], f"x{i}")
    return mg.stack([total, leaf([1.0, 2.0], "y").exp(), leaf([1.0, 2.0], "z").tanh()]).sum()


MAKERS = [
    scalar_expression,
    composed_batch_norm,
    three_layer_mlp,
    tangle,
    distant_uses,
    wide_gradients,
    sum_of_products,
]


def graph_of(make: Any, max_width: float) -> Any:
    tape = make().tape()
    return make_graph(tape, True, gradients(tape), max_width)


def layout(graph: Any) -> dict:
    """Places and texts of the cards, and the lines between them."""
    number = {card: i for i, card in enumerate(graph.cards)}
    return {
        "size": [graph.width, graph.height],
        "cards": [
            [c.kind, c.title, c.label, c.lines, c.grads, c.column, [c.x, c.y, c.width, c.height]] for c in graph.cards
        ],
        "edges": [
            [number[e.source], number[e.target], [[letter, *map(float, xy)] for letter, *xy in e.path], e.resumes]
            for e in graph.edges
        ],
    }


def placed(text: Any) -> list:
    return [text.get_parse_math(), text.get_ha(), text.get_va(), text.get_zorder()]


def stroke(patch: Any) -> list:
    return [patch.get_linewidth(), patch.get_linestyle(), patch.get_zorder()]


def figure(ax: Any) -> dict:
    """Texts and shapes of a figure that ``draw`` made, with what a reader sees of each."""
    legend = ax.get_legend()
    drawn = {
        "size": [*ax.figure.get_size_inches(), *ax.get_xlim(), *ax.get_ylim()],
        "texts": sorted(
            [t.get_text(), t.get_size(), t.get_color(), t.get_weight(), t.get_family(), *placed(t), *t.get_position()]
            for t in ax.texts
        ),
        "patches": [
            [type(p).__name__, p.get_facecolor(), p.get_edgecolor(), *stroke(p), p.get_path().vertices.tolist()]
            for p in ax.patches
        ],
        "legend": [
            [[t.get_text(), t.get_size(), p.get_facecolor()] for t, p in zip(legend.get_texts(), legend.get_patches())],
            [legend._ncols, legend._loc, legend.borderaxespad, legend.get_frame_on()],  # noqa: SLF001  no public way
        ],
    }
    plt.close(ax.figure)
    return drawn


def drawings() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for make in MAKERS:
        for max_width in (np.inf, 60):
            found[f"{make.__name__}, width {max_width}"] = layout(graph_of(make, max_width))
    tape = scalar_expression().tape()
    found["an empty part"] = layout(make_graph(tape[3:3], True, {}))
    found["tangle, page"] = svg(graph_of(tangle, np.inf))
    found["scalar_expression, figure"] = figure(scalar_expression().tape().draw())
    found["wide_gradients, figure"] = figure(wide_gradients().tape().draw())
    found["tangle, figure of a part without values"] = figure(tangle().tape()[2:5].draw(values=False))
    found["composed_batch_norm, figure in bands"] = figure(composed_batch_norm().tape().draw())
    ax = plt.figure().subplots(1, 2)[0]
    found["composed_batch_norm, figure in axes"] = figure(composed_batch_norm().tape().draw(ax))
    return json.loads(json.dumps(found, default=float), parse_float=lambda text: round(float(text), 3))


if __name__ == "__main__":
    matplotlib.use("Agg")
    FILE.write_text(json.dumps(drawings(), separators=(",", ":")), encoding="utf-8")
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
