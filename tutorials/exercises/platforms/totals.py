"""A table with a row for each student: points in all, and of each exercise."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .words import number, plain


def write(path: Path, graded: Iterable[dict[str, Any]]) -> None:
    """Write the table as CSV, all of it or nothing."""
    rows = [row(student) for student in graded]
    beside = path.with_name(f"{path.name}.new")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0] if rows else ["student"])
        writer.writeheader()
        writer.writerows(rows)
    os.replace(beside, path)


def row(graded: dict[str, Any]) -> dict[str, str]:
    """What the table says of a student."""
    by_exercise: dict[int, float] = {}
    for verdict in graded["verdicts"]:
        by_exercise[verdict["exercise"]] = by_exercise.get(verdict["exercise"], 0) + verdict["points"]
    columns = {f"exercise {exercise}": number(points) for exercise, points in by_exercise.items()}
    head = {"student": plain(graded["student"]), "points": number(graded["points"]), "of": number(graded["of"])}
    return head | {"files": str(len(graded["found"]))} | columns
