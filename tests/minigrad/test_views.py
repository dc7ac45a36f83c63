"""The figure and the page: nothing overlaps, nothing is fetched, nothing is counted twice."""

import ast
import base64
import gc
import hashlib
import html
import inspect
import json
import re
import subprocess
import sys
import warnings
import weakref
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import minigrad as mg
from layers import BatchNorm1d, Linear, ReLU, Sequential, cross_entropy
from minigrad import Tensor
from minigrad.views import graph as graph_module
from minigrad.views.figure import NAMES, draw_legend
from minigrad.views.graph import LONG, Card, Graph, make_graph, spread
from minigrad.views.mathml import rule_html
from minigrad.views.page import picture
from minigrad.views.text import one_line, rows, rule_of

matplotlib.use("Agg")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def leaf(values, name=None):
    return Tensor(values, requires_grad=True, dtype=np.float64, name=name)


def scalar_expression():
    x1, x2, w1, w2, b = (leaf(v, n) for v, n in ((2, "x1"), (0, "x2"), (-3, "w1"), (1, "w2"), (6.88, "b")))
    n = x1 * w1 + x2 * w2 + b
    e = (2 * n).exp()
    return (e - 1) / (e + 1)


def named(tensor, name):
    tensor.name = name
    return tensor


def composed_batch_norm():
    rng = np.random.default_rng(0)
    x, gamma, beta = leaf(rng.normal(size=(4, 1)), "x"), leaf([1.5], "gamma"), leaf([0.5], "beta")
    mean = named(x.sum(0) / len(x), "mean")
    centered = x - mean
    var = named((centered * centered).sum(0) / len(x), "var")
    x_hat = named(centered / (var + 1e-5).sqrt(), "x_hat")
    return named((named(gamma * x_hat + beta, "y") ** 2).mean(), "loss")


def three_layer_mlp():
    rng = np.random.default_rng(0)
    layers = []
    for i, o in ((8, 16), (16, 16), (16, 16)):
        layers += [Linear(i, o, rng=rng), BatchNorm1d(o), ReLU()]
    net = Sequential(*layers, Linear(16, 3, rng=rng)).astype(np.float64)
    return cross_entropy(net(rng.normal(size=(6, 8))), rng.integers(0, 3, 6))


def tangle():
    """Lines that skip columns, fan-outs, an operand used twice, inputs of very different depth."""
    x, y = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "y")
    a = x * x
    b = mg.concatenate([a, y, x, a])
    c = (b.exp() + mg.concatenate([y, y, x, x])).tanh().sigmoid()
    return (c * b).sum() + x.sum() + (y * 2).sum()


def long_chain():
    x = leaf(1.0, "x")
    y = x
    for _ in range(150):
        y = (y * 1.01).tanh() + x
    return y


MAKERS = [scalar_expression, composed_batch_norm, three_layer_mlp, tangle, long_chain]


# The layout.


@pytest.mark.parametrize("max_width", [np.inf, 60])
@pytest.mark.parametrize("make", MAKERS)
def test_cards_do_not_overlap(make, max_width):
    graph = make_graph(make().tape(), True, {}, max_width)
    boxes = [(c.x, c.x + c.width, c.y - c.height / 2, c.y + c.height / 2) for c in graph.cards]
    left, right, top, bottom = np.transpose(boxes)
    apart = (right[:, None] <= left) | (bottom[:, None] <= top + 1e-9)
    assert (apart | apart.T | np.eye(len(boxes), dtype=bool)).all()
    assert left.min() > -1e-9
    assert top.min() > -1e-9
    assert right.max() < graph.width + 1e-9
    assert bottom.max() < graph.height + 1e-9


def points_on(path):
    """Points along a path of lines and curves."""
    for letter, *xy in path:
        corners = np.reshape(xy, (-1, 2))
        if letter == "M":
            at = corners[0]
            continue
        for t in np.linspace(0, 1, 9):
            if letter == "L":
                yield at + t * (corners[0] - at)
            else:
                a, b, c = corners
                yield (1 - t) ** 3 * at + 3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * b + t**3 * c
        at = corners[-1]


@pytest.mark.parametrize("max_width", [np.inf, 60])
@pytest.mark.parametrize("make", MAKERS[:4])
def test_lines_do_not_run_through_cards(make, max_width):
    graph = make_graph(make().tape(), True, {}, max_width)
    for edge in graph.edges:
        for x, y in points_on(edge.path):
            for card in graph.cards:
                inside_x = card.x + 1e-6 < x < card.x + card.width - 1e-6
                inside_y = card.y - card.height / 2 + 1e-6 < y < card.y + card.height / 2 - 1e-6
                assert not (inside_x and inside_y), f"{edge.source.lines} -> {edge.target.lines} crosses {card.lines}"


