"""For the next lecture: which mistakes how many students made, as a table and a figure."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from .words import word

SHOWN = 12  # mistakes in the figure
KINDS = ("right", "partly right", "wrong", "library's own", "not started")


class Count(NamedTuple):
    """A mistake, in which functions it was found, and whose it is."""

    exercise: int
    functions: list[str]
    mistake: str
    students: set[str]


def counts(graded: list[dict[str, Any]]) -> list[Count]:
    """The mistakes, the most frequent first; whoever made one in several functions counts once."""
    found: dict[tuple[int, str], Count] = {}
    for student in graded:
        for verdict in student["verdicts"]:
            for mistake in verdict["mistake"]:
                exercise = verdict["exercise"]
                count = found.setdefault((exercise, mistake), Count(exercise, [], mistake, set()))
                count.students.add(student["student"])
                if verdict["function"] not in count.functions:
                    count.functions.append(verdict["function"])
    return sorted(found.values(), key=lambda count: (-len(count.students), count.exercise, count.mistake))


def write(folder: Path, graded: list[dict[str, Any]]) -> None:
    """Write ``summary.md`` and, if a mistake was recognized, ``mistakes.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = counts(graded)
    (folder / "summary.md").write_text(table(graded, found), encoding="utf-8", newline="")
    (folder / "mistakes.png").unlink(missing_ok=True)
    if found:
        figure(found, len(graded)).savefig(folder / "mistakes.png", dpi=150)


def table(graded: list[dict[str, Any]], found: list[Count]) -> str:
    """The mistakes, and how each function went, as Markdown."""
    lines = ["# Mistakes", "", f"{len(graded)} students. Whoever made a mistake in several functions counts once.", ""]
    lines += ["| students | exercise | functions | mistake |", "| ---: | ---: | --- | --- |"]
    for count in found:
        where = ", ".join(f"`{function}`" for function in count.functions)
        lines.append(f"| {len(count.students)} | {count.exercise} | {where} | {in_a_cell(count.mistake)} |")
    lines += ["", "# Functions", "", "Unnamed: wrong, or partly right, without a mistake that was recognized.", ""]
    lines += [f"| exercise | function | {' | '.join(KINDS)} | unnamed |", "| ---: | --- |" + " ---: |" * 6]
    functions: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for verdict in (verdict for student in graded for verdict in student["verdicts"]):
        functions.setdefault((verdict["exercise"], verdict["function"]), []).append(verdict)
    for (exercise, function), verdicts in functions.items():
        kinds = [word(verdict) for verdict in verdicts]
        unnamed = sum(verdict["status"] == "wrong" and not verdict["mistake"] for verdict in verdicts)
        cells = [str(kinds.count(kind) or "") for kind in KINDS] + [str(unnamed or "")]
        lines.append(f"| {exercise} | `{function}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def in_a_cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def figure(found: list[Count], students: int) -> Any:
    """The most frequent mistakes as bars, to be read from the back row."""
    from matplotlib.figure import Figure  # here, because it takes a second and most runs draw nothing
    from matplotlib.ticker import MaxNLocator

    shown = found[:SHOWN]
    labels = [textwrap.fill(f"{count.exercise}, {count.functions[0]}: {count.mistake}", 56) for count in shown]
    lines = sum(label.count("\n") + 1 for label in labels)
    picture = Figure(figsize=(13, 1.6 + 0.27 * lines + 0.22 * len(shown)), layout="constrained")
    axes = picture.add_subplot()
    heights = [label.count("\n") + 1.8 for label in labels]  # so that labels of several lines don't touch
    places = [sum(heights[:n]) + heights[n] / 2 for n in range(len(shown))]
    sizes = [len(count.students) for count in shown]
    axes.barh(places, sizes, height=1.2, color="#0072b2")
    for place, size in zip(places, sizes, strict=True):
        axes.annotate(str(size), (size, place), (5, 0), textcoords="offset points", va="center", fontsize=14)
    axes.set_yticks(places, labels, fontsize=13)
    axes.set_ylim(sum(heights), 0)
    axes.set_xlim(0, max(sizes) * 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(axis="x", labelsize=13)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"students, of {students}", fontsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    more = f"The {SHOWN} most frequent of {len(found)} mistakes" if len(found) > SHOWN else "Mistakes"
    picture.suptitle(f"{more}, with exercise and function", fontsize=16)
    return picture
