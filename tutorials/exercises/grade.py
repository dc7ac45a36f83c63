"""Grade a folder of submissions, one folder a student, into a CSV file.

python -m tutorials.exercises.grade submissions --csv grades.csv
"""

from __future__ import annotations

import argparse
import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .checks.run import check_file, exercises, points

COLUMNS = ("student", "exercise", "function", "status", "points", "of", "diagnosis")


def grade(student: Path, seed: int) -> list[dict]:
    """A row for each function of a student."""
    worth, rows, folder = points(), [], files_of(student)
    for exercise in exercises():
        for verdict in check_file(exercise, folder, seed):
            of = worth[exercise.number, verdict.function]
            told = [line for line in verdict.text.splitlines() if not line.endswith("this may come from there.")]
            diagnosis = "; ".join(verdict.mistake) or "".join(told[:1])
            values = student.name, exercise.number, verdict.function, verdict.status, of * verdict.share, of, diagnosis
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def files_of(student: Path) -> Path:
    """Where the numbered files are: in the student's folder, or in one inside it."""
    found = sorted(path.parent for path in student.rglob("[0-9][0-9]_*.py"))
    return min(found, key=lambda folder: len(folder.parts), default=student)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tutorials.exercises.grade", description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path, help="folder that holds a folder for each student")
    parser.add_argument("--csv", type=Path, default=Path("grades.csv"), help="where to write")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    args = parser.parse_args()
    if not args.submissions.is_dir():
        parser.error(f"there is no folder {args.submissions}")
    students = sorted(path for path in args.submissions.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not students:
        parser.error(f"{args.submissions} holds no folders: one for each student is expected")
    with ThreadPoolExecutor(2) as pool, open(args.csv, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for student, rows in zip(students, pool.map(lambda folder: grade(folder, args.seed), students), strict=True):
            writer.writerows(rows)
            got, of = sum(row["points"] for row in rows), sum(row["of"] for row in rows)
            nothing = "" if list(student.rglob("[0-9][0-9]_*.py")) else "   (no files of exercises found)"
            print(f"{student.name:24} {got:6.4g} of {of:g} points{nothing}", flush=True)
    print(f"All of it: {args.csv}")


if __name__ == "__main__":
    main()
