"""Fill the points into a column of the file that a gradebook has exported, to be imported there again.

Nothing else of the file changes, not a byte. A row is filled if it is certain whose it is.

Canvas: the importer wants the exporter's columns (``Student``, ``ID``, ``SIS Login ID``, ``Section``, and for an
assignment ``Title (id)``, with ``Points Possible`` below), leaves alone what hasn't changed, and takes commas or
semicolons (``lib/gradebook_importer.rb`` and ``lib/gradebook_exporter.rb`` of
https://github.com/instructure/canvas-lms). In the names of downloaded submissions is the ``ID`` (there,
``lib/content_zipper.rb``: person, ``LATE``, ID, attachment, file).

Moodle: an assignment's grading worksheet has ``Identifier`` ("Participant 123"), ``Grade`` and ``Maximum grade``, and
the number is in the names of downloaded submissions, too (https://github.com/moodle/moodle,
``mod/assign/feedback/offline/importgradeslib.php``). A gradebook's export is imported by "Map from: Email address"
(https://docs.moodle.org/en/Grade_import). Headings are in the language of the site.
"""

from __future__ import annotations

import codecs
import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

from .words import clean, number

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
CANVAS_PEOPLE = {
    "Student", "LastName", "FirstName", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Root Account",
}  # fmt: skip
CANVAS_PARTS = {"LastName", "FirstName", "Root Account"}


class Cell(NamedTuple):
    """A cell of a table in a text, and where it is."""

    text: str
    start: int
    end: int


class Person(NamedTuple):
    """By what a student is known: a name or account that is enough, parts of it, and a number, or ""."""

    enough: set[str]
    parts: set[str]
    number: str