@pytest.mark.parametrize("make", MAKERS)
def test_lines_lead_from_each_input_to_its_operation_left_to_right(make):
    tape = make().tape()
    graph = make_graph(tape, True, {})
    assert len(graph.edges) == sum(len(entry.inputs) for entry in tape)
    for edge in graph.edges:
        if edge.target.column - edge.source.column < LONG:
            assert edge.path[0][1:] == (edge.source.x + edge.source.width, edge.source.y)
        assert edge.path[-1][1] == edge.target.x
        assert edge.source.x + edge.source.width < edge.target.x


def test_a_card_is_as_wide_as_the_widest_gradient_that_it_will_show():
    x = Tensor([1.0], requires_grad=True, name="x")
    texts = {id(x): [["grad " + "9" * 60], ["grad 1"]]}
    card = make_graph((x * 2.0).tape(), True, texts).cards[0]
    assert card.width >= 65 * graph_module.CHARACTER
    assert card.grads == ["grad 1"]


@pytest.mark.parametrize(("columns", "whole"), [(40, True), (41, False)])
def test_a_line_past_more_than_40_columns_starts_where_a_drawn_one_ends(columns, whole):
    y = x = leaf(1.0, "x")
    for _ in range(columns - 1):
        y = y.tanh()
    graph = make_graph(((y + x) * x).tape(), True, {})
    *_, last_tanh, _, _ = graph.cards
    edge = graph.edges[-1]
    start = edge.path[0][1]
    assert edge.source.name == "x"
    assert start == edge.source.x + edge.source.width if whole else start >= last_tanh.x + last_tanh.width


@pytest.mark.parametrize("make", MAKERS[:4])
def test_a_graph_that_just_fits_stays_in_one_band(make):
    whole = make_graph(make().tape(), True, {})
    assert make_graph(make().tape(), True, {}, whole.width).width == whole.width
    assert make_graph(make().tape(), True, {}, whole.width - 0.1).width < whole.width


def test_boxes_are_spread_no_further_than_they_need():
    assert spread([0.0, 0.0, 10.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]) == [-1, 1, 10]
    assert spread([0.0, 0.0], [2.0, 2.0], [3.0, 1.0]) == [-0.5, 1.5]


# The figure.


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_figure_shows_names_operations_values_gradients_and_shapes():
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    shown = [text.strip() for text in texts((x * w).sum().tape().draw())]
    for text in ("x", "w", "multiply", "sum", "%1", "%2", "[1, 2]", "[3, 8]", "11", "(2,)", "grad 1", "grad [3, 4]"):
        assert text in shown


def test_a_figure_shows_up_to_six_values_in_up_to_two_axes():
    for values, shown in (
        (np.arange(6.0), ["[0, 1, 2, 3, 4, 5]"]),
        ([[1.0, 10.0], [100.0, 2.0]], ["[  1,  10]", "[100,   2]"]),
        ([[1.0, 10.0]], ["[1, 10]"]),
        (np.arange(7.0), []),
        (np.ones((1, 1, 2)), []),
    ):
        assert texts(leaf(values, "x").tape().draw(grads=False)) == ["x", *shown, str(np.shape(values))]


def test_a_figure_leaves_out_what_it_is_told_to():
    ax = (leaf([1.0, 2.0], "x") * 3).sum().tape().draw(values=False, grads=False)
    shown = " ".join(texts(ax))
    assert "grad" not in shown
    assert "[1, 2]" not in shown


def test_a_figure_shows_the_norm_of_a_large_gradient():
    assert "|grad| 10" in texts(leaf(np.ones((10, 10)), "x").sum().tape().draw())


def test_a_figure_has_no_gradients_where_backward_could_not_start():
    tape = (leaf([1.0, 2.0], "x") * 3).tape()
    assert "grad" not in " ".join(texts(tape.draw()))
    with pytest.raises(RuntimeError, match="2 values"):
        tape.draw(grads=True)


@pytest.mark.parametrize("make", [*MAKERS[:4], lambda: leaf(1.0, "x") * 2])
def test_texts_stay_inside_the_figure_and_their_cards(make):
    ax = make().tape().draw()
    ax.figure.canvas.draw()  # places the legend
    renderer = ax.figure.canvas.get_renderer()
    page = ax.figure.bbox
    boxes = [patch.get_window_extent(renderer) for patch in ax.patches if hasattr(patch, "get_boxstyle")]
    for text in (*ax.texts, *ax.get_legend().get_texts()):
        box = text.get_window_extent(renderer)
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
        if text.get_ha() == "center":
            assert any(b.x0 <= box.x0 and box.x1 <= b.x1 and b.y0 - 2 <= box.y0 and box.y1 <= b.y1 + 2 for b in boxes)


