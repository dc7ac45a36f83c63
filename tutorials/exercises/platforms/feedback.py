"""A page of feedback for each student: all that the board would say, as one HTML file without scripts.

Moodle takes the pages back in one zip file ("Upload multiple feedback files in a zip") if their names are made of its
own: a person, its number, ``assignfeedback_file``, and the name that the student will see
(https://github.com/moodle/moodle/blob/main/mod/assign/feedback/file/importziplib.php).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from .words import clean, number, told, word

PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="tutorials.exercises.grade">
<meta name="viewport" content="width=device-width">
<title>Feedback for {student}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
        background: #fff }}
h1 {{ font-size: 1.6rem; overflow-wrap: anywhere }}
h2 {{ font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #bbb }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .3rem }}
table {{ border-collapse: collapse }}
th, td {{ text-align: left; padding: .15rem 1.2rem .15rem 0; font-weight: normal }}
td:last-child {{ font-variant-numeric: tabular-nums }}
pre {{ margin: .3rem 0; padding: .6rem .9rem; background: #f4f4f4; white-space: pre-wrap; overflow-wrap: anywhere;
       border-left: .3rem solid #c26a00 }}
.right {{ color: #005a9c }}
.open {{ color: #555 }}
</style>
<h1>Feedback for {student}</h1>
<p><b>{points} of {of} points</b></p>
{notes}<table>
{rows}
</table>
{exercises}
</html>
"""


def write(folder: Path, graded: Iterable[dict[str, Any]], moodle: bool = False) -> list[str]:
    """Write a page for each student into the folder, with names for Moodle's zip file if wanted.

    Pages from earlier that aren't written now are removed, so that none goes to students by mistake; their names are
    returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {file_name(student["student"], moodle): student for student in graded}
    old = [path for path in sorted(folder.glob("*.html")) if path.name not in pages and is_page(path)]
    for path in old:
        path.unlink()
    for name, student in pages.items():
        (folder / name).write_text(page(student), encoding="utf-8", newline="")
    return [path.name for path in old]


def is_page(path: Path) -> bool:
    """Whether a file begins as those that are written here, and so isn't somebody else's."""
    start = PAGE.partition('<meta name="viewport"')[0].encode()
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(start)) == start


def file_name(student: str, moodle: bool = False) -> str:
    """The student's name, and letters that make it the only one if not all of the name may be in that of a file."""
    if moodle and (match := re.fullmatch(r"(.+?)_(\d+)(_assignsubmission_file_?)?", student)):
        person = re.sub(r"[\W_]+", " ", match[1]).strip()[:60]
        return f"{person}_{match[2]}_assignfeedback_file_feedback.html"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", student)[:60]
    more = "" if safe == student.lower() else f"-{hashlib.sha256(student.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{safe}{more}.html"


def page(graded: dict[str, Any]) -> str:
    """A student's page."""
    exercises = [list(verdicts) for _, verdicts in groupby(graded["verdicts"], lambda verdict: verdict["exercise"])]
    notes = "".join(f"<li>{safe(note)}</li>\n" for note in graded["notes"])
    return PAGE.format(
        student=safe(graded["student"]),
        points=number(graded["points"]),
        of=number(graded["of"]),
        notes=f"<ul>\n{notes}</ul>\n" if notes else "",
        rows="\n".join(map(row, exercises)),
        exercises="\n".join(section(verdicts) for verdicts in exercises if any(map(says, verdicts))),
    )


def safe(text: str) -> str:
    """Text that a browser shows and doesn't obey."""
    return escape(clean(text))


def row(verdicts: list[dict[str, Any]]) -> str:
    """A line of the table: an exercise with its points."""
    exercise, title = verdicts[0]["exercise"], safe(verdicts[0]["title"])
    got, of = (number(sum(verdict[name] for verdict in verdicts)) for name in ("points", "of"))
    link = f'<a href="#{exercise}">{title}</a>' if any(map(says, verdicts)) else title
    return f"<tr><td>{exercise}<td>{link}<td>{state(verdicts)}<td>{got} of {of} points</tr>"


def says(verdict: dict[str, Any]) -> bool:
    """Whether there is more to be said of a function than how it is."""
    return bool(verdict["text"].strip() or verdict["printed"])


def state(verdicts: list[dict[str, Any]]) -> str:
    """How an exercise is, in a word or two."""
    kinds = {word(verdict) for verdict in verdicts}
    right = sum(verdict["status"] == "right" for verdict in verdicts)
    return kinds.pop() if len(kinds) == 1 else f"{right} of {len(verdicts)} right"


def section(verdicts: list[dict[str, Any]]) -> str:
    """All that is said of an exercise, once if the same is said of all functions, as of a file that isn't Python."""
    head = f'<h2 id="{verdicts[0]["exercise"]}">Exercise {verdicts[0]["exercise"]}: {safe(verdicts[0]["title"])}</h2>\n'
    texts = {told(verdict) for verdict in verdicts}
    if len(verdicts) > 1 and len(texts) == 1:
        of = sum(verdict["of"] for verdict in verdicts)
        points = sum(verdict["points"] for verdict in verdicts)
        return head + function(verdicts[0] | {"points": points, "of": of}, f"all {len(verdicts)} functions")
    return head + "\n".join(function(verdict, verdict["function"]) for verdict in verdicts)


def function(verdict: dict[str, Any], called: str) -> str:
    """What is said of a function."""
    kind = {"right": "right", "not started": "open"}.get(verdict["status"], "wrong")
    points = f"{number(verdict['points'])} of {number(verdict['of'])} points"
    head = f'<h3><code>{safe(called)}</code>: <span class="{kind}">{word(verdict)}</span>, {points}</h3>'
    return f"{head}\n<pre>{escape(told(verdict))}</pre>" if says(verdict) else head
