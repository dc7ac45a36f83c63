"""Lessons as cells: the percent format that editors, Jupytext, the terminal and the book read."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

LESSONS = Path(__file__).parent
MARKER = re.compile(r"# %%(?P<rest>.*)")


@dataclass(frozen=True)
class Cell:
    """A part of a lesson: ``kind`` is "markdown" or "code", ``line`` its first line in the file, from 1."""

    kind: str
    source: str
    line: int


def lessons() -> dict[str, Path]:
    """All lessons by their number without zeros, in order."""
    return {str(int(path.stem[:2])): path for path in sorted(LESSONS.glob("[0-9][0-9]_*.py"))}


def cells(path: Path) -> list[Cell]:
    """A lesson's cells in order; of text cells the source is Markdown, without the comment signs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if MARKER.match(line)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        body = lines[start + 1 : end]
        kind = "markdown" if "[markdown]" in lines[start] else "code"
        if kind == "markdown":
            body = [line.removeprefix("#").removeprefix(" ") for line in body if line.startswith("#")]
        skipped = next((i for i, line in enumerate(body) if line.strip()), len(body))
        if skipped < len(body):
            found.append(Cell(kind, "\n".join(body).strip("\n").rstrip(), start + 2 + skipped))
    return found


def title(path: Path) -> str:
    """A lesson's heading without "Lesson 7: "."""
    heading = next(cell.source for cell in cells(path) if cell.kind == "markdown").splitlines()[0]
    return re.sub(r"^#+ *(Lesson \d+: *)?", "", heading)


def without_answers(source: str) -> str:
    """A code cell's source for readers who shall answer first: of each ``predict(...)`` only the question is left."""
    lines = source.split("\n")
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    asked = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "predict" and call.args]
    for call in sorted(asked, key=lambda call: -call.lineno):
        question, last = call.args[0], call.end_lineno or call.lineno
        end_of_question = (question.end_lineno or call.lineno) - 1
        columns = len(lines[end_of_question].encode()[: question.end_col_offset].decode())
        after = lines[last - 1].encode()[call.end_col_offset :].decode()
        lines[end_of_question:last] = [lines[end_of_question][:columns] + ", ...)" + after]
    return "\n".join(lines)