@pytest.mark.parametrize(("width", "columns"), [(79.9, 2), (80, 5)])
def test_the_legend_is_in_one_row_where_the_graph_is_wide_enough(width, columns):
    ax = plt.figure().add_axes((0, 0, 1, 1))
    graph = Graph([Card(kind) for kind in NAMES], [])
    graph.width = width
    draw_legend(ax, graph, True, 11)
    assert ax.get_legend()._ncols == columns  # noqa: SLF001  there is no public way to ask


def test_a_figure_fits_into_axes_that_are_given():
    figure, (left, right) = plt.subplots(1, 2)
    tape = scalar_expression().tape()
    assert tape[:4].draw(left) is left
    tape[4:].draw(right)
    renderer = figure.canvas.get_renderer()
    for ax in (left, right):
        for text in ax.texts:
            box = text.get_window_extent(renderer)
            assert ax.bbox.x0 - 1 <= box.x0
            assert box.x1 <= ax.bbox.x1 + 1


def test_a_figure_in_axes_that_are_given_is_not_distorted():
    ax = scalar_expression().tape().draw(plt.figure().add_axes((0, 0, 0.3, 1)))
    (x, y), (right, _), (_, above) = ax.transData.transform([(0, 0), (1, 0), (0, -1)])
    assert right - x == pytest.approx(above - y)


def test_a_part_shows_the_gradients_of_the_whole_tape():
    x = leaf([1.0, 2.0], "x")
    tape = ((x * 2) * x * x).sum().tape()
    for part in (tape[2:], tape[1:], tape[1:3]):
        assert "grad [6, 24]" in texts(part.draw())
    assert "grad [1, 1]" in texts(tape[1:3].draw())


def test_an_empty_part_is_an_empty_picture(tmp_path):
    tape = (leaf([1.0, 2.0], "x") * 2).sum().tape()
    assert texts(tape[1:1].draw()) == []
    assert content_of(tape[1:1].to_html(tmp_path / "tape.html"))["entries"] == []


def test_a_leafs_own_tape_shows_its_name_and_gradient(tmp_path):
    tape = leaf([1.0, 2.0], "x").tape()
    assert "x" in texts(tape.draw())
    content = content_of(tape.to_html(tmp_path / "tape.html", gradient=[3.0, 4.0]))
    assert content["end"][0]["total"]["rows"] == [["3", "4"]]


# What users write may be anything.


def odd_tape(name="x", op="double", rule="d_x = 2 * g", constant=2, data=(1.0, 2.0)):
    """Two entries, the first of which is written by a user."""
    x = leaf(data, name)
    y = mg.record(op, np.asarray(x.data * 2), (x, constant), (lambda g: 2 * g, None), rule)
    return y.sum().tape()


def look_in_every_way(tape, folder):
    """The lines of the table and the steps, the texts of the figure and the page's content, all of which must exist."""
    lines = [*str(tape).splitlines(), *(line for step in tape.steps() for line in str(step).splitlines())]
    ax = tape.draw()
    ax.figure.canvas.draw()
    assert ax.figure.get_size_inches()[0] < 20
    content = content_of(tape.to_html(folder / "tape.html"))
    json.dumps([lines, texts(ax), tape._repr_html_()], ensure_ascii=False).encode()  # no lonely surrogates
    plt.close(ax.figure)
    return lines, texts(ax), content


ODD_TEXTS = {
    "lines": "a\nb\rc\u2028d",
    "controls": "tab\there nul\0 \x1b[31m",
    "a surrogate": "\ud800",
    "from right to left": "\u202eabc\u2067def",
    "formula": "$x$ \\frac",
    "markup": "</script><script>alert(1)</script>&amp;",
    "braces": "%s {0} {{GRAPH}}",
    "long": "x" * 20_000,
    "long words": "word " * 4_000,
    "spaces": "   ",
    "empty": "",
}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("what", ["name", "op", "rule", "constant"])
def test_any_text_can_be_shown_wherever_it_stands(what, text, tmp_path):
    lines, shown, content = look_in_every_way(odd_tape(**{what: text}), tmp_path)
    assert len(str(odd_tape(**{what: text})).splitlines()) == 5
    for line in (*lines, *shown, *(card["name"] for card in content["cards"])):
        assert line.isprintable()
        assert len(line) < 400
    page = (tmp_path / "tape.html").read_text(encoding="utf-8")
    assert len(page) < 60_000
    assert "<script>alert" not in page


@pytest.mark.parametrize("op", [None, 5, ("a", "tuple")], ids=str)
def test_an_operations_name_that_is_no_text_is_shown_as_text(op, tmp_path):
    lines, shown, content = look_in_every_way(odd_tape(op=op), tmp_path)
    assert content["entries"][0]["op"] == str(op)
    assert str(op) in shown
    assert f"{op}(x, 2)" in " ".join(lines)


