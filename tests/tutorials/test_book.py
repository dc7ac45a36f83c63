"""What the book does with lessons and pages before Sphinx reads them."""

from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason="the book's packages are not installed: pip install -e '.[book]'")

from nbformat.v4 import new_output

from tutorials import percent
from tutorials.book import __main__ as book
from tutorials.book import interface


def test_a_lesson_becomes_a_notebook_with_its_cells_in_order():
    path = percent.lessons()["5"]
    cells = percent.cells(path)
    made = book.notebook(path)
    assert [(cell.cell_type, cell.source) for cell in made.cells] == [(cell.kind, cell.source) for cell in cells]
    assert made == book.notebook(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[5](05_five.py)", "[5](05_five.ipynb)"),
        ("[here](exercises)", "[here](exercises/README.md)"),
        ("[two](../README.md#two-commands)", "[two](../README.md#two-commands)"),
        ("[the code](../layers/module.py), [gone](NO.md)", "the code, gone"),
        ("[paper](https://arxiv.org/) [above](#above)", "[paper](https://arxiv.org/) [above](#above)"),
        ("![](images/05.png)", "![](images/05.png)"),
    ],
)  # fmt: skip
def test_links_lead_to_chapters_or_nowhere(tmp_path, text, expected):
    for name in ("README.md", "tutorials/05_five.ipynb", "tutorials/exercises/README.md", "tutorials/images/05.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert book.relink(text, Path("tutorials/README.md"), tmp_path) == expected


@pytest.mark.parametrize(
    ("page", "broken"),
    [
        ('<a href="other.html">', []),
        ('<a href="other.html#part">', []),
        ('<a href="#here"><p id="here">', []),
        ('<a href="https://example.org/x">', []),
        ('<script>"<a href=\\"gone.html\\">"</script>', []),
        ('<a href="gone.html">', ["index.html: gone.html"]),
        ('<a href="other.html#gone">', ["index.html: other.html#gone"]),
        ('<a href="#gone">', ["index.html: #gone"]),
        ('<img src="_static/gone.png?v=1">', ["index.html: _static/gone.png?v=1"]),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, page, broken):
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "other.html").write_text('<h1 id="part">')
    assert book.broken_links(tmp_path) == broken


def test_prints_that_follow_each_other_become_one_output():
    outputs = [new_output("stream", name="stdout", text=text) for text in ("a", "b")]
    outputs += [new_output("execute_result", {"text/plain": "None"}), new_output("stream", name="stderr", text="c")]
    assert [(output.name, output.text) for output in book.joined(outputs)] == [("stdout", "ab"), ("stderr", "c")]


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("figure, ax = plt.subplots()\nax.plot(x)\nprint(save(figure, args, '05'))", True),
        ("def draw(ax):\n    ax.plot(x)\n    ax.set(title='a')", True),
        ("x = 1\ny = x + 1\nprint(y)", False),
        ("from tutorials.lesson import parse, parser\nargs = parse(parser(''), '05')", True),
        ("claims = {'so': True}\ncheck(claims)", True),
        ("import matplotlib.pyplot as plt\nimport numpy as np\nfrom layers import Linear\nx = 1", False),
    ],
)
def test_only_code_in_the_readers_way_is_folded(source, folded):
    assert book.in_the_way(source) is folded


@pytest.mark.parametrize(
    ("name", "tag"), [("5.png", "<img"), ("7.html", "<iframe"), ("7.gif", "<img"), ("t.csv", "<p><a")]
)
def test_what_a_lesson_makes_is_shown_where_it_was_made(tmp_path, name, tag):
    static = tmp_path / "static"
    static.mkdir()
    (tmp_path / name).write_text("made")
    output = book.show(tmp_path / name, static)
    assert (static / name).read_text() == "made"
    assert tag in output.data["text/html"]
    assert f'"../_static/{name}"' in output.data["text/html"]


def test_the_interface_lists_everything_public():
    listed = interface.directives()
    assert "minigrad.softmax" in listed["OPERATIONS"]
    assert "autoclass:: layers.BatchNorm1d" in listed["LAYERS"]
    assert "autofunction:: layers.batch_norm" in listed["LAYERS"]


def test_a_notebook_to_download_installs_the_course_where_it_is_missing(tmp_path):
    path = percent.lessons()["1"]
    lesson = book.with_downloads(book.notebook(path), path, tmp_path, "course.whl")
    assert 'href="../_static/01_the_tape.ipynb" download' in lesson.cells[0].source
    assert lesson.cells[0].source.startswith("# Lesson 1")
    assert "%pip install --quiet course.whl" in (tmp_path / "01_the_tape.ipynb").read_text()
    assert (tmp_path / "01_the_tape.py").read_bytes() == path.read_bytes()
