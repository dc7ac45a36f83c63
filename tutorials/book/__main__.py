"""Build the course as a site that opens from its folder: no server, nothing from the network.

    python -m pip install --editable '.[book]' && python -m tutorials.book

Every lesson is run, with its outputs, figures and pages in place; one that fails its claims fails the book.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from html import escape, unescape
from pathlib import Path
from urllib.parse import unquote

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tutorials import percent
from tutorials.book import interface

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tutorials/README.md", "tutorials/data/README.md")
PAGES += (
    "tutorials/exercises/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("tutorials/[A-Z]*.md"))),
)
INSTALL = """\
# Where the course isn't installed, as in Colab: run this first, with the wheel that the book offers beside this file.
import importlib.util
if not all(importlib.util.find_spec(name) for name in ("minigrad", "layers", "tutorials")):
    %pip install --quiet {wheel}"""


def notebook(path: Path) -> NotebookNode:
    """A file in the percent format as a notebook, not run."""
    make = {"markdown": new_markdown_cell, "code": new_code_cell}
    found = new_notebook(cells=[make[cell.kind](cell.source) for cell in percent.cells(path)])
    found.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, cell in enumerate(found.cells):
        cell.id = f"cell-{number}"  # the same book from the same lessons
    return found


def run(path: Path, static: Path) -> NotebookNode:
    """A lesson with its outputs: what it prints, its figures as they are saved, and its pages."""
    lesson = notebook(path)
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures")
        quiet = ["--log-level=ERROR"]
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(lesson, timeout=None, resources=resources, extra_arguments=quiet)
        shown: set[str] = set()
        with client.setup_kernel():
            for index, cell in enumerate(lesson.cells):
                if cell.cell_type == "code":
                    client.execute_cell(cell, index)
                    new = sorted({file.name for file in figures.glob("*.*")} - shown, key=figures_first)
                    cell.outputs = [*joined(cell.outputs), *(show(figures / name, static) for name in new)]
                    shown.update(new)
    for cell in lesson.cells:
        if cell.cell_type == "code":
            cell.metadata.tags = ["hide-input"] if in_the_way(cell.source) else []
            cell.source = percent.without_answers(cell.source)
    return lesson


def figures_first(name: str) -> tuple[bool, str]:
    """The order in which files made by one cell are shown."""
    return name.endswith(".html"), name


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs, with the prints that follow each other as one; without what only says where a cell's value was drawn."""
    found: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].get("name") == output.name:
            found[-1].text += output.text
        elif output.output_type != "execute_result":
            found.append(output)
    return found


def in_the_way(source: str) -> bool:
    """Whether a reader can do without a cell's code: it imports, draws a figure, or lists the claims that it prints."""
    lines = source.splitlines()
    about = sum(bool(re.search(r"\b(ax|axes|panels?|figure|plt|fig)\b", line)) for line in lines)
    prepares = "parse(" in source or "arguments(" in source
    return prepares or "save(" in source or "\ncheck(" in f"\n{source}" or about > len(lines) / 3


def show(file: Path, static: Path) -> NotebookNode:
    """A figure or a page that a lesson has made, copied into the book, as an output of the cell that made it."""
    shutil.copy(file, static / file.name)
    address, name = f"../_static/{file.name}", escape(file.stem.replace("_", " "))
    if file.suffix == ".html":
        html = f'<iframe src="{address}" title="{name}" loading="lazy"></iframe>'
        html = f'<div class="page-of-lesson">{html}<p><a href="{address}">Open this page by itself</a></p></div>'
    elif file.suffix in (".png", ".gif"):
        html = f'<a href="{address}"><img src="{address}" alt="Figure of lesson {name}" loading="lazy"></a>'
        html = f'<div class="figure-of-lesson">{html}</div>'
    else:
        html = f'<p><a href="{address}">{escape(file.name)}</a></p>'
    return new_output("display_data", {"text/html": html, "text/plain": file.name})


def with_downloads(lesson: NotebookNode, path: Path, static: Path, wheel: str) -> NotebookNode:
    """Links to the lesson as a notebook and as a script, below its heading; writes both."""
    fresh = notebook(path)
    fresh.cells.insert(0, new_code_cell(INSTALL.format(wheel=wheel), id="install"))
    nbformat.write(fresh, static / f"{path.stem}.ipynb")
    shutil.copy(path, static / path.name)
    files = {"notebook": f"{path.stem}.ipynb", "script": path.name, "wheel": wheel}
    links = " · ".join(f'<a href="../_static/{file}" download>{name}</a>' for name, file in files.items())
    heading, _, rest = lesson.cells[0].source.partition("\n")
    lesson.cells[0].source = f'{heading}\n\n<p class="downloads">Download: {links}</p>\n{rest}'
    return lesson