def test_long_names_that_differ_at_their_ends_stay_different():
    first, second = leaf(1.0, "block." * 50 + "weight"), leaf(1.0, "block." * 50 + "bias")
    inputs = next((first * second).tape().steps()).inputs
    assert [name[-6:] for name in inputs] == ["weight", "k.bias"]
    assert all("…" in name and len(name) <= 80 for name in inputs)


def test_long_texts_are_cut_to_lengths_that_fit_and_shorter_ones_are_not():
    xs = tuple(leaf(1.0, f"{'n' * 300} of input {i}") for i in range(5))
    rule = "\n".join(["r" * 300] * 30)
    tape = mg.record("o" * 300, np.ones(()), xs, tuple([lambda g: g] * 5), rule, ()).tape()
    _, _, op, inputs, _, first_line = rows(tape)[0]
    assert (len(op), len(inputs), len(first_line)) == (40, 200, 200)
    assert [(len(name), name[67:]) for name in next(tape.steps()).inputs] == [
        (80, f"…n of input {i}") for i in range(5)
    ]
    assert [len(line) for line in rule_of(tape[0])] == [200] * 20 + [1]
    assert [card.lines[0][27:] for card in make_graph(tape, False, {}).cards[:5]] == [
        f"…n of input {i}" for i in range(5)
    ]
    assert one_line("x" * 80, 80, tail=12) == "x" * 80
    assert rule_of(mg.record("o", np.ones(()), xs[:1], (lambda g: g,), "r\n" * 19, ()).tape()[0]) == ["r"] * 19 + [""]


CONSTANTS = [
    "text", b"bytes", None, True, 1 + 2j, 10**400, {"a": 1}, {1, 2}, [1, [2, 3]], (1, "a"), slice(1, 2), ..., print,
    np.nan, -np.inf, np.bool_(True), np.datetime64("2020-01-01"), np.array(["a", "b"]), np.array([None, {}], object),
    np.array([True, False]), np.ones((30, 30), bool), np.ones(50, complex), np.array(["text"] * 50),
    np.zeros(3, [("field", int)]), np.empty(0), np.empty((0, 3)), np.empty((3, 0)), np.empty((30, 0, 30)),
    np.full((30, 30), np.nan), np.full(100, np.inf), np.full(100, np.longdouble("1e4000")), np.full((50, 50), 1e308),
    np.zeros((1,) * 32),
]  # fmt: skip


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda value: f"{type(value).__name__} {str(value)[:20]}")
def test_any_constant_can_be_shown(constant, tmp_path):
    look_in_every_way(odd_tape(constant=constant), tmp_path)


@pytest.mark.parametrize(
    "data",
    [[np.nan, 1.0], [np.inf, -np.inf], [], np.zeros((0, 3)), np.full((9, 9), np.nan), np.full(99, np.inf), 0.0],
    ids=str,
)
def test_any_values_can_be_shown(data, tmp_path):
    with np.errstate(invalid="ignore"):
        look_in_every_way(odd_tape(data=data), tmp_path)


@pytest.mark.parametrize(
    "rule",
    [
        "d_x = " + "g + " * 5_000 + "g",
        "d_x = " + "(" * 9_000 + "g" + ")" * 9_000,
        "d_x = " + "-" * 20_000 + "g",
        "d_x = " + "lambda: " * 2_500 + "g",
        "d_x = g" + ".T" * 10_000,
        "d_x = " + "9" * 20_000,
        "d_" + "d_" * 10_000 + "x = g",
        "d_x = g, " * 2_500,
        "d_x = g; " * 2_500,
        "d_x = g\n" * 2_500,
    ],
    ids=lambda rule: rule[:14],
)
def test_a_rule_of_20000_signs_is_cut(rule, tmp_path):
    lines, _, content = look_in_every_way(odd_tape(rule=rule), tmp_path)
    assert max(map(len, lines)) < 400
    assert len(lines) < 60
    assert "…" in content["entries"][0]["rule"]


@pytest.mark.parametrize(
    "rule", ["d_x = " + "-" * 150 + "g", "d_x = g" + "[0]" * 60, "d_x = " + "(" * 90 + "g" + ")" * 90]
)
def test_a_rule_nested_too_deeply_for_the_stack_that_is_left_stays_text(rule):
    def deep(frames):
        return deep(frames - 1) if frames else rule_html(rule)

    frames = sys.getrecursionlimit() - len(inspect.stack()) - 60
    assert deep(frames).startswith("<p>")


def test_a_rule_that_is_odd_python_warns_nobody():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert rule_html("d_x = 1is g") == "<p>d_x = 1is g</p>"
    assert not warned


