"""A tape as a page for the browser, and as a table for a notebook."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ..autograd import Entry, first_gradient
from .arithmetic import arithmetic_html
from .graph import LINE, PAD, Card, Edge, Graph, gradient_text, make_graph
from .mathml import rule_html
from .text import (
    HEADER,
    LEGEND,
    NAME,
    OP,
    is_numeric,
    letters,
    norm,
    one_line,
    rows,
    rule_of,
    saved_arrays,
    short_number,
    shown_name,
    steps,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .tape import Tape

EM, SCALE = 10, 1.3  # length of an em in the drawing, and how much larger the page shows it
CELLS = 24  # a heat map has at most this many rows and columns
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"  # 63, so that there is a middle one, for 0


class Page(type(Path())):  # type: ignore[misc]  # before Python 3.12, Path itself can't be subclassed
    """The path of a page, which a notebook shows as a link."""

    def _repr_html_(self) -> str:
        try:  # a notebook opens links from its own folder; it may not open others
            link = quote(Path(os.path.relpath(self)).as_posix())
        except ValueError:  # another drive
            link = self.absolute().as_uri()
        return f'<a href="{escape(link)}" target="_blank">{escape(str(self))}</a>'


def table_html(tape: Tape) -> str:
    """The table that ``print(tape)`` prints, as HTML."""

    def row(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f'<{tag} style="text-align: left">{escape(cell)}</{tag}>' for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows(tape))
    return f"<table><thead>{row(HEADER, 'th')}</thead><tbody>{body}</tbody></table><p>{escape(LEGEND)}</p>"


def to_html(tape: Tape, path: str | os.PathLike, gradient: ArrayLike | None) -> Path:
    """See ``Tape.to_html``."""
    path = Page(path)
    if not path.parent.is_dir():
        folder = str(path.parent)
        raise FileNotFoundError(
            f"to_html: there is no folder {folder!r} for {path.name!r}: make it first, with "
            f"pathlib.Path({folder!r}).mkdir(parents=True)"
        )
    back, totals, texts = walk_back(tape, gradient)
    graph = make_graph(tape, values=True, grads=texts)
    content = json.dumps(page_content(tape, graph, back, totals)).replace(
        "<", "\\u003c"
    )  # "</script>" would end the script
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    parts = {
        "TITLE": escape(f"The tape of {shown_name(tape, tape.result)}"),
        "SCRIPT_HASH": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "ROWS": "".join(row_html(cells) for cells in rows(tape)),
        "GRAPH": svg(graph),
        "CONTENT": content,
    }
    before, *pieces = page.split("{{")
    filled = [parts[name] + text for name, text in (piece.split("}}", 1) for piece in pieces)]
    path.write_text("".join([before, *filled]), encoding="utf-8")
    return path


def row_html(cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells[:5]) + "</tr>\n"


def walk_back(tape: Tape, gradient: ArrayLike | None) -> tuple[list[dict], dict, dict]:
    """The steps of the way back, what each tensor has received in the end, and all texts on cards, by tensors' ``id``.

    Of the arrays only the pictures are kept, so that a page takes no more memory than ``backward``.
    """
    back, totals, texts = [], {}, {}
    if not tape.entries:
        totals[id(tape.result)] = first_gradient(tape.result, gradient)
        texts[id(tape.result)] = [gradient_text(totals[id(tape.result)])]
    for step in steps(tape, gradient, into_grad=False):
        shown: dict[str, Any] = {"entry": step.number - 1 - tape.part.start, "gradient": picture(step.gradient)}
        shown |= {"card": id(step.tensor), "text": gradient_text(step.gradient), "sent": []}
        texts.setdefault(id(step.tensor), []).append(shown["text"])
        slots = [slot for slot, need in enumerate(step.entry.needs) if need]
        for slot, sent, added in zip(slots, step.sent, step.added):
            key, text = id(sent.tensor), gradient_text(sent.total)
            texts.setdefault(key, []).append(text)
            totals[key] = sent.total
            gradients = {"gradient": picture(sent.gradient), "total": picture(sent.total)}
            arithmetic = arithmetic_html(step, sent, slot)
            place = {"card": key, "slot": slot, "arithmetic": arithmetic}
            shown["sent"].append({**place, "text": text, "added": added, **gradients})
        if step.number - 1 in tape.part:
            back.append(shown)
    return back, totals, texts


def page_content(tape: Tape, graph: Graph, back: list[dict], totals: dict[int, np.ndarray]) -> dict:
    """What the page's script shows: each card, each entry in order, each step back, and the gradients in the end."""
    number = {card: i for i, card in enumerate(graph.cards)}
    by_tensor = {id(card.tensor): i for i, card in enumerate(graph.cards) if card.kind != "constant"}
    inputs: dict[int, list[int]] = {i: [] for i in range(len(graph.cards))}
    for edge in graph.edges:
        inputs[number[edge.target]].append(number[edge.source])
    for step in back:
        for part in (step, *step["sent"]):
            part["card"] = by_tensor[part["card"]]
    entries = []
    for position, entry in zip(tape.part, tape):
        card, name = by_tensor[id(tape.results[position])], shown_name(tape, tape.results[position])
        meaning = letters(entry, [shown_name(tape, x) for x in entry.inputs], name)
        rule = {"rule": rule_html("\n".join(rule_of(entry))), "where": f"{meaning}; L is what the tape ends with"}
        rule["saved"] = saved_text(entry)
        entries.append(
            {"number": position + 1, "card": card, "inputs": inputs[card], "op": one_line(entry.op, OP), **rule}
        )
    shown = {i: totals[key] for key, i in by_tensor.items() if key in totals}
    return {
        "cards": [{"name": card.name, "kind": card.kind, "value": picture(card.value)} for card in graph.cards],
        "entries": entries,
        "back": back,
        "end": [{"card": i, "total": picture(total), "text": gradient_text(total)} for i, total in shown.items()],
        "levels": LEVELS,
    }


