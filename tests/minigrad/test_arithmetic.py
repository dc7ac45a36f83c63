"""The page's arithmetic of one gradient: the rule, with the numbers put into it. And what else the page says of it."""

import ast
import re
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from layers import BatchNorm1d, Linear
from minigrad import Tensor
from minigrad.views.arithmetic import arithmetic_html, known_arrays, lines_for, put_in
from minigrad.views.mathml import rule_html
from minigrad.views.page import saved_text
from minigrad.views.text import letter_pairs, rule_of


def leaf(values, name=None):
    return Tensor(values, requires_grad=True, dtype=np.float64, name=name)


def last_step(result):
    return next(result.tape().steps(np.linspace(1, 2, result.size).reshape(result.shape)))


def shown(result, which=0):
    """The arithmetic of a gradient that the last entry sends, as plain text; a fraction's line is left out."""
    step = last_step(result)
    slots = [slot for slot, need in enumerate(step.entry.needs) if need]
    html = arithmetic_html(step, step.sent[which], slots[which])
    ET.fromstring(f"<div>{html.replace('&', '&amp;')}</div>")  # every element is closed
    html = html.replace("</mtd><mtd>", " ").replace("</mtr><mtr>", "; ")
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("\N{DOT OPERATOR}", "*").replace("\N{MINUS SIGN}", "-")


FORMULAS = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "power": lambda x, y: x**y, "negative": lambda x, y: -x, "exp": lambda x, y: x.exp(),
    "log": lambda x, y: x.log(), "sqrt": lambda x, y: x.sqrt(), "tanh": lambda x, y: x.tanh(),
    "abs": lambda x, y: mg.abs(x - 2), "sigmoid": lambda x, y: x.sigmoid(), "relu": lambda x, y: (x - 2).relu(),
    "maximum": lambda x, y: mg.maximum(x, y), "matmul": lambda x, y: x @ y,
    "linear": lambda x, y: Linear(2, 2, rng=0).astype(np.float64)(x),
}  # fmt: skip
FUNCTIONS = {"log": np.log, "sqrt": np.sqrt, "sign": np.sign, "sum": lambda g: g.sum(0)}


@pytest.mark.parametrize("compute", FORMULAS.values(), ids=FORMULAS)
def test_a_rule_with_its_arrays_put_in_is_the_gradient(compute):
    step = last_step(compute(leaf([[1.0, 2.0], [3.0, 4.0]], "a"), leaf([[5.0, 2.5], [0.5, 1.5]], "b")))
    arrays = known_arrays(step)
    slots = {slot: letter for letter, slot in letter_pairs(step.entry).items()}
    for slot, sent in zip(range(3), step.sent):
        ((_, expression, _),) = lines_for(f"d_{slots[slot]}", rule_of(step.entry))
        value = eval(compile(ast.Expression(expression), "rule", "eval"), dict(FUNCTIONS), arrays)
        np.testing.assert_allclose(value, sent.gradient)


def test_small_arrays_are_written_into_the_rule():
    x, y = leaf([1.0, 2.0], "x"), leaf([3.0, -4.0], "y")
    assert shown(x * y) == "∂L∂x=g*y=[1 2]*[3 -4]=[3 -8]"
    assert shown(x * y, 1) == "∂L∂y=g*x=[1 2]*[1 2]=[1 4]"


def test_a_negative_number_stands_in_parentheses():
    assert shown(leaf(2.0) * leaf(-3.0)) == "∂L∂x=g*y=1*(-3)=(-3)"


def test_letters_that_nobody_knows_stay_letters():
    assert "=[1 2]n, to every one of the n terms: [" in shown(leaf(np.ones((3, 2))).mean(0))


@pytest.mark.parametrize("shape", [(5, 2), (10,), (2, 2, 2)])
def test_large_arrays_stay_letters_with_their_shapes(shape):
    x = leaf(np.ones(shape))
    assert shown(x * x) == f"∂L∂x=g{shape}*y{shape}=an array of shape {shape}"