@pytest.mark.parametrize("path", ["missing/tape.html", "missing/deeper/tape.html", "file/tape.html"])
def test_a_page_in_a_missing_folder_is_refused_with_what_to_do(tmp_path, path):
    (tmp_path / "file").touch()
    folder = str((tmp_path / path).parent)
    with pytest.raises(FileNotFoundError, match=re.escape(f"there is no folder {folder!r}")) as error:
        odd_tape().to_html(tmp_path / path)
    assert "mkdir(parents=True)" in str(error.value)


def test_looking_leaves_nothing_behind(tmp_path):
    x = leaf(np.ones((3, 3)), "x")
    gc.collect()
    gc.disable()
    try:
        y = (x * 2).sum()
        gone = weakref.ref(y)
        y.tape().to_html(tmp_path / "tape.html")
        make_graph(y.tape(), True, {})
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_a_sum_of_gradients_is_told_even_if_nothing_changed_in_the_numbers(tmp_path):
    x = leaf(np.ones((8, 8)), "x")
    tape = ((x * 0.0).sum() + (x * 1.0).sum()).tape()
    steps = content_of(tape.to_html(tmp_path / "tape.html"))["back"]
    assert [sent["added"] for step in steps for sent in step["sent"] if sent["card"] == 0] == [False, True]


def test_the_letters_of_a_rule_stand_for_the_inputs_that_get_a_gradient():
    x, y = leaf([1.0, 2.0], "a"), leaf([1.0, 2.0], "b")
    step = next(mg.where([True, False], x, y).tape().steps([1.0, 1.0]))
    assert "where x is a, y is b" in str(step)
    step = next((x * y).tape().steps([1.0, 1.0]))
    assert "where x is a, y is b\n" in str(step)
    step = next(x.exp().tape().steps([1.0, 1.0]))
    assert "where x is a, y is %1" in str(step)


def test_a_step_shows_small_arrays_with_four_decimals_and_of_larger_ones_norm_and_range():
    x = leaf([1 / 3, 2 / 3, 1.0], "x")
    assert "so far [0.3333, 0.6667, 1. ]" in str(next((x * x.data).tape().steps([1.0, 1.0, 1.0])))
    x = leaf(np.arange(6.0), "x")
    assert "so far [0., 1., 2., 3., 4., 5.]" in str(next((x * x.data).tape().steps(np.ones(6))))
    x = leaf(np.arange(7.0), "x")
    assert "so far shape (7,), norm 9.539, from 0 to 6" in str(next((x * x.data).tape().steps(np.ones(7))))


def test_large_values_of_small_types_have_a_norm():
    x = Tensor(np.full(100, 300, np.float16), requires_grad=True)
    step = next((x * 1).tape().steps(np.full(100, 300)))
    assert "norm 3000" in str(step)


def test_a_part_shows_earlier_results_as_what_goes_into_it():
    x = leaf([1.0, 2.0], "x")
    tape = ((x * 2).exp() * x).sum().tape()
    graph = make_graph(tape[2:], True, {})
    assert [(card.kind, card.lines[0]) for card in graph.cards] == [
        ("result", "%2"),
        ("leaf", "x"),
        ("operation", "%3"),
        ("operation", "%4"),
    ]


@pytest.mark.parametrize("look", [lambda tape, path: tape.draw(), lambda tape, path: tape.to_html(path / "t.html")])
def test_looking_leaves_every_gradient_as_it_was(look, tmp_path):
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    loss = (y * y).sum()
    x.grad = np.array([5.0, 6.0])
    look(loss.tape(), tmp_path)
    np.testing.assert_array_equal(x.grad, [5, 6])
    assert y.grad is None
    loss.backward()
    np.testing.assert_array_equal(x.grad, [13, 22])


@pytest.mark.parametrize("look", [lambda tape, path: tape.draw(), lambda tape, path: tape.to_html(path / "t.html")])
def test_looking_at_the_tape_of_a_leaf_leaves_its_gradient_as_it_was(look, tmp_path):
    x = leaf(1.0, "x")
    look(x.tape(), tmp_path)
    assert x.grad is None


@pytest.mark.parametrize("look", [lambda tape, path: tape.draw(), lambda tape, path: tape.to_html(path / "t.html")])
def test_even_an_empty_tape_can_be_looked_at(look, tmp_path):
    look(leaf(1.0, "x").tape(), tmp_path)


# The page. What it does in a browser is in test_browser.py.


def content_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(page.split('<script type="application/json" id="content">')[1].split("</script>")[0])


def test_the_page_holds_the_gradients_of_backward(tmp_path):
    loss = composed_batch_norm()
    tape = loss.tape()
    content = content_of(tape.to_html(tmp_path / "tape.html"))
    inputs = [x for entry in tape for x in entry.inputs if isinstance(x, Tensor)]
    leaves = {x.name: x for x in inputs if x.name in ("x", "gamma", "beta")}
    assert len(leaves) == 3
    loss.backward()
    totals = {content["cards"][s["card"]]["name"]: s["total"]["rows"] for step in content["back"] for s in step["sent"]}
    for name, tensor in leaves.items():
        expected = [[f"{value:.4g}" for value in row] for row in tensor.grad.reshape(-1, 1)]
        assert totals[name] == expected


