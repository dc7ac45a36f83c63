"""Lessons in the terminal: their cells, and their text and formulas without markup."""

import ast

import pytest

from tutorials import percent, plain

LESSONS = percent.lessons()


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\hat x_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}", "x_hat_i = (x_i - mu) / sqrt(sigma^2 + epsilon)"),
        (r"\frac{\partial L}{\partial X_{ni}} = \sum_o G_{no} W_{oi}", "dL/dX_ni = sum_o G_no W_oi"),
        (r"\frac{\partial\ell}{\partial\sigma^2}", "dl / d(sigma^2)"),
        (r"\left(-\tfrac12\right)(\sigma^2 + \epsilon)^{-3/2}", "(-1/2)(sigma^2 + epsilon)^(-3/2)"),
        (r"e^{x_2}", "e^(x_2)"),
        (r"a^2 + b^{10}", "a^2 + b^10"),
        (r"\frac{m}{m-1}", "m / (m - 1)"),
        (r"-2 (x - 1)", "-2 (x - 1)"),
        (r"\frac{a + b}{2}", "(a + b) / 2"),
        (r"\frac1m \sum_i -2 x_i", "1/m sum_i -2 x_i"),
        (r"\sqrt[3]{u} \approx \pm 1", "root_3(u) ~ +/- 1"),
        (r"\text{running} \leftarrow (1 - \text{momentum})", "running <- (1 - momentum)"),
        (r"a = 1 \qquad b = 2 \\ c &= 3", "a = 1\nb = 2\nc = 3"),
        (r"\begin{pmatrix} x^2 & x \\ x & 1 \end{pmatrix}", "[x^2, x; x, 1]"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a = b\nc = d"),
        (r"\overline{h^2}", "(h^2)_bar"),
        (r"\gamma\hat x", "gamma x_hat"),
    ],
)
def test_a_formula_reads_as_code_would_write_it(latex, text):
    assert plain.formula(latex) == text


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_formula_of_a_lesson_is_left_in_its_markup(lesson):
    for cell in percent.cells(LESSONS[lesson]):
        if cell.kind == "markdown":
            text = plain.markdown(cell.source)
            assert "\\" not in text
            assert "$" not in text
            assert "**" not in text


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lessons_text_fits_into_eighty_columns(lesson):
    for cell in percent.cells(LESSONS[lesson]):
        if cell.kind == "markdown":
            lines = plain.markdown(cell.source).splitlines()
            assert all(len(line) < 80 or line.startswith("|") or "http" in line for line in lines)


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_cells_of_a_lesson_are_the_whole_lesson(lesson):
    text = LESSONS[lesson].read_text(encoding="utf-8")
    cells = percent.cells(LESSONS[lesson])
    code = "\n".join(cell.source for cell in cells if cell.kind == "code")
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(text))
    lines = text.splitlines()
    for cell in cells:
        shown = lines[cell.line - 1]
        assert (shown.removeprefix("# ") if cell.kind == "markdown" else shown) == cell.source.splitlines()[0]


def test_a_heading_is_underlined_and_a_list_keeps_its_items():
    items = "- what **this** is, `x * y`;\n- and [that](https://example.org)."
    source = f"# Title\n\nYou *will* learn\n{items}\n\n## Part\nText."
    assert plain.markdown(source) == (
        "Title\n=====\n\nYou will learn\n- what this is, `x * y`;\n- and that (https://example.org).\n\nPart\n----\nText."
    )


def test_a_long_paragraph_is_wrapped_and_a_table_is_not():
    text = plain.markdown("word " * 40 + "\n\n| a | " + "b" * 90 + " |\n| --- | --- |")
    assert max(len(line) for line in text.splitlines() if line.startswith("word")) <= 79
    assert "| a | " + "b" * 90 + " |" in text


def test_a_formula_of_its_own_is_indented():
    assert plain.markdown("Thus\n$$y = \\gamma x$$\nfor $x_1$.") == "Thus\n\n        y = gamma x\n\nfor x_1."


def test_an_answer_is_hidden_in_the_code_that_is_shown():
    source = 'a = 1\nq = predict(\n    "How ä many?",\n    ["1", "2"],\n    right=1,\n    because="it is so",\n)\nb = 2'
    assert percent.without_answers(source) == 'a = 1\nq = predict(\n    "How ä many?", ...)\nb = 2'
    assert percent.without_answers('predict("A?", right=1, within=1, because="");x = 1') == 'predict("A?", ...);x = 1'
    assert percent.without_answers("x = 1") == "x = 1"


def test_a_lessons_title_is_its_heading():
    assert percent.title(LESSONS["5"]) == "batch normalization, forward"