class Gradebook:
    """What a gradebook has exported.

    Args:
        path: the file.
        platform: "canvas" or "moodle".
        wanted: the column to be filled: its heading, or a part of it that no other has; for a Moodle worksheet, None
            is its column "Grade".
    """

    def __init__(self, path: Path, platform: str, wanted: str | None = None) -> None:
        self.path, self.platform = path, platform
        content = path.read_bytes()
        if content.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
            raise ValueError(f"{path} is a spreadsheet, not CSV: export as CSV (in Moodle: plain text file)")
        self.mark, self.encoding = encoding(content)
        try:
            self.text = content[len(self.mark) :].decode(self.encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} isn't the text that it begins as: {error}") from error
        self.delimiter = max(",;\t", key=self.text.partition("\n")[0].count)
        self.rows = table(self.text, self.delimiter)
        if len(self.rows) < 2:
            raise ValueError(f"{path} has no rows for students")
        self.column = self.chosen(wanted)
        self.people = [row for row in self.rows[1:] if self.is_person(row)]
        self.known = [Person(*self.names(row), n) for row, n in zip(self.people, self.numbers(), strict=True)]

    def chosen(self, wanted: str | None) -> int:
        """The place of the column to be filled."""
        headings = [cell.text.strip() for cell in self.rows[0]]
        fixed = {place for row in self.rows[1:3] for place, cell in enumerate(row) if "(read only)" in cell.text}
        fixed |= {place for place, heading in enumerate(headings) if not heading or heading in CANVAS_PEOPLE}
        may_be = [place for place in range(len(headings)) if place not in fixed]
        if self.platform == "moodle" and wanted is None:
            wanted = "Grade"
        exact = [place for place in may_be if wanted in (headings[place], re.sub(r" \(\d+\)$", "", headings[place]))]
        parts = [place for place in may_be if wanted and wanted.casefold() in headings[place].casefold()]
        if len(found := exact or parts) != 1:
            names = ", ".join(repr(headings[place]) for place in (parts or may_be))
            said = f"; {wanted!r} is {'several' if parts else 'none'} of them" if wanted else ""
            raise ValueError(f"{self.path}: choose the column to be filled with --column{said}: {names}")
        return found[0]

    def is_person(self, row: list[Cell]) -> bool:
        """Whether it is a student's row, and none on the assignments."""
        above = self.platform == "canvas" and (not row[0].text.strip() or "Points Possible" in row[0].text)
        return not above and any(cell.text.strip() for cell in row)

    def maximum(self) -> float | None:
        """The most points that the column takes, if the file says that."""
        if self.platform == "canvas":
            above = [row for row in self.rows[1:] if "Points Possible" in row[0].text]
            cells = {value(self.cell(row, self.column)) for row in above}
        else:
            worksheet = self.people if all(self.numbers()) else []
            cells = {value(self.cell(row, self.column + 1)) for row in worksheet}
        return cells.pop() or None if len(cells) == 1 else None

    def cell(self, row: list[Cell], place: int) -> str:
        return row[place].text.strip() if place < len(row) else ""

    def names(self, row: list[Cell]) -> tuple[set[str], set[str]]:
        """What a student may be called after their row: by what is enough alone, and by a part of the name, too."""
        headings = [cell.text.strip() for cell in self.rows[0]]
        if self.platform == "canvas":
            places = [place for place, heading in enumerate(headings) if heading in CANVAS_PEOPLE]
        else:
            places = list(range(self.column))
        cells = [(headings[place] in CANVAS_PEOPLE - CANVAS_PARTS, self.cell(row, place)) for place in places]
        cells = [(known, cell) for known, cell in cells if not re.fullmatch(r"-?|\d*[.,]\d+( ?%)?", cell)]  # grades
        alone = [cell for known, cell in cells if known or re.search(r"[\s\d@,]", cell)]
        for (_, one), (_, two) in itertools.pairwise(cells):
            alone += [f"{one} {two}", f"{two} {one}"]
        alone += [cell.partition("@")[0] for cell in alone if "@" in cell]
        alone += [" ".join(reversed(cell.split(","))) for cell in alone if "," in cell]  # Doe, John
        parts = {folded(name) for name in alone + [cell for _, cell in cells]}
        return {account(name) for name in alone} - {""}, parts - {""}

    def numbers(self) -> list[str]:
        """Each student's number in the names of downloaded submissions, or "" if the file hasn't got it."""
        headings = [cell.text.strip() for cell in self.rows[0]]
        if self.platform == "canvas":
            place = headings.index("ID") if "ID" in headings else len(headings)
            return [self.cell(row, place) for row in self.people]
        found = [re.fullmatch(r"[^\d@]+(\d+)", self.cell(row, 0)) for row in self.people]
        return [match[1] if match and all(found) else "" for match in found]

    def rows_of(self, student: str) -> list[int]:
        """The rows that may be a student's: certain if it is one."""
        called = re.sub(r"_assignsubmission_file_?$", "", student)
        match = re.fullmatch(r"(.+?)(?:_LATE)?_(\d+)", called)
        name, its_number = (match[1], match[2]) if match else (called, None)
        for fits in (
            lambda person: person.number == its_number and folded(name) in person.parts,
            lambda person: account(called) in person.enough,
            lambda person: not person.number and account(name) in person.enough,
        ):
            if found := [place for place, person in enumerate(self.known) if fits(person)]:
                return found
        return []

    def fill(self, graded: list[dict[str, Any]]) -> tuple[bytes, list[str]]:
        """The file with the points, and what is to be known of it."""
        most, of = self.maximum(), graded[0]["of"] if graded else 0
        factor = most / of if most and of else 1.0
        rows = {student["student"]: self.rows_of(student["student"]) for student in graded}
        owners = [place for found in rows.values() if len(found) == 1 for place in found]
        certain = {s: found[0] for s, found in rows.items() if len(found) == 1 and owners.count(found[0]) == 1}
        new = {certain[s["student"]]: number(s["points"] * factor) for s in graded if s["student"] in certain}
        changes = [self.change(self.people[place], points) for place, points in new.items()]
        text = self.text
        for start, end, points in sorted(changes, reverse=True):
            text = text[:start] + points + text[end:]
        heading = self.rows[0][self.column].text.strip()
        scaled = f", {number(of)} points are its {number(most)}" if most and factor != 1 else ""
        unknown = f"; let its maximum be {number(of)}" if most is None else ""
        said = [f"{len(certain)} of {len(self.people)} rows filled in column {heading!r}{scaled}{unknown}"]
        for student in sorted(set(rows) - set(certain)):
            said.append(f"{student}: {'no row' if not rows[student] else 'not certain which row'}")
        return self.mark + text.encode(self.encoding), said + self.overwritten(new)

    def overwritten(self, new: dict[int, str]) -> list[str]:
        """Which grades of rows give way to others, and which rows stay empty."""
        changed, empty = [], []
        for place, row in enumerate(self.people):
            old = self.cell(row, self.column)
            same = re.fullmatch(r"\d+([.,]\d*)?", old) and number(value(old)) == new.get(place)
            if old in ("", "-"):
                empty += [] if place in new else [f"stays empty: {self.called(row)}"]
            elif place in new and not same:
                changed.append(f"changed: {clean(old)} -> {new[place]} ({self.called(row)})")
        return changed + empty

    def called(self, row: list[Cell]) -> str:
        """A row's student, for an instructor to read: the first cells that aren't empty."""
        cells = [cell for place in range(self.column) if (cell := self.cell(row, place))]
        return clean(" ".join(cells[: 1 if self.platform == "canvas" else 2])) or "no name"

    def change(self, row: list[Cell], new: str) -> tuple[int, int, str]:
        """Which part of the text gives way to what."""
        if self.column < len(row):
            return row[self.column].start, row[self.column].end, new
        return row[-1].end, row[-1].end, self.delimiter * (self.column - len(row) + 1) + new


def encoding(content: bytes) -> tuple[bytes, str]:
    """The mark at the beginning and the encoding; where it is unknown, one that gives each byte back as it was."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return mark, name
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return b"", "latin-1"
    return b"", "utf-8"


def table(text: str, delimiter: str) -> list[list[Cell]]:
    """The cells of a CSV text, row by row, with their places."""
    cell = re.compile(rf'(?:"((?:[^"]|"")*)"|([^{delimiter}\r\n]*))({delimiter}|\r\n|\r|\n|\Z)')
    rows: list[list[Cell]] = [[]]
    for match in cell.finditer(text):
        quoted = match[1] is not None
        rows[-1].append(Cell(match[1].replace('""', '"') if quoted else match[2], match.start(), match.start(3)))
        if match[3] != delimiter:
            rows.append([])
    return [row for row in rows if len(row) > 1 or (row and row[0].text.strip())]


def value(text: str) -> float:
    """The number in a cell; 0 if there is none."""
    text = text.replace(",", ".")
    return float(text) if re.fullmatch(r"\d+(\.\d*)?", text) else 0.0


def folded(name: str) -> str:
    """What remains of a name if capitals, accents and everything between letters don't count."""
    return "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())


def account(name: str) -> str:
    """The same for names without digits; in others, which tell accounts apart, all but capitals counts."""
    return name.casefold() if any(c.isdigit() for c in name) else folded(name)