def test_the_page_takes_a_gradient_as_backward_does(tmp_path):
    y = leaf([1.0, 2.0], "x") * 3
    with pytest.raises(RuntimeError, match="2 values"):
        y.tape().to_html(tmp_path / "tape.html")
    content = content_of(y.tape().to_html(tmp_path / "tape.html", gradient=[10.0, 100.0]))
    assert content["back"][0]["sent"][0]["total"]["rows"] == [["30", "300"]]


def test_the_page_needs_nothing_but_itself(tmp_path):
    page = three_layer_mlp().tape().to_html(tmp_path / "tape.html").read_text(encoding="utf-8")
    assert "{{" not in page
    assert not re.search(r"https?:|//\w+\.\w+|@import|url\(", page)
    assert not re.search(r'\b(src|href)="(?!data:)', page)


def test_names_are_escaped_wherever_the_page_shows_them(tmp_path):
    bad = "<script>alert(1)</script>"
    loss = (leaf([1.0, 2.0], bad) * leaf([1.0, 2.0], '"><img src=x onerror=alert(2)>')).sum()
    loss.name = "<b>loss</b>"
    tape = loss.tape()
    page = tape.to_html(tmp_path / "tape.html").read_text(encoding="utf-8")
    assert bad not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert content_of(tmp_path / "tape.html")["cards"][0]["name"] == bad
    assert bad not in tape._repr_html_()
    assert "&lt;script&gt;" in tape._repr_html_()


def test_a_notebook_shows_the_table():
    shown = (leaf([1.0, 2.0], "x") * 3).sum().tape()._repr_html_()
    table = ET.fromstring(shown.split("<p>")[0])
    assert [cell.text for cell in table.findall("tbody/tr")[0]][:5] == ["1", "%1", "multiply", "x, 3", "(2,)"]


@pytest.mark.slow
def test_a_tape_of_300_entries_makes_a_page_that_is_not_too_large(tmp_path):
    rng = np.random.default_rng(0)
    x = w = leaf(rng.normal(size=(60, 60)), "w")
    for _ in range(150):
        x = (x @ w).tanh()
    path = x.sum().tape().to_html(tmp_path / "tape.html")
    assert len(content_of(path)["entries"]) == 301
    assert path.stat().st_size < 3e6


def test_the_page_numbers_the_entries_as_the_table_does(tmp_path):
    tape = (leaf([1.0, 2.0], "x") * 2).exp().sum().tape()
    for shown, numbers in ((tape, [1, 2, 3]), (tape[1:], [2, 3])):
        content = content_of(shown.to_html(tmp_path / "t.html"))
        assert [entry["number"] for entry in content["entries"]] == numbers
        assert [content["entries"][step["entry"]]["number"] for step in content["back"]] == numbers[::-1]


@pytest.mark.parametrize(
    ("shape", "kind"), [((16, 1), "rows"), ((2, 8), "rows"), ((17, 1), "heat"), ((9,), "heat"), ((1, 9), "heat")]
)
def test_up_to_16_values_in_rows_of_up_to_8_are_shown_as_numbers(shape, kind):
    assert kind in picture(np.ones(shape))


def test_a_heat_map_is_relative_to_its_largest_value():
    array = np.random.default_rng(0).normal(size=(9, 9))
    assert picture(array)["heat"] == picture(array / 64)["heat"]
    assert picture(np.zeros((9, 9)))["largest"] == "1"


def test_the_page_allows_its_own_script_and_no_other(tmp_path):
    page = leaf([1.0], "x").exp().tape().to_html(tmp_path / "tape.html").read_text(encoding="utf-8")
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.findall("'sha256-(.*?)'", page) == [digest]


def test_the_page_has_a_line_for_the_gradient_on_every_card_that_gets_one(tmp_path):
    for tape, cards in (((leaf([1.0, 2.0], "x") * 2).sum().tape(), 3), (leaf(1.0, "x").tape(), 1)):
        drawing = tape.to_html(tmp_path / "tape.html").read_text(encoding="utf-8").split("<svg")[1].split("</svg>")[0]
        assert drawing.count('class="grad"') == cards


def test_a_picture_says_of_texts_that_they_are_no_numbers():
    assert picture(np.array(["a", "b"]))["shape"] == "(2,), not of numbers"
    assert picture(np.array("a"))["shape"] == "one value"