def test_the_sum_that_undoes_broadcasting_is_told():
    x, y = leaf(np.ones((2, 2))), leaf([3.0, 4.0])
    assert ", summed over the copies that broadcasting made: from (2, 2) to (2,): [" in shown(x * y, 1)
    assert "copies" not in shown(x * y)
    assert "copies" not in shown(x @ y)
    assert "copies" not in shown(x.sum(0))


def test_a_rule_that_sums_by_itself_is_not_said_to_be_summed_again():
    x = leaf(np.random.default_rng(0).normal(size=(3, 2)))
    assert "copies" not in shown(BatchNorm1d(2).astype(np.float64)(x), 1)


def test_the_words_of_a_rule_stand_before_the_result():
    assert shown(leaf([1.0, 2.0]).sum()) == "∂L∂x=g=1, to every term of the sum: [1 1]"
    assert shown(mg.where([True, False], leaf([1.0, 2.0]), 0)) == "∂L∂x=g=[1 2] where the condition holds: [1 0]"


def test_a_rule_in_words_is_followed_by_the_result():
    assert shown(mg.concatenate([leaf([1.0]), leaf([2.0])]), 1) == "d of each input = its part of g[2]"


def test_lines_that_a_line_uses_come_before_it():
    rule = ["d_h = g * w", "d_x = d_h * 2", "d_w = g * h"]
    assert [name for name, _, _ in lines_for("d_x", rule)] == ["d_h", "d_x"]
    assert [name for name, _, _ in lines_for("d_w", rule)] == ["d_w"]
    assert lines_for("d_y", rule) == []


def test_a_rule_that_uses_itself_ends():
    assert [name for name, _, _ in lines_for("d_x", ["d_x = d_y", "d_y = d_x"])] == ["d_x", "d_y"]


def test_only_letters_are_replaced_not_names_of_functions_and_not_parts_of_names():
    html = rule_html("d_x = log(x) * x_hat")
    assert put_in(html, {"log": "?", "x": "1"}).count("1") == 2  # of d_x, too
    assert "?" not in put_in(html, {"log": "?", "hat": "?"})
    assert put_in(html, {"x_hat": "2"}).endswith("<mrow>2</mrow></mrow></math></p>")


def test_a_name_in_the_arithmetic_is_just_a_name():
    x = leaf([1.0, 2.0], "x")
    y = mg.record("<b>", np.asarray(x.data * 2), (x,), (lambda g: 2 * g,), "d_x = 2 * g <b> & more")
    step = last_step(y)
    assert "&lt;b&gt; &amp; more" in arithmetic_html(step, step.sent[0], 0)


def test_a_fraction_in_an_exponent_stands_on_one_line():
    html = rule_html("d_x = g * (var + eps)**(-3/2)")
    assert "<mfrac>" not in html.split("<msup>")[1]
    assert re.sub(r"<[^>]*>", "", html.split("<msup>")[1]) == "(var+eps)&minus;3/2"


# What an entry has saved.


def test_saved_arrays_are_told_by_name_and_shape():
    x = leaf(np.random.default_rng(0).normal(size=(6, 2)))
    assert saved_text(last_step(BatchNorm1d(2)(x)).entry) == "saved: centered (6, 2), std (2,), scale (2,)"
    assert saved_text(last_step(leaf(2.0).exp()).entry) == "saved: y one value"


def test_an_entry_that_saves_nothing_says_so():
    assert saved_text(last_step(leaf([1.0]) + 1).entry) == "saved: nothing, the rule needs no values"


# The path of a page in a notebook.


def test_a_notebook_shows_a_page_as_a_link_that_leads_from_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    tape = (leaf([1.0], "x") * 2).tape()
    for path in ("out/a tape & more.html", tmp_path / "out" / "a tape & more.html"):
        link = ET.fromstring(tape.to_html(path)._repr_html_())
        assert link.get("href") == "out/a%20tape%20%26%20more.html"
        assert link.text == str(path)


def test_the_path_of_a_page_is_a_path(tmp_path):
    page = (leaf([1.0], "x") * 2).tape().to_html(tmp_path / "tape.html")
    assert isinstance(page, Path)
    assert page == tmp_path / "tape.html"
    assert {page: 1}[tmp_path / "tape.html"] == 1