def saved_text(entry: Entry) -> str:
    """What an entry has saved, by name and shape."""
    names = [f"{name} {shape_text(array)}" for name, array in saved_arrays(entry)]
    if names:
        return "saved: " + ", ".join(names)
    return "" if entry.saved else "saved: nothing, the rule needs no values"


def shape_text(array: np.ndarray) -> str:
    return str(array.shape) if array.ndim else "one value"


def picture(array: np.ndarray) -> dict:
    """An array for the page: its shape, and all values if they are few, otherwise norm, range and a heat map.

    A cell of the map is the mean of a block of values; its letter says where between -max|cell| and max|cell| it is.
    """
    array = np.asarray(array)
    shape = shape_text(array)
    if not is_numeric(array):
        return {"shape": f"{shape}, not of numbers" if array.ndim else shape, "rows": [[one_line(array, NAME)]]}
    with np.errstate(over="ignore"):  # a long double may be too large
        array = array.astype(float)
    matrix = array.reshape(len(array) if array.ndim > 1 else 1, -1) if array.size else np.zeros((1, 0))
    if array.size <= 16 and matrix.shape[1] <= 8:
        return {"shape": shape, "rows": [[short_number(value) for value in row] for row in matrix]}
    firsts = [np.unique(np.linspace(0, n, min(n, CELLS), endpoint=False, dtype=int)) for n in matrix.shape]
    counts = [np.diff([*first, n]) for first, n in zip(firsts, matrix.shape)]
    with np.errstate(all="ignore"):  # a map of infinities and nans is worth seeing, too
        cells = np.add.reduceat(np.add.reduceat(matrix, firsts[0], 0), firsts[1], 1) / np.outer(*counts)
        finite = np.isfinite(cells)
        largest = np.abs(cells[finite]).max(initial=0) or 1
        levels = np.where(finite, np.round((cells / largest + 1) * 31), 0).astype(int)
        largest_text = f"{largest:.2g}"
    inside = array[np.isfinite(array)]
    text = f"norm {norm(array):.4g}" + (f", from {inside.min():.4g} to {inside.max():.4g}" if inside.size else "")
    text += f", {array.size - inside.size} not finite (pink)" if inside.size < array.size else ""
    cells = np.where(finite, np.array(list(LEVELS))[levels], "-")
    heat = {"heat": ["".join(row) for row in cells], "largest": largest_text}
    return {"shape": shape, "text": text, "block": [int(count.max(initial=0)) for count in counts], **heat}


def svg(graph: Graph) -> str:
    """The drawing. Every card is a group, so that the page's script can light it and write gradients into it."""
    width, height = (length * EM + 10 for length in (graph.width, graph.height))
    size = f'viewBox="-5 -5 {width:.0f} {height:.0f}" width="{width * SCALE:.0f}" height="{height * SCALE:.0f}"'
    operations = sum(card.kind == "operation" for card in graph.cards)
    label = f"Graph of {operations} operations; the table holds the same, line by line"
    number = {card: i for i, card in enumerate(graph.cards)}
    edges = "".join(edge_svg(edge, number) for edge in graph.edges)
    cards = "".join(card_svg(card, i) for i, card in enumerate(graph.cards))
    return f'<svg {size} role="img" aria-label="{label}"><g id="drawing">{edges}{cards}</g></svg>'


def edge_svg(edge: Edge, number: dict[Card, int]) -> str:
    path = " ".join(f"{letter} " + " ".join(f"{value * EM:.1f}" for value in xy) for letter, *xy in edge.path)
    ends = f'data-from="{number[edge.source]}" data-to="{number[edge.target]}" data-slot="{edge.slot}"'
    x, y, to_x, to_y = (value * EM for value in (*edge.path[0][1:], *edge.path[-1][1:]))
    tips = f'<path class="tip" d="M {to_x:.1f} {to_y:.1f} l -7 -3 v 6 z"/>'
    tips += f'<path class="tip back" d="M {x:.1f} {y:.1f} l 9 -4 v 8 z"/>'  # shown while a gradient goes back
    return f'<g class="edge" {ends}><path class="line" d="{path}"/>{tips}</g>'


def card_svg(card: Card, number: int) -> str:
    left, top, width, height = (value * EM for value in (card.x, card.y - card.height / 2, card.width, card.height))
    middle, y = left + width / 2, top + (PAD + 0.75 * LINE) * EM
    corner = 0 if card.title else 6
    parts = [
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{corner}"/>'
    ]

    def text(line: str, kind: str) -> str:
        return f'<text class="{kind}" x="{middle:.1f}" y="{y:.1f}">{escape(line)}</text>'

    if card.title:
        head = (LINE + PAD) * EM
        parts.append(f'<rect class="head" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{head:.1f}"/>')
        y -= PAD * EM / 2
        parts.append(text(card.title, "title"))
        y += (LINE + 1.5 * PAD) * EM
    for i, line in enumerate(card.lines + [""] * len(card.grads)):
        kind = "name" if i == 0 else "value" if i < len(card.lines) else "grad"
        parts.append(text(line, kind))
        y += LINE * EM
    if card.label:
        x, above = left + width + 2, card.y * EM - 3
        parts.append(f'<text class="shape" x="{x:.1f}" y="{above:.1f}">{escape(card.label)}</text>')
    return f'<g class="card {card.kind}" id="card-{number}">{"".join(parts)}</g>'