def test_a_picture_says_how_many_values_are_not_finite():
    array = np.ones((5, 10))
    assert "not finite" not in picture(array)["text"]
    array[0, :3] = np.nan, np.inf, -np.inf
    assert "from 1 to 1, 3 not finite (pink)" in picture(array)["text"]


def test_a_small_array_is_shown_by_its_numbers():
    assert picture(np.arange(4.0))["rows"] == [["0", "1", "2", "3"]]
    assert picture(np.arange(8.0).reshape(2, 2, 2))["rows"] == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
    assert picture(np.array([[1.0, -2.5], [1e-9, np.inf]]))["rows"] == [["1", "-2.5"], ["1e-09", "inf"]]


def test_a_large_array_is_shown_as_a_heat_map_of_block_means():
    array = np.zeros((48, 96))
    array[:2, :4] = 3.0
    array[-2:, -4:] = -3.0
    shown = picture(array)
    assert shown["heat"][0] == "+" + "f" * 23
    assert shown["heat"][-1] == "f" * 23 + "A"
    assert shown["heat"][1:-1] == ["f" * 24] * 22
    assert shown["largest"] == "3"
    assert "from -3 to 3" in shown["text"]


@pytest.mark.parametrize("array", [np.zeros(100), np.full(100, np.nan), np.ones((3, 4, 50)), np.zeros((0, 3))])
def test_any_array_has_a_picture(array):
    shown = picture(array)
    assert shown["shape"] == str(array.shape)
    assert "rows" in shown or {len(row) for row in shown["heat"]} == {24}


# Rules as formulas.


def rules():
    """Every string in the library that starts a line with ``d_x = ``, docstrings apart."""
    for path in (*(ROOT / "minigrad" / "ops").glob("*.py"), *(ROOT / "layers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if re.search(r"^d_\w+ = ", text, re.MULTILINE) and "\n    " not in text:
                yield text


@pytest.mark.parametrize("rule", sorted(set(rules())))
def test_every_rule_is_typeset(rule):
    paragraphs = ET.fromstring(f"<div>{rule_html(rule).replace('&', '&amp;')}</div>")
    assert len(paragraphs.findall(".//math")) == len(re.findall(r"\bd_\w+ = ", rule))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("d_x = g / (2 * y)", "<mfrac><mrow><mi>g</mi></mrow><mrow><mrow><mn>2</mn></mrow><mo>&sdot;</mo>"),
        ("d_x = sum(g) * y", "<mo>&sum;</mo><mo>(</mo><mi>g</mi><mo>)</mo></mrow><mo>&sdot;</mo>"),
        ("d_x = g * (a @ b)", "<mo>&sdot;</mo><mrow><mo>(</mo><mrow><mi>a</mi></mrow><mo>@</mo>"),
        ("d_x = (a / b)**2", "<msup><mrow><mo>(</mo><mfrac>"),
        ("d_x = sum(g, axis=0)", "<p>d_x = sum(g, axis=0)</p>"),
        ("d_x = g * (a + b)", "<mrow><mo>(</mo><mrow><mi>a</mi></mrow><mo>+</mo>"),
        ("d_x_hat = g", "<mi>&part;</mi><mover><mi>x</mi><mo>^</mo></mover>"),
        ("d_x = g where <b> holds", "</math> where &lt;b&gt; holds"),
        ("d_x = __import__('os').system('true')", "d_x = __import__(&#x27;os&#x27;)"),
        ("whatever I want & more", "<p>whatever I want &amp; more</p>"),
    ],
)
def test_formulas_are_typeset_and_words_stay_words(rule, expected):
    assert expected in rule_html(rule)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b - c", "a+b-c"),
        ("a - (b + c)", "a-(b+c)"),
        ("(a + b) * c", "(a+b)⋅c"),
        ("a * b @ c", "a⋅b@c"),
        ("a * (b * c)", "a⋅(b⋅c)"),
        ("a * b + c * d", "a⋅b+c⋅d"),
        ("a * b**c", "a⋅bc"),
        ("a * (b / c)", "a⋅bc"),
        ("(a * b)**c", "(a⋅b)c"),
        ("(a**b)**c", "(ab)c"),
        ("a**(b + c)", "ab+c"),
        ("a.T**2", "aT2"),
        ("(a @ b).T", "(a@b)T"),
        ("(a + b) / (c - d)", "a+bc-d"),
        ("-a * b", "-a⋅b"),
        ("-(a + b)", "-(a+b)"),
        ("a - -b", "a--b"),
        ("a * -b", "a⋅(-b)"),
        ("a + b < c <= d", "a+b<c≤d"),
        ("(a != b) + c", "(a≠b)+c"),
        ("g * (x == 1.5)", "g⋅(x=1.5)"),
        ("(a < b) < c", "(a<b)<c"),
        ("sqrt(a + b) * f(c, d + 1)", "a+b⋅f(c,d+1)"),
        ("sum(a + b) / 2", "∑(a+b)2"),
    ],
)
def test_a_formula_has_the_parentheses_that_it_needs_and_no_others(expression, expected):
    text = html.unescape(re.sub("<[^>]+>", "", rule_html(f"y = {expression}").replace("&minus;", "-")))
    assert text == f"y={expected}"