def relink(text: str, place: Path, source: Path) -> str:
    """A page's text, its links leading to chapters of the book; of links to what isn't in it only the words stay."""

    def link(match: re.Match) -> str:
        sign, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        file, mark, part = target.partition("#")
        file = re.sub(r"(?<=\d\d_)(\w+)\.py$", r"\1.ipynb", file)
        if (source / place.parent / file).is_dir():
            file = f"{file.rstrip('/')}/README.md"
        known = os.path.normpath(place.parent / file)
        return f"{sign}[{words}]({file}{mark}{part})" if (source / known).exists() else words

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


def relink_all(source: Path) -> None:
    """``relink`` in all pages, and in the text of all notebooks."""
    for page in PAGES:
        text = (source / page).read_text(encoding="utf-8")
        (source / page).write_text(relink(text, Path(page), source), encoding="utf-8")
    for path in (source / "tutorials").rglob("*.ipynb"):
        found = nbformat.read(path, as_version=4)
        for cell in found.cells:
            if cell.cell_type == "markdown":
                cell.source = relink(cell.source, path.relative_to(source), source)
        nbformat.write(found, path)


def write_source(source: Path) -> None:
    """The whole book as Sphinx reads it, in the folders of the repository."""
    static = source / "_static"
    static.mkdir(parents=True)
    (source / "tutorials/exercises").mkdir(parents=True)
    wheel = build_wheel(static)
    lessons = list(percent.lessons().values())
    with ThreadPoolExecutor(2) as pool:
        for path, lesson in zip(lessons, pool.map(lambda path: run(path, static), lessons)):
            nbformat.write(with_downloads(lesson, path, static, wheel), source / f"tutorials/{path.stem}.ipynb")
            print(f"{path.name} has been run", flush=True)
    exercises = sorted(ROOT.glob("tutorials/exercises/[0-9]*.py"))
    for path in exercises:
        nbformat.write(notebook(path), source / f"tutorials/exercises/{path.stem}.ipynb")
    shutil.copytree(ROOT / "tutorials/images", source / "tutorials/images")
    for page in PAGES:
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, source / page)
    relink_all(source)  # now that everything is there which links can lead to
    own = [page.removesuffix(".md") for page in PAGES if re.fullmatch(r"tutorials/(?!README)[A-Z]+\.md", page)]
    parts = {
        "LESSONS": "\n".join(f"tutorials/{path.stem}" for path in lessons),
        "EXERCISES": "\n".join(f"tutorials/exercises/{path.stem}" for path in exercises),
        "PAGES": "\n".join(own),
        **interface.directives(),
    }
    for page in ("index.md", "interface.md"):
        text = (HERE / page).read_text(encoding="utf-8")
        for name, part in parts.items():
            text = text.replace(f"{{{name}}}", part)
        (source / page).write_text(text, encoding="utf-8")
    shutil.copy(HERE / "style.css", static)


def build_wheel(folder: Path) -> str:
    """The installable package, built into the folder; returns its file's name."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl")).name


def build(source: Path, out: Path) -> int:
    """Run Sphinx, every warning an error; its exit code."""
    from sphinx.cmd.build import main as sphinx

    options = ["-q", "-W", "--keep-going", "-c", str(HERE), "-d", str(source / ".doctrees")]
    return sphinx([*options, "-D", f"html_static_path={source / '_static'}", str(source), str(out)])


def broken_links(site: Path) -> list[str]:
    """Links between the site's own files that lead nowhere: the page, and what it names."""
    ids: dict[Path, set[str]] = {}
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        ids[page.resolve()] = set(re.findall(r'\s(?:id|name)="([^"]+)"', text))
    broken = []
    for page in ids:
        text = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
        for address in sorted(set(re.findall(r'\s(?:href|src)="([^"]+)"', text))):
            if re.match(r"[a-z]+:|//", address):
                continue
            file, _, part = unescape(address).partition("#")
            target = (page.parent / unquote(file.partition("?")[0])).resolve() if file else page
            if not target.exists() or (part and target in ids and unquote(part) not in ids[target]):
                broken.append(f"{page.relative_to(site.resolve())}: {address}")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tutorials.book", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder for the site (default: site)")
    args = parser.parse_args()
    os.environ |= {"MPLBACKEND": "Agg", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        write_source(source)
        code = build(source, args.out)
    broken = broken_links(args.out)
    print("\n".join(["", *(f"leads nowhere: {link}" for link in broken)]) if broken else "", end="", file=sys.stderr)
    if not code and not broken:
        print(f"The book: {(args.out / 'index.html').resolve().as_uri()}")
    return code or bool(broken)


if __name__ == "__main__":
    sys.exit(main())