def test_what_has_no_name_on_its_left_is_words():
    assert rule_html("2 a = g") == "<p>2 a = g</p>"
    assert rule_html("x[0] = g") == "<p>x[0] = g</p>"


# What looking costs those who don't look.


def test_importing_minigrad_imports_of_all_that_shows_a_tape_only_the_tape():
    code = (
        "import sys, minigrad, layers; print([name for name in sys.modules if 'matplotlib' in name or 'views' in name])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert ast.literal_eval(printed) == ["minigrad.views.tape", "minigrad.views"]


# Steps, and what is changed between two of them.


def step_of_sgd(x, taken):
    x.grad = np.ones_like(x.data)
    mg.optim.SGD([x], lr=1.0).step()
    x.grad = None


CHANGES = {
    "data[...] = ": lambda x, taken: x.data.__setitem__(..., 9.0),
    "data += ": lambda x, taken: x.data.__iadd__(1.0),
    "a slice": lambda x, taken: x.data[:1].__imul__(3.0),
    "a view": lambda x, taken: x.reshape(-1).data.__setitem__(0, 9.0),
    "np.copyto": lambda x, taken: np.copyto(x.data, 9.0),
    "an optimizer": step_of_sgd,
    "an array taken before the steps": lambda x, taken: taken.__setitem__(..., 9.0),
}


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_array_changed_between_two_steps_is_noticed_before_a_wrong_gradient_is_added(change, after):
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    tape = ((x * w) * 3).exp().sum().tape()  # the first entry needs x for w's gradient
    taken = x.data
    steps = tape.steps()
    for _ in range(after):
        next(steps)
    change(x, taken)
    with pytest.raises(RuntimeError, match=r"'x' was changed in place after entry 1 of the tape \(multiply\)"):
        list(steps)
    assert x.grad is None
    assert w.grad is None


def test_a_result_changed_between_two_steps_is_named_with_the_entry_that_needs_it():
    x = leaf([1.0, 2.0], "x")
    y = named((x * 2).exp(), "y")
    tape = (y * 3).sum().tape()
    steps = tape.steps()
    next(steps)
    y.data[0] = 5.0
    with pytest.raises(RuntimeError, match=r"'y' was changed in place after entry 2 of the tape \(exp\)"):
        list(steps)
    assert x.grad is None


def test_what_was_added_before_the_change_is_right():
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    steps = ((x * w) + x).sum().tape().steps()
    next(steps), next(steps)
    w.data[0] = 5.0
    with pytest.raises(RuntimeError, match="'w' was changed"):
        next(steps)
    np.testing.assert_array_equal(x.grad, [1.0, 1.0])
    assert w.grad is None


def test_an_array_that_no_entry_needs_any_more_may_be_changed_between_two_steps():
    x, w, b = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w"), leaf([5.0, 6.0], "b")
    steps = (((x * 2) * w) + b).sum().tape().steps()
    next(steps), next(steps)  # the sum, and the addition, which needs no values
    b.data[...] = 9.0
    next(steps)  # the product with w
    w.data[...] = 9.0
    next(steps)
    np.testing.assert_array_equal(x.grad, [6.0, 8.0])


def test_a_changed_array_is_noticed_in_steps_that_a_part_does_not_show():
    x, w = leaf([1.0, 2.0], "x"), leaf([3.0, 4.0], "w")
    steps = ((x * w).exp() * 2).sum().tape()[2:].steps()
    next(steps)
    x.data[0] = 5.0
    with pytest.raises(RuntimeError, match="'x' was changed"):
        list(steps)
    assert w.grad is None


def test_a_row_of_the_pages_table_has_a_cell_for_each_column_of_its_head(tmp_path):
    page = (leaf([1.0, 2.0], "x") * 2).sum().tape().to_html(tmp_path / "tape.html").read_text(encoding="utf-8")
    head, body = re.search(r"<thead>(.*?)</thead>.*?<tbody[^>]*>(.*?)</tbody>", page, re.DOTALL).groups()
    rows = [row.count("<td") for row in body.split("</tr>") if "<td" in row]
    assert rows == [head.count("<th ") + head.count("<th>")] * 2


def test_the_page_may_be_given_a_path_as_text(tmp_path):
    page = leaf([1.0], "x").exp().tape().to_html(str(tmp_path / "tape.html"))
    assert page == tmp_path / "tape.html"
    assert page.exists()
